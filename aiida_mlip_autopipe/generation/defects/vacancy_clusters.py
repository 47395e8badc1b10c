"""Compact clusters of vacancies, which grow by the atom nearest to all vacancies so far."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import numpy as np
from ase import Atoms

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.generation.defects.distinct_sites import SymmetrySites
from aiida_mlip_autopipe.generation.limits import check_time
from aiida_mlip_autopipe.structures.cells import repeats_for_width
from aiida_mlip_autopipe.structures.duplicates import fingerprint
from aiida_mlip_autopipe.structures.seed import fixed_mask

TIE_TOLERANCE = 0.01  # Å², of sums of squared distances
ROOM_A = 10.0  # minimum distance between a cluster and its images when distinct clusters are compared


def draw_cluster(atoms: Atoms, free: np.ndarray, counts: Mapping[str, int], rng: np.random.Generator) -> list[int]:
    """Return the atoms of a compact cluster at a random position.

    The cluster starts at a random atom. Each further atom has the smallest sum of squared distances to the previous
    ones; of several such atoms, one is chosen at random. Two vacancies are thus nearest neighbours, three in fcc form a
    triangle, and four a tetrahedron.

    Parameters
    ----------
    atoms
        The structure.
    free
        Which atoms may be removed (n,).
    counts
        Number of vacancies by element.
    """
    chosen: list[int] = []
    while len(chosen) < sum(counts.values()):
        chosen.append(int(rng.choice(_next_atoms(atoms, free, counts, chosen))))
    return chosen


def distinct_clusters(host: Atoms, counts: Mapping[str, int]) -> list[np.ndarray]:
    """Return the positions of the symmetry-distinct compact clusters, each of shape (k, 3) in Å.

    They start at each distinct atom and grow as in `draw_cluster`. In a tie, a cluster is made with each of the atoms.
    Two clusters are the same if the structures without their atoms have the same fingerprint.
    """
    starts = [site for symbol in counts for site in SymmetrySites(host).atoms_of(symbol)]
    atoms = host.repeat(repeats_for_width(host, ROOM_A + _extent(host, sum(counts.values()))))
    free = ~fixed_mask(atoms)
    clusters = [[int(np.linalg.norm(atoms.positions - start, axis=1).argmin())] for start in starts]
    for _ in range(sum(counts.values()) - 1):
        larger = [[*cluster, int(atom)] for cluster in clusters for atom in _next_atoms(atoms, free, counts, cluster)]
        by_fingerprint: dict[str, list[int]] = {}
        for cluster in larger:
            check_time()
            by_fingerprint.setdefault(fingerprint(_without(atoms, cluster)), cluster)
        clusters = list(by_fingerprint.values())
    return [
        atoms.positions[cluster[0]] + atoms.get_distances(cluster[0], cluster, mic=True, vector=True)
        for cluster in clusters
    ]


def _next_atoms(atoms: Atoms, free: np.ndarray, counts: Mapping[str, int], chosen: list[int]) -> np.ndarray:
    """Return the indices of the atoms by which a cluster may grow."""
    left = Counter(counts)
    left.subtract(atoms.symbols[index] for index in chosen)
    allowed = free & np.isin(atoms.get_chemical_symbols(), [symbol for symbol, number in left.items() if number > 0])
    allowed[chosen] = False
    candidates = np.flatnonzero(allowed)
    if not len(candidates):
        raise AutopipeError(
            Code.TOO_MANY_DEFECTS,
            f'{atoms.get_chemical_formula()} has too few free atoms for a cluster of {describe_cluster(counts)}',
        )
    if not chosen:
        return candidates
    sums = sum(atoms.get_distances(index, candidates, mic=True) ** 2 for index in chosen)
    return np.asarray(candidates[sums <= np.min(sums) + TIE_TOLERANCE])


def describe_cluster(counts: Mapping[str, int]) -> str:
    """Return the composition of a cluster, such as ``2 Mg + 2 O``."""
    return ' + '.join(f'{number} {symbol}' for symbol, number in counts.items())


def _extent(host: Atoms, n_vacancies: int) -> float:
    """Return an upper bound in Å for the diameter of a compact cluster: twice that of a sphere of its volume."""
    return float(2 * (6 / np.pi * n_vacancies * host.get_volume() / len(host)) ** (1 / 3))


def _without(atoms: Atoms, indices: list[int]) -> Atoms:
    left = atoms.copy()
    del left[indices]
    return left
