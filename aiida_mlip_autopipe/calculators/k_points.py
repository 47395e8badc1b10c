"""Meshes of k-points with the same density for all structures."""

from __future__ import annotations

import numpy as np
from ase.cell import Cell


def k_mesh(cell: Cell, periodic: np.ndarray, kspacing_per_A: float) -> list[int]:
    """Return the number of k-points along each reciprocal lattice vector.

    Parameters
    ----------
    cell
        The cell, with three vectors.
    periodic
        Whether each direction is periodic (3,). The others have one k-point.
    kspacing_per_A
        Maximum spacing of the k-points in 1/Å, including the factor 2π, as in VASP's ``KSPACING``.
    """
    # The pseudoinverse of ASE's Cell.reciprocal() takes five times as long.
    lengths = 2 * np.pi * np.linalg.norm(np.linalg.inv(cell.array), axis=0)
    # The tolerance avoids an extra point if a length is a multiple of the spacing apart from rounding errors.
    return [
        max(1, int(np.ceil(length / kspacing_per_A - 1e-6))) if p else 1
        for length, p in zip(lengths, periodic, strict=True)
    ]
