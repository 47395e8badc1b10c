"""Distances between atoms, fast enough to be looked at every few steps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np
from ase.data import covalent_radii
from ase.geometry import complete_cell
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

# Pairs that are looked at together; bounds the memory for large structures.
BLOCK_PAIRS = 250_000


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
    closest: Overlap | None = None
    for start, distances in distance_blocks(positions, cell, pbc, cutoff):
        first, second = np.nonzero(distances < cutoff)
        if not len(first):
            continue
        close = distances[first, second]
        ratios = close / (radii[start + first] + radii[second])
        worst = int(np.argmin(ratios))
        if ratios[worst] < (factor if closest is None else closest.ratio):
            pair = (int(start + first[worst]), int(second[worst]))
            closest = Overlap(pair, float(close[worst]), float(ratios[worst]))
    return closest


def find_detached(
    positions: np.ndarray, cell: np.ndarray, pbc: np.ndarray, reach: float, groups: np.ndarray
) -> np.ndarray:
    """Return the indices of the atoms that have come off the largest part of the group that they were of.

    Parameters
    ----------
    positions, cell, pbc
        The structure in Å.
    reach
        Atoms within it, by the nearest image, hold together, and all that these hold, in Å.
    groups
        Number of the group of each atom (n,), as `find_groups` gives it.
    """
    # Distances that are not exact are never too short: what holds together by them does, and few do not.
    for cutoff in (0.0, reach):
        parts = find_groups(positions, cell, pbc, reach, cutoff)
        _, first, of_group = np.unique(groups, return_index=True, return_inverse=True)
        if (parts == parts[first][of_group]).all():
            return np.array([], dtype=int)
    detached: list[np.ndarray] = []
    for group in np.unique(groups):
        members = np.flatnonzero(groups == group)
        sizes = np.bincount(parts[members])
        detached.append(members[parts[members] != sizes.argmax()])
    return np.sort(np.concatenate(detached))


def find_groups(
    positions: np.ndarray, cell: np.ndarray, pbc: np.ndarray, reach: float, exact_below: float
) -> np.ndarray:
    """Return for each atom the number of its group (n,): atoms within a reach, in Å, and all that these reach.

    Distances are exact below ``exact_below``; longer ones are never too short.
    """
    blocks = distance_blocks(positions, cell, pbc, exact_below)
    first, second = np.concatenate([np.argwhere(block <= reach) + np.array([start, 0]) for start, block in blocks]).T
    n = len(positions)
    links = coo_array((np.ones(len(first), dtype=bool), (first, second)), shape=(n, n))
    groups: np.ndarray = connected_components(links, directed=False)[1]
    return groups


def nearest_distances(positions: np.ndarray, cell: np.ndarray, pbc: np.ndarray, cutoff: float) -> np.ndarray:
    """Return each atom's distance to the nearest other one in Å: exact where below the cutoff, else never too short."""
    return np.concatenate([block.min(axis=1) for _, block in distance_blocks(positions, cell, pbc, cutoff)])


def distance_blocks(
    positions: np.ndarray, cell: np.ndarray, pbc: np.ndarray, cutoff: float
) -> Iterator[tuple[int, np.ndarray]]:
    """Give each pair's distance by the nearest image, for as many images as a cutoff asks for.

    With scaled components wrapped to at most one half, an image that is ``s`` cells away along an axis is at least
    ``(s - 1/2)`` heights of the cell away in space.

    Yields
    ------
    first
        Index of the first atom of a block.
    distances
        (m, n) in Å, from the m atoms of the block to all: exact where below the cutoff, else never too short. An
        atom's own images go with it wherever it flies: to itself it is infinite.
    """
    n = len(positions)
    size = max(1, BLOCK_PAIRS // n)
    full = complete_cell(cell) if pbc.any() else np.eye(3)
    inverse = np.linalg.inv(full)
    reach = np.floor(cutoff * np.sqrt((inverse**2).sum(axis=0)) + 0.5).astype(int) * pbc
    shifts = [np.array(shift) @ full for shift in product(*[range(-cells, cells + 1) for cells in reach])]
    for start in range(0, n, size):
        vectors = positions[start : start + size, np.newaxis] - positions
        if pbc.any():
            vectors -= (np.round(vectors @ inverse) * pbc) @ full
        squares = np.full(vectors.shape[:2], np.inf)
        for shift in shifts:
            np.minimum(squares, ((vectors + shift) ** 2).sum(axis=2), out=squares)
        rows = np.arange(len(vectors))
        squares[rows, start + rows] = np.inf
        yield start, np.sqrt(squares)
