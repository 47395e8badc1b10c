"""Information entropy and diversity of atomic environments by the QUESTS method.

The entropy of the distribution of environments is estimated with a Gaussian kernel: Schwalbe-Koda, Hamel, Sadigh, Zhou
and Lordi, `Nature Communications 16, 4014 (2025) <https://doi.org/10.1038/s41467-025-59232-0>`_.

This module implements the equations of the paper for a sample of environments. The authors' package would add a
compiler and an optimiser to the dependencies.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ase import Atoms

# Values from the paper: number of neighbours, cutoff radius in Å and width of the kernel in 1/Å.
N_NEIGHBOURS = 32
CUTOFF_A = 5.0
BANDWIDTH_PER_A = 0.015


def describe_by_quests(structures: Sequence[Atoms], max_environments: int | None = None) -> np.ndarray:
    """Compute the descriptors of the environments of atoms. They do not depend on the elements.

    The first `N_NEIGHBOURS` values are ``w(r)/r`` of the nearest neighbours, in ascending order of r, with ``w(r) = (1
    - (r/r_c)²)²``. For the others, the values ``sqrt(w(r_j) w(r_l)) / r_jl`` of each neighbour j are sorted in
    descending order, and each rank is averaged over the neighbours j.

    Parameters
    ----------
    structures
        The structures.
    max_environments
        Maximum number of environments. If there are more, they are evenly spaced; by default, all are described.

    Returns
    -------
    numpy.ndarray
        float64 (number of environments, 63), in 1/Å.
    """
    ends = np.cumsum([len(atoms) for atoms in structures])
    n_atoms = int(ends[-1])
    n_described = n_atoms if max_environments is None else min(n_atoms, max_environments)
    described = np.linspace(0, n_atoms - 1, n_described).astype(np.int64)
    parts = np.split(described, np.searchsorted(described, ends[:-1]))
    starts = ends - [len(atoms) for atoms in structures]
    return np.concatenate(
        [_describe(atoms, part - start) for atoms, part, start in zip(structures, parts, starts, strict=True)]
    )


def entropy_and_diversity(environments: np.ndarray) -> tuple[float, float]:
    """Return the entropy and the diversity of a set of environments.

    Parameters
    ----------
    environments
        Descriptors from `describe_by_quests` (n, d). The run time grows with the square of n.

    Returns
    -------
    entropy
        ``-mean_i ln(1/n sum_j K_ij)`` in nats: 0 if all environments are the same, ln n if all are different.
    diversity
        ``ln sum_i 1 / sum_j K_ij`` in nats: the logarithm of the number of different environments.
    """
    scaled = environments / BANDWIDTH_PER_A
    norms = (scaled**2).sum(axis=1) / 2
    # The only array of n² numbers, which is changed in place: -|x_i - x_j|² / 2h².
    exponents = scaled @ scaled.T
    exponents -= norms[:, None]
    exponents -= norms
    np.minimum(exponents, 0.0, out=exponents)
    overlaps = np.exp(exponents, out=exponents).sum(axis=1)
    return -float(np.log(overlaps / len(environments)).mean()), float(np.log((1 / overlaps).sum()))


def _describe(atoms: Atoms, wanted: np.ndarray) -> np.ndarray:
    """Return the descriptors of some atoms, by their indices in ascending order."""
    from matscipy.neighbours import neighbour_list

    # The neighbour search needs three cell vectors, but a molecule may have fewer.
    centres, distances, vectors = neighbour_list(
        'idD', positions=atoms.positions, cell=atoms.cell.complete().array, pbc=atoms.pbc, cutoff=CUTOFF_A
    )
    place = np.full(len(atoms), -1)
    place[wanted] = np.arange(len(wanted))
    is_wanted = place[centres] >= 0
    centres, distances, vectors = place[centres[is_wanted]], distances[is_wanted], vectors[is_wanted]
    order = np.lexsort((distances, centres))
    counts = np.bincount(centres, minlength=len(wanted))
    ranks = np.arange(len(centres)) - np.repeat(np.cumsum(counts) - counts, counts)
    near = ranks < N_NEIGHBOURS
    entries = centres[order][near], ranks[near]
    # Entries without a neighbour have weight zero, so their positions and distances are arbitrary.
    weights = np.zeros((len(wanted), N_NEIGHBOURS))
    radii = np.ones((len(wanted), N_NEIGHBOURS))
    positions = np.zeros((len(wanted), N_NEIGHBOURS, 3))
    radii[entries], positions[entries] = distances[order][near], vectors[order][near]
    weights[entries] = (1 - (radii[entries] / CUTOFF_A) ** 2) ** 2
    # One component at a time takes half as long as `numpy.linalg.norm` of the vectors.
    components = np.moveaxis(positions, -1, 0)
    squared = sum((one[:, :, None] - one[:, None]) ** 2 for one in components)
    between = np.sqrt(squared)
    pairs = np.sqrt(weights[:, :, None] * weights[:, None]) / np.where(between > 0, between, np.inf)
    by_rank = np.sort(pairs, axis=2).mean(axis=1)[:, :0:-1]
    return np.concatenate([weights / radii, by_rank], axis=1)
