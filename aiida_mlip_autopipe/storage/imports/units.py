"""Shapes and units of stresses."""

from __future__ import annotations

from typing import Any, Literal, get_args

import numpy as np
from ase.units import GPa

StressUnit = Literal['eV/A3', 'GPa', 'kbar']
STRESS_UNITS: dict[str, float] = dict(zip(get_args(StressUnit), (1.0, GPa, 0.1 * GPa), strict=True))
"""Each unit in eV/Å³."""
ASYMMETRY = 1e-3
"""Maximum difference between the off-diagonal elements ij and ji of a stress, divided by its largest element."""


def to_voigt(value: Any) -> np.ndarray:
    """Return a symmetric matrix of shape (3, 3), (9,) or (6,) with the shape (6,): xx, yy, zz, yz, xz, xy.

    Raises
    ------
    ValueError
        If the value has a different shape or is not symmetric.
    """
    array = np.asarray(value, dtype=float)
    if array.shape == (6,):
        return array
    if array.size != 9:
        raise ValueError(f'6 or 9 numbers are required, but it has the shape {array.shape}')
    matrix = array.reshape(3, 3)
    largest = np.abs(matrix).max()
    if np.isfinite(largest) and np.abs(matrix - matrix.T).max() > ASYMMETRY * largest + 1e-8:
        raise ValueError('the matrix is not symmetric')
    symmetric: np.ndarray = (0.5 * (matrix + matrix.T)).reshape(9)[[0, 4, 8, 5, 2, 1]]
    return symmetric
