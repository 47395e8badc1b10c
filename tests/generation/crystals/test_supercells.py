from __future__ import annotations

import numpy as np
import pytest
from ase.build import bulk

from aiida_mlip_autopipe.generation.base import Requirements
from aiida_mlip_autopipe.generation.crystals.supercells import choose_repeats


@pytest.mark.parametrize('n_atoms', [None, 4])
def test_the_rounding_of_equal_lattice_constants_does_not_decide_which_vector_is_repeated(n_atoms):
    found = set()
    for factor in (1 - 1e-15, 1.0, 1 + 1e-15):
        cell = bulk('Zn')
        cell.set_cell(cell.cell.array * np.array([[1.0], [factor], [1.0]]), scale_atoms=True)
        found.add(
            choose_repeats(cell, {'Zn': 0.75, 'Mg': 0.25}, Requirements(2.2, 500), n_atoms=n_atoms, tolerance=0.02)
        )
    assert len(found) == 1
