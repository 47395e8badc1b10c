"""Distances between atoms, fast enough to be checked every few steps.

Overlaps are found with matscipy's neighbour list: its cutoff is short, and 864 atoms take a hundredth of the time that
all pairs take (``benchmarks/neighbours.py``). What has come off is found from all pairs: in a sparse structure the
reach is tens of Å, and the cost of a neighbour list grows with its cube (a slab of 865 atoms with an adatom 40 Å above
it: 6 s by matscipy, 0.2 s by all pairs).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np
from ase.data import covalent_radii
from ase.geometry import complete_cell
from matscipy.neighbours import neighbour_list
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

# Pairs that are looked at together; bounds the memory for large structures.
BLOCK_PAIRS = 250_000
# Bins of matscipy, into which it sorts the atoms.
MAX_BINS_PER_ATOM = 64


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
    full = complete_cell(cell)
    # A large empty cell would have millions of bins as wide as the cutoff.
    width = (abs(np.linalg.det(full)) / (MAX_BINS_PER_ATOM * len(positions))) ** (1.0 / 3.0)
    cutoff = max(factor * 2.0 * float(radii.max()), float(width))
    first, second, distances = neighbour_list('ijd', positions=positions, cell=full, pbc=pbc, cutoff=cutoff)
    # An atom forms no pair with its own images, since they move with it.
    pairs = first != second
    first, second, distances = first[pairs], second[pairs], distances[pairs]
    if not len(first):
        return None
    ratios = distances / (radii[first] + radii[second])
    worst = int(np.argmin(ratios))
    if ratios[worst] >= factor:
        return None
    return Overlap((int(first[worst]), int(second[worst])), float(distances[worst]), float(ratios[worst]))


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
