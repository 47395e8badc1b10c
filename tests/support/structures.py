"""Compare all properties of two structures."""

from __future__ import annotations

import numpy as np
from ase import Atoms
from ase.constraints import FixAtoms, constrained_indices


def assert_same_structure(found: Atoms, expected: Atoms, tolerance: float = 0.0) -> None:
    """Fail if two structures differ in atoms, cell, periodic directions, tags, moments, charges or fixed atoms.

    Parameters
    ----------
    found, expected
        The structures. An array ``fixed`` can replace the constraint, as in a text file.
    tolerance
        Maximum deviation of positions, cell, moments and charges.
    """
    np.testing.assert_array_equal(found.numbers, expected.numbers)
    np.testing.assert_array_equal(found.pbc, expected.pbc)
    np.testing.assert_array_equal(found.get_tags(), expected.get_tags())
    np.testing.assert_array_equal(_fixed(found), _fixed(expected))
    for name, one, other in (
        ('positions', found.positions, expected.positions),
        ('cell', found.cell.array, expected.cell.array),
        ('magnetic moments', found.get_initial_magnetic_moments(), expected.get_initial_magnetic_moments()),
        ('charges', found.get_initial_charges(), expected.get_initial_charges()),
    ):
        np.testing.assert_allclose(one, other, rtol=0, atol=tolerance, err_msg=name)


def _fixed(atoms: Atoms) -> np.ndarray:
    if 'fixed' in atoms.arrays:
        return np.flatnonzero(atoms.arrays['fixed'])
    return constrained_indices(atoms, only_include=FixAtoms).astype(int)
