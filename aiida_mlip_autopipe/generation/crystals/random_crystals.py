"""Random crystals: random cells and positions with the symmetry of a space group."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

import numpy as np
from ase import Atoms

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError, PhysicsViolationError
from aiida_mlip_autopipe.generation.limits import check_time, show_progress
from aiida_mlip_autopipe.structures.cells import sort_sites

N_TRIALS = 30


def random_crystal(
    counts: Mapping[str, int], formula_units: Sequence[int], groups: Sequence[int], rng: np.random.Generator
) -> tuple[Atoms, int]:
    """Return a random crystal and its space group, found by pyxtal.

    The method is described by S. Fredericks et al., Comput. Phys. Commun. 261, 107810 (2021).

    Parameters
    ----------
    counts
        Number of atoms of each element in a formula unit.
    formula_units
        Numbers of formula units in the cell, one of which is drawn.
    groups
        Space groups, one of which is drawn.
    rng
        Source of all random numbers.

    Raises
    ------
    PhysicsViolationError
        If pyxtal cannot place the atoms in any of `N_TRIALS` trials.
    AutopipeError
        If pyxtal is not installed.
    """
    try:
        from pyxtal import pyxtal
        from pyxtal.msg import Comp_CompatibilityError
    except ImportError as error:
        raise AutopipeError(
            Code.PACKAGE_MISSING,
            'random crystals need pyxtal: install aiida-mlip-autopipe[generation], or set n_random: 0',
        ) from error
    for trial in range(N_TRIALS):
        show_progress(f'random crystal, trial {trial + 1} of {N_TRIALS}')
        units, group = int(rng.choice(formula_units)), int(rng.choice(groups))
        crystal = pyxtal()
        try:
            with _fast_images():
                crystal.from_random(
                    3, group, list(counts), [number * units for number in counts.values()], random_state=rng, factor=1.0
                )
        except (Comp_CompatibilityError, RuntimeError, ValueError):
            continue
        if crystal.valid:
            return sort_sites(crystal.to_ase()), group
    formula = ''.join(f'{symbol}{number if number > 1 else ""}' for symbol, number in counts.items())
    raise PhysicsViolationError(
        'random_crystal', (), 0.0, 1.0, f'none of {N_TRIALS} random crystals of {formula} was valid'
    )  # fmt: skip


@contextmanager
def _fast_images() -> Iterator[None]:
    """Check the time whenever pyxtal checks the images of an atom, and pass it a matrix that it does not use.

    Otherwise it makes this matrix, of all pairs of elements, for each of these checks, which took half of the run time.
    """
    from pyxtal import symmetry

    exact = symmetry.check_images

    def check_images(*args: Any, **kwargs: Any) -> Any:
        check_time()
        return exact(*args, **{'tm': _tolerances(), **kwargs})

    symmetry.check_images = check_images
    try:
        yield
    finally:
        symmetry.check_images = exact


@cache
def _tolerances() -> Any:
    from pyxtal.tolerance import Tol_matrix

    return Tol_matrix(prototype='atomic')
