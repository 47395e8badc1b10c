"""Distances between atoms, fast enough for a check every few steps.

Overlaps are found with matscipy's neighbour list: its cutoff is short, and for 864 atoms it takes one hundredth of the
time of checking all pairs (``benchmarks/neighbours.py``). Detached atoms are found from all pairs: in a sparse
structure the reach is tens of Å, and the cost of a neighbour list grows with its cube (a slab of 865 atoms with an
adatom 40 Å above it takes 6 s with matscipy, and 0.2 s with all pairs).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np
from ase.data import covalent_radii
from ase.geometry import complete_cell
from matscipy.neighbours import neighbour_list

# Number of pairs per block, which limits the memory for large structures.
BLOCK_PAIRS = 250_000
# Maximum number of bins into which matscipy sorts the atoms.
MAX_BINS_PER_ATOM = 64


@dataclass(frozen=True)
class Overlap:
    """Two atoms that are too close to each other.

    Attributes
    ----------
    atoms
        Their indices.
    distance_A
        Their distance in Å.
    ratio
        The distance divided by the sum of the covalent radii.
    """

    atoms: tuple[int, int]
    distance_A: float
    ratio: float


def find_overlap(
    numbers: np.ndarray, positions: np.ndarray, cell: np.ndarray, pbc: np.ndarray, factor: float
) -> Overlap | None:
    """Return the two atoms closest relative to the sum of their radii, if closer than ``factor`` times this sum."""
    radii = covalent_radii[numbers]
    full = complete_cell(cell)
    # With bins as wide as the cutoff, a large empty cell would have millions of bins.
    width = (abs(np.linalg.det(full)) / (MAX_BINS_PER_ATOM * len(positions))) ** (1.0 / 3.0)
    cutoff = max(factor * 2.0 * float(radii.max()), float(width))
    first, second, distances = neighbour_list('ijd', positions=positions, cell=full, pbc=pbc, cutoff=cutoff)
    # Pairs of an atom with its own images are ignored, since these move with it.
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
    positions: np.ndarray, cell: np.ndarray, pbc: np.ndarray, reach: float, fragments: np.ndarray
) -> np.ndarray:
    """Return the indices of the atoms that are detached from the largest part of their earlier fragment.

    Parameters
    ----------
    positions, cell, pbc
        The structure in Å.
    reach
        Maximum distance between two connected atoms, to the nearest image, in Å.
    fragments
        Earlier result of `find_fragments`: the index of the fragment of each atom (n,).
    """
    # Distances that are not exact are upper bounds, so they only connect atoms that are within reach. Most structures
    # need no second pass.
    for cutoff in (0.0, reach):
        parts = find_fragments(positions, cell, pbc, reach, cutoff)
        _, first, of_fragment = np.unique(fragments, return_index=True, return_inverse=True)
        if (parts == parts[first][of_fragment]).all():
            return np.array([], dtype=int)
    detached: list[np.ndarray] = []
    for fragment in np.unique(fragments):
        members = np.flatnonzero(fragments == fragment)
        sizes = np.bincount(parts[members])
        detached.append(members[parts[members] != sizes.argmax()])
    return np.sort(np.concatenate(detached))


def find_fragments(
    positions: np.ndarray, cell: np.ndarray, pbc: np.ndarray, reach: float, exact_below: float
) -> np.ndarray:
    """Return the index of the fragment of each atom (n,). Atoms within ``reach`` in Å are in the same fragment.

    Distances are exact below ``exact_below``; longer ones are upper bounds.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    blocks = distance_blocks(positions, cell, pbc, exact_below)
    first, second = np.concatenate([np.argwhere(block <= reach) + np.array([start, 0]) for start, block in blocks]).T
    n = len(positions)
    links = coo_array((np.ones(len(first), dtype=bool), (first, second)), shape=(n, n))
    fragments: np.ndarray = connected_components(links, directed=False)[1]
    return fragments


def nearest_distances(positions: np.ndarray, cell: np.ndarray, pbc: np.ndarray, cutoff: float) -> np.ndarray:
    """Return the distance in Å from each atom to its nearest neighbour: exact below the cutoff, else an upper bound."""
    return np.concatenate([block.min(axis=1) for _, block in distance_blocks(positions, cell, pbc, cutoff)])


def distance_blocks(
    positions: np.ndarray, cell: np.ndarray, pbc: np.ndarray, cutoff: float
) -> Iterator[tuple[int, np.ndarray]]:
    """Yield the distances of all pairs to the nearest image, with as many images as the cutoff requires.

    If scaled components are wrapped to at most one half, an image that is ``s`` cells away along an axis is at least
    ``(s - 1/2)`` perpendicular widths of the cell away.

    Yields
    ------
    first
        Index of the first atom of a block.
    distances
        (m, n) in Å, from the m atoms of the block to all atoms: exact below the cutoff, otherwise upper bounds. The
        distance of an atom to itself is infinite, because its own images move with it.
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
