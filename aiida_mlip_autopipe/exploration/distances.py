"""Distances between atoms, fast enough to be looked at every few steps."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
from ase.data import covalent_radii
from ase.geometry import complete_cell


@dataclass(frozen=True)
class Overlap:
    """Two atoms that are too close to each other.

    Attributes
    ----------
    atoms
        Their indices.
    distance_A
        Å.
    ratio
        The distance over the sum of the covalent radii.
    """

    atoms: tuple[int, int]
    distance_A: float
    ratio: float


def find_overlap(
    numbers: np.ndarray, positions: np.ndarray, cell: np.ndarray, pbc: np.ndarray, factor: float
) -> Overlap | None:
    """Return the two atoms that are closest by their radii, if closer than a factor times the sum of these."""
    radii = covalent_radii[numbers]
    cutoff = factor * 2.0 * float(radii.max())
    distances = shortest_distances(positions, cell, pbc, cutoff)
    first, second = np.nonzero(distances < cutoff)
    close = distances[first, second]
    if not len(close):
        return None
    ratios = close / (radii[first] + radii[second])
    worst = int(np.argmin(ratios))
    if ratios[worst] >= factor:
        return None
    return Overlap((int(first[worst]), int(second[worst])), float(close[worst]), float(ratios[worst]))


def find_detached(positions: np.ndarray, cell: np.ndarray, pbc: np.ndarray, cutoff: float) -> np.ndarray:
    """Return the indices of the atoms that have no other atom, nor an image of one, within a cutoff in Å."""
    # Distances that are not exact are never too short: who has a neighbour by them has one, and few have none.
    if (shortest_distances(positions, cell, pbc, 0.0).min(axis=1) <= cutoff).all():
        return np.array([], dtype=int)
    return np.flatnonzero(shortest_distances(positions, cell, pbc, cutoff).min(axis=1) > cutoff)


def shortest_distances(positions: np.ndarray, cell: np.ndarray, pbc: np.ndarray, cutoff: float) -> np.ndarray:
    """Return each pair's distance by the nearest image, for as many images as a cutoff asks for.

    With scaled components wrapped to at most one half, an image that is ``s`` cells away along an axis is at least
    ``(s - 1/2)`` heights of the cell away in space.

    Returns
    -------
    numpy.ndarray
        (n, n) in Å: exact where below the cutoff, else never too short. An atom's own images go with it wherever it
        flies: the diagonal is infinite.
    """
    vectors = positions[:, np.newaxis] - positions
    distances: np.ndarray
    if pbc.any():
        full = complete_cell(cell)
        inverse = np.linalg.inv(full)
        vectors = vectors - (np.round(vectors @ inverse) * pbc) @ full
        reach = np.floor(cutoff * np.sqrt((inverse**2).sum(axis=0)) + 0.5).astype(int) * pbc
        shifts = [range(-cells, cells + 1) for cells in reach]
        distances = np.full(vectors.shape[:2], np.inf)
        for shift in product(*shifts):
            np.minimum(distances, (((vectors + np.array(shift) @ full) ** 2).sum(axis=2)), out=distances)
        distances = np.sqrt(distances)
    else:
        distances = np.sqrt((vectors**2).sum(axis=2))
    np.fill_diagonal(distances, np.inf)
    return distances
