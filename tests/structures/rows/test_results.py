"""Results attached to many structures behave like those of ASE's calculator."""

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.calculator import PropertyNotImplementedError
from ase.calculators.singlepoint import SinglePointCalculator
from ase.constraints import FixAtoms

from aiida_mlip_autopipe.structures.rows.results import StoredResults
from aiida_mlip_autopipe.structures.rows.row import was_changed

LABELS = {'energy': -1.5, 'forces': np.arange(12).reshape(4, 3), 'stress': None}


@pytest.fixture(params=[False, True])
def atoms(request):
    found = bulk('Cu', cubic=True)
    found.set_tags([1, 2, 3, 4])
    found.set_initial_magnetic_moments([0.5, 0, 0, -0.5])
    if request.param:
        found.set_constraint(FixAtoms([0]))
    return found


def test_the_results_and_the_structure_are_those_of_ase(atoms):
    own, other = StoredResults(atoms, LABELS), SinglePointCalculator(atoms, **LABELS)
    assert own.results.keys() == other.results.keys()
    assert own.results['forces'].dtype == float
    assert (own.name, own.todict()) == (other.name, other.todict())
    assert own.atoms == other.atoms
    assert [one.todict() for one in own.atoms.constraints] == [one.todict() for one in other.atoms.constraints]
    atoms.calc = own
    assert atoms.get_potential_energy() == -1.5
    with pytest.raises(PropertyNotImplementedError):
        atoms.get_stress()


@pytest.mark.parametrize('change', ['positions', 'numbers', 'initial_magmoms', 'cell', 'pbc'])
def test_results_are_outdated_if_any_part_of_the_structure_is_changed(atoms, change):
    atoms.calc = StoredResults(atoms, LABELS)
    assert not was_changed(atoms)
    {'cell': atoms.cell.array, 'pbc': atoms.pbc, **atoms.arrays}[change][-1] = 0
    assert was_changed(atoms)
