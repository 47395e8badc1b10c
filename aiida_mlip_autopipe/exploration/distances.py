"""Distances between atoms, fast enough to be looked at every few steps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np
from ase.data import covalent_radii
from ase.geometry import complete_cell
from scipy.sparse import csr_array
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


def find_detached(positions: np.ndarray, cell: np.ndarray, pbc: np.ndarray, cutoff: float) -> np.ndarray:
    """Return the indices of the smallest piece farther than a cutoff in Å from all else, if there is one.

    Two atoms hang together if a chain of atoms, or images of them, with no gap above the cutoff joins them.
    """
    # Distances that are not exact are never too short: what hangs together by them does, and little does not.
    for exact_below in (0.0, cutoff):
        pieces = _find_pieces(positions, cell, pbc, cutoff, exact_below)
        if pieces.max() == 0:
            return np.array([], dtype=int)
    sizes = np.bincount(pieces)
    return np.flatnonzero(pieces == np.argmin(sizes))


def _find_pieces(
    positions: np.ndarray, cell: np.ndarray, pbc: np.ndarray, cutoff: float, exact_below: float
) -> np.ndarray:
    blocks = distance_blocks(positions, cell, pbc, exact_below)
    near = np.concatenate([block <= cutoff for _, block in blocks])
    pieces: np.ndarray = connected_components(csr_array(near), directed=False)[1]
    return pieces


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
