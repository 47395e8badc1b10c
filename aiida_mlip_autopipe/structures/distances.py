"""Distances between atoms from the neighbour list of matscipy, fast enough to check every few steps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ase.data import covalent_radii
from ase.geometry import complete_cell
from matscipy.neighbours import neighbour_list
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

# matscipy sorts the atoms into bins as wide as the cutoff. A large empty cell would have millions of them.
MAX_BINS_PER_ATOM = 64
# Atoms connected by links up to this share of the reach are also connected by all links, and are much cheaper to find.
SHORT_LINKS = 2.0 / 3.0


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
    first, second, distances = find_pairs(positions, cell, pbc, factor * 2.0 * float(radii.max()))
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
        Atoms closer than this belong together, directly or through other atoms, in Å.
    groups
        Number of the group of each atom (n,), as `find_groups` gives it.
    """
    for cutoff in (SHORT_LINKS * reach, reach):
        parts = find_groups(positions, cell, pbc, cutoff)
        _, first, of_group = np.unique(groups, return_index=True, return_inverse=True)
        if (parts == parts[first][of_group]).all():
            return np.array([], dtype=int)
    detached: list[np.ndarray] = []
    for group in np.unique(groups):
        members = np.flatnonzero(groups == group)
        sizes = np.bincount(parts[members])
        detached.append(members[parts[members] != sizes.argmax()])
    return np.sort(np.concatenate(detached))


def find_groups(positions: np.ndarray, cell: np.ndarray, pbc: np.ndarray, reach: float) -> np.ndarray:
    """Return the number of each atom's group (n,): atoms within a reach, in Å, directly or through other atoms."""
    n = len(positions)
    first, second, _ = find_pairs(positions, cell, pbc, reach)
    links = coo_array((np.ones(len(first), dtype=bool), (first, second)), shape=(n, n))
    groups: np.ndarray = connected_components(links, directed=False)[1]
    return groups


def nearest_distances(positions: np.ndarray, cell: np.ndarray, pbc: np.ndarray, cutoff: float) -> np.ndarray:
    """Return the distance from each atom to its nearest neighbour, in Å, for at least two atoms.

    The search begins with a cutoff and doubles it until each atom has a neighbour.
    """
    nearest = np.full(len(positions), np.inf)
    while np.isinf(nearest).any():
        first, _, distances = find_pairs(positions, cell, pbc, cutoff)
        np.minimum.at(nearest, first, distances)
        cutoff *= 2.0
    return nearest


def find_pairs(
    positions: np.ndarray, cell: np.ndarray, pbc: np.ndarray, cutoff: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return all pairs of different atoms closer than a cutoff, for each periodic image and in both orders.

    An atom forms no pair with its own images, since they move with it.

    Returns
    -------
    first, second
        Indices of the atoms (m,), the first ones in ascending order.
    distances
        (m,) in Å.
    """
    full = complete_cell(cell)
    width = (abs(np.linalg.det(full)) / (MAX_BINS_PER_ATOM * len(positions))) ** (1.0 / 3.0)
    first, second, distances = neighbour_list(
        'ijd', positions=positions, cell=full, pbc=pbc, cutoff=max(cutoff, float(width))
    )
    kept = (first != second) & (distances < cutoff)
    return first[kept], second[kept], distances[kept]
