"""Find structures that are the same, however they are turned, numbered or repeated, by their labels.

Beside the stages because the sampling holds lineages out before it selects, and the storage splits what is there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

# Two structures are the same when these agree; a frame of the next femtosecond differs by more.
ENERGY_TOLERANCE = 1e-5
"""eV per atom."""
VOLUME_TOLERANCE = 1e-4
"""Relative."""
FORCE_TOLERANCE = 1e-3
"""eV/Å, of every sixteenth of the sorted norms of the forces."""


@dataclass(frozen=True, eq=False)
class Fingerprints:
    """What changes neither with rotation and permutation nor for a supercell, of n structures.

    Attributes
    ----------
    formulas
        Empirical formulas (n).
    energies, volumes
        eV and Å³, per atom (n,).
    forces
        Quantiles of the norms of the forces, as `force_quantiles` gives them (n, 17).
    """

    formulas: Sequence[str]
    energies: np.ndarray
    volumes: np.ndarray
    forces: np.ndarray


def force_quantiles(forces: np.ndarray) -> np.ndarray:
    """Return every sixteenth of the sorted norms of forces (n, 3), in their unit (17,).

    A supercell has those of its primitive cell: each is one of the norms, by the inverse of their distribution.
    """
    norms = np.sort(np.sqrt((forces**2).sum(axis=1)))
    places = -(-len(norms) * np.arange(17) // 16) - 1
    quantiles: np.ndarray = norms[np.maximum(places, 0)]
    return quantiles


def join_alike(fingerprints: Fingerprints, groups: Sequence[str]) -> list[str]:
    """Join the groups that share a structure.

    Where composition, energy, volume and the distribution of the forces' norms agree within tolerances, two structures
    are copies: they hardly ever do by accident.

    Parameters
    ----------
    fingerprints
        Of each structure.
    groups
        The group of each structure.

    Returns
    -------
    list of str
        The group of each structure; joined groups have the name of the first of them by alphabet.
    """
    parents = {group: group for group in groups}

    def root(group: str) -> str:
        while parents[group] != group:
            group = parents[group]
        return group

    for first, second in _alike_pairs(fingerprints):
        names = sorted((root(groups[first]), root(groups[second])))
        parents[names[1]] = names[0]
    return [root(group) for group in groups]


def _alike_pairs(found: Fingerprints) -> Iterator[tuple[int, int]]:
    order = np.argsort(found.energies, kind='stable')
    ends = np.searchsorted(found.energies[order], found.energies[order] + ENERGY_TOLERANCE, side='right')
    for place, first in enumerate(order):
        for second in order[place + 1 : ends[place]]:
            if (
                found.formulas[first] == found.formulas[second]
                and abs(found.volumes[first] - found.volumes[second]) <= VOLUME_TOLERANCE * found.volumes[first]
                and np.abs(found.forces[first] - found.forces[second]).max() <= FORCE_TOLERANCE
            ):
                yield int(first), int(second)
