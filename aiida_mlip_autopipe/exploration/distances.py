"""Distances between atoms, fast enough to be looked at every few steps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ase.data import covalent_radii
from ase.geometry import complete_cell
from ase.neighborlist import primitive_neighbor_list


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
    distances, exact_below = wrapped_distances(positions, cell, pbc)
    if cutoff <= exact_below:
        first, second = np.nonzero(distances < cutoff)
        close = distances[first, second]
    else:
        first, second, close = primitive_neighbor_list('ijd', pbc, cell, positions, cutoff)
    if not len(close):
        return None
    ratios = close / (radii[first] + radii[second])
    worst = int(np.argmin(ratios))
    if ratios[worst] >= factor:
        return None
    return Overlap((int(first[worst]), int(second[worst])), float(close[worst]), float(ratios[worst]))


def find_detached(positions: np.ndarray, cell: np.ndarray, pbc: np.ndarray, cutoff: float) -> np.ndarray:
    """Return the indices of the atoms that have no other atom, nor an image of one, within a cutoff in Å."""
    distances, _ = wrapped_distances(positions, cell, pbc)
    # Too long they may be, never too short: who has a neighbour by them has one.
    if (distances.min(axis=1, initial=np.inf) <= cutoff).all():
        return np.array([], dtype=int)
    return np.flatnonzero(nearest_distances(positions, cell, pbc, cutoff) > cutoff)


def nearest_distances(positions: np.ndarray, cell: np.ndarray, pbc: np.ndarray, cutoff: float) -> np.ndarray:
    """Return each atom's distance to the nearest other atom or image of one in Å; infinite beyond the cutoff."""
    first, second, distances = primitive_neighbor_list('ijd', pbc, cell, positions, cutoff)
    # An atom's own images go with it wherever it flies.
    others = first != second
    nearest = np.full(len(positions), np.inf)
    np.minimum.at(nearest, first[others], distances[others])
    return nearest


def wrapped_distances(positions: np.ndarray, cell: np.ndarray, pbc: np.ndarray) -> tuple[np.ndarray, float]:
    """Return the distances by the nearest image in scaled coordinates.

    In a skewed cell that image need not be the nearest in space. But where a distance is below half the smallest
    height of the cell, each scaled component of its vector is below one half, so that it is found.

    Returns
    -------
    distances
        (n, n) in Å, none below the true one; infinite on the diagonal.
    exact_below
        Every pair closer than this has its true distance.
    """
    vectors = positions[:, np.newaxis] - positions
    exact_below = np.inf
    if pbc.any():
        full = complete_cell(cell)
        inverse = np.linalg.inv(full)
        scaled = vectors @ inverse
        vectors = vectors - (np.round(scaled) * pbc) @ full
        exact_below = float(0.5 / np.sqrt((inverse[:, pbc] ** 2).sum(axis=0)).max())
    distances = np.sqrt((vectors**2).sum(axis=2))
    np.fill_diagonal(distances, np.inf)
    return distances, exact_below
