"""Clusters of the environments of atoms."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from aiida_mlip_autopipe.descriptors.environments import ALIKE
from aiida_mlip_autopipe.descriptors.soap.settings import SoapSettings
from aiida_mlip_autopipe.sampling.farthest_point import farthest_points
from aiida_mlip_autopipe.sampling.pool.describe import describe_pool
from aiida_mlip_autopipe.sampling.pool.frames import FramePool

BLOCK = 4096


@dataclass(frozen=True, eq=False)
class EnvironmentClusters:
    """The environment clusters of each candidate.

    Attributes
    ----------
    present
        Whether a candidate has an environment in a cluster (m, k).
    covered
        Whether a structure of the reference dataset has an environment in a cluster (k,).
    means, reference_means
        Mean of the environments of each candidate (m, c) and of each structure of the reference dataset (g, c).
    n_atoms
        Number of atoms of each candidate (m,).
    report
        Number of environments, number of groups, number of clusters and the largest distance of an environment to the
        centre of its cluster.
    """

    present: np.ndarray
    covered: np.ndarray
    means: np.ndarray
    reference_means: np.ndarray
    n_atoms: np.ndarray
    report: dict[str, Any]


def find_clusters(
    pool: FramePool, settings: SoapSettings, n_clusters: int, *, per_group: bool = True
) -> EnvironmentClusters:
    """Find clusters of environments. Farthest point sampling chooses their centres, so that no rare one is missed.

    Parameters
    ----------
    pool
        The candidates and the structures of the reference dataset.
    settings
        The settings of the descriptor.
    n_clusters
        The maximum number of clusters.
    per_group
        Whether each group of candidates with the same composition and kind has its own clusters. Their number is
        proportional to the number of candidates. Groups that are too small for one cluster are joined.
    """
    features = describe_pool(pool, settings, 'environments')
    candidates, reference = features.candidates, features.chosen
    frame_of = np.repeat(np.arange(len(pool)), candidates.n_points)
    groups = _groups(pool, n_clusters) if per_group else np.zeros(len(pool), dtype=np.int64)
    sizes = np.bincount(groups)
    present, covered, radii = [], [], []
    for group, n_centres in enumerate(apportion(n_clusters, sizes)):
        of_group = groups[frame_of] == group
        environments = candidates.points[of_group]
        centres, _, distances = farthest_points(environments, n_centres, tolerance=ALIKE)
        radii.append(float(distances.max()))
        clusters, _ = _nearest_centres(environments, environments[centres])
        present.append(np.zeros((len(pool), len(centres)), dtype=bool))
        present[-1][frame_of[of_group], clusters] = True
        covered.append(np.zeros(len(centres), dtype=bool))
        if pool.n_reference:
            reference_clusters, reference_distances = _nearest_centres(reference.points, environments[centres])
            covered[-1][reference_clusters[reference_distances <= max(radii[-1], ALIKE)]] = True
    report = {
        'descriptor': features.report,
        'n_environments': len(candidates.points),
        'n_environment_groups': len(sizes),
        'n_clusters': sum(map(len, covered)),
        'cluster_radius': max(radii),
    }
    return EnvironmentClusters(
        np.concatenate(present, axis=1),
        np.concatenate(covered),
        candidates.means(),
        reference.means(),
        candidates.n_points,
        report,
    )


def apportion(n: int, sizes: np.ndarray) -> list[int]:
    """Divide a number in proportion to some sizes (g,), by the largest remainder method. Each part is at least one."""
    quotas = n * sizes / sizes.sum()
    parts = np.maximum(quotas.astype(np.int64), 1)
    n_left = max(n - int(parts.sum()), 0)
    parts[np.argsort(parts - quotas, kind='stable')[:n_left]] += 1
    return [int(part) for part in parts]


def _groups(pool: FramePool, n_clusters: int) -> np.ndarray:
    """Return the number of the group of each candidate (m,): its composition and kind, or 0 for all small groups."""
    names = [f'{composition} {kind}' for composition, kind in zip(pool.compositions(), pool.kinds(), strict=True)]
    _, numbers, sizes = np.unique(names, return_inverse=True, return_counts=True)
    is_small = n_clusters * sizes < len(pool)
    # All small groups have been given the number 0, so the numbers must be made consecutive again.
    _, groups = np.unique(np.where(is_small[numbers], 0, numbers + 1), return_inverse=True)
    return groups


def _nearest_centres(points: np.ndarray, centres: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the index of the nearest centre for each point, and the distance to it."""
    nearest = np.empty(len(points), dtype=np.int64)
    distances = np.empty(len(points))
    for start in range(0, len(points), BLOCK):
        block = slice(start, start + BLOCK)
        squared = (centres**2).sum(axis=1) - 2.0 * (points[block] @ centres.T)
        nearest[block] = squared.argmin(axis=1)
        distances[block] = np.linalg.norm(points[block] - centres[nearest[block]], axis=1)
    return nearest, distances
