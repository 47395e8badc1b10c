"""Information entropy and diversity of atomic environments by QUESTS.

Schwalbe-Koda, Hamel, Sadigh, Zhou and Lordi, `Nature Communications 16, 4014 (2025)
<https://doi.org/10.1038/s41467-025-59232-0>`_: the entropy of the distribution of environments, estimated with a
Gaussian kernel. Written anew from the paper's equations, for a sample: its package brings a compiler and an optimiser.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from ase import Atoms

# The paper's: neighbours that count, how far they are looked for in Å, and the width of the kernel in 1/Å.
N_NEIGHBOURS = 32
CUTOFF_A = 5.0
BANDWIDTH_PER_A = 0.015


def describe_by_quests(structures: Iterable[Atoms]) -> np.ndarray:
    """Describe the surroundings of each atom, elements aside.

    The first `N_NEIGHBOURS` numbers are ``w(r)/r`` of the nearest neighbours, the nearest first, with ``w(r) = (1 -
    (r/r_c)²)²``. The others are, for each rank, the mean over neighbours j of the values ``sqrt(w(r_j) w(r_l)) / r_jl``
    of that rank, the largest first.

    Returns
    -------
    numpy.ndarray
        float64 (number of atoms, 63), in 1/Å.
    """
    return np.concatenate([_describe(atoms) for atoms in structures])


def entropy_and_diversity(environments: np.ndarray) -> tuple[float, float]:
    """Return the entropy and the diversity of environments.

    Parameters
    ----------
    environments
        Descriptors from `describe_by_quests` (n, d). The time grows with the square of n.

    Returns
    -------
    entropy
        ``-mean_i ln(1/n sum_j K_ij)`` in nats: 0 where all are alike, ln n where none is like another.
    diversity
        ``ln sum_i 1 / sum_j K_ij`` in nats: the logarithm of the number of environments that differ.
    """
    norms = (environments**2).sum(axis=1)
    squared = np.maximum(norms[:, None] + norms - 2 * environments @ environments.T, 0.0)
    overlaps = np.exp(-squared / (2 * BANDWIDTH_PER_A**2)).sum(axis=1)
    return -float(np.log(overlaps / len(environments)).mean()), float(np.log((1 / overlaps).sum()))


def _describe(atoms: Atoms) -> np.ndarray:
    from matscipy.neighbours import neighbour_list

    # A molecule may have no cell, which the search needs only as a frame.
    centres, distances, vectors = neighbour_list(
        'idD', positions=atoms.positions, cell=atoms.cell.complete().array, pbc=atoms.pbc, cutoff=CUTOFF_A
    )
    order = np.lexsort((distances, centres))
    counts = np.bincount(centres, minlength=len(atoms))
    ranks = np.arange(len(centres)) - np.repeat(np.cumsum(counts) - counts, counts)
    near = ranks < N_NEIGHBOURS
    place = centres[order][near], ranks[near]
    # What is not there has no weight, wherever it is.
    weights = np.zeros((len(atoms), N_NEIGHBOURS))
    radii = np.ones((len(atoms), N_NEIGHBOURS))
    positions = np.zeros((len(atoms), N_NEIGHBOURS, 3))
    radii[place], positions[place] = distances[order][near], vectors[order][near]
    weights[place] = (1 - (radii[place] / CUTOFF_A) ** 2) ** 2
    between = np.linalg.norm(positions[:, :, None] - positions[:, None], axis=-1)
    pairs = np.sqrt(weights[:, :, None] * weights[:, None]) / np.where(between > 0, between, np.inf)
    by_rank = np.sort(pairs, axis=2).mean(axis=1)[:, :0:-1]
    return np.concatenate([weights / radii, by_rank], axis=1)
