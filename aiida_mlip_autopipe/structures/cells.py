"""Geometry of cells: perpendicular widths, supercells and sites."""

from __future__ import annotations

import numpy as np
from ase import Atoms

# Margin in Å around a structure along a missing cell vector.
MARGIN = 10.0


def complete_cell(atoms: Atoms) -> np.ndarray:
    """Return the cell (3, 3) in Å with all three vectors. Missing ones are as long as the structure plus a margin."""
    cell = atoms.cell.array
    missing = ~cell.any(axis=1)
    if not missing.any():
        return np.asarray(cell)
    completed = np.array(atoms.cell.complete().array)
    for axis in np.flatnonzero(missing):
        span = np.ptp(atoms.positions @ completed[axis]) if len(atoms) else 0.0
        completed[axis] *= float(span) + MARGIN
    return completed


def sort_sites(atoms: Atoms) -> Atoms:
    """Return a crystal with its sites in [0, 1), sorted by element and position.

    Libraries sort the sites of an orbit by numbers that differ only by rounding errors, so their order depends on the
    processor.
    """
    fractions = atoms.cell.scaled_positions(atoms.positions) % 1.0
    fractions[fractions > 1 - 1e-9] = 0.0
    order = np.lexsort([*np.round(fractions, 6).T[::-1], atoms.numbers])
    return Atoms(numbers=atoms.numbers[order], scaled_positions=fractions[order], cell=atoms.cell, pbc=True)


def perpendicular_widths(atoms: Atoms) -> np.ndarray:
    """Return the perpendicular width of the cell along each cell vector in Å, shape (3,)."""
    return cell_widths(complete_cell(atoms))


def cell_widths(cell: np.ndarray) -> np.ndarray:
    """Return the perpendicular widths of a cell (3, 3) along its vectors, shape (3,), in the unit of the cell."""
    # The rows of the inverse transpose are the reciprocal vectors, whose lengths are the inverse plane spacings.
    return np.asarray(1 / np.linalg.norm(np.linalg.inv(cell), axis=0))


def cell_angles(cell: np.ndarray) -> np.ndarray:
    """Return the angles alpha, beta and gamma of a cell (3, 3) in degrees, shape (3,)."""
    directions = cell / np.linalg.norm(cell, axis=1)[:, np.newaxis]
    cosines = (directions @ directions.T)[[1, 0, 0], [2, 2, 1]]
    return np.asarray(np.degrees(np.arccos(np.clip(cosines, -1.0, 1.0))))


def repeats_for_width(atoms: Atoms, min_width_A: float) -> tuple[int, int, int]:
    """Return how many times a cell must be repeated along each periodic vector to reach a perpendicular width."""
    widths = perpendicular_widths(atoms)
    counts = np.where(atoms.pbc, np.ceil(min_width_A / widths - 1e-9), 1).astype(int)
    first, second, third = np.maximum(counts, 1).tolist()
    return first, second, third
