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
        Number of environments, number of clusters and the largest distance of an environment to the centre of its
        cluster.
    """

    present: np.ndarray
    covered: np.ndarray
    means: np.ndarray
    reference_means: np.ndarray
    n_atoms: np.ndarray
    report: dict[str, Any]


def find_clusters(pool: FramePool, settings: SoapSettings, n_clusters: int) -> EnvironmentClusters:
    """Find clusters of environments. Farthest point sampling chooses their centres, so that no rare one is missed.

    Parameters
    ----------
    pool
        The candidates and the structures of the reference dataset.
    settings
        The settings of the descriptor.
    n_clusters
        The maximum number of clusters.
    """
    features = describe_pool(pool, settings, 'environments')
    candidates, reference = features.candidates, features.chosen
    environments = candidates.points
    centres, _, distances = farthest_points(environments, n_clusters, tolerance=ALIKE)
    radius = float(distances.max())
    clusters, _ = _nearest_centres(environments, environments[centres])
    present = np.zeros((len(pool), len(centres)), dtype=bool)
    present[np.repeat(np.arange(len(pool)), candidates.n_points), clusters] = True
    covered = np.zeros(len(centres), dtype=bool)
    if pool.n_reference:
        reference_clusters, reference_distances = _nearest_centres(reference.points, environments[centres])
        covered[reference_clusters[reference_distances <= max(radius, ALIKE)]] = True
    report = {
        'descriptor': features.report,
        'n_environments': len(environments),
        'n_clusters': len(centres),
        'cluster_radius': radius,
    }
    return EnvironmentClusters(present, covered, candidates.means(), reference.means(), candidates.n_points, report)


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
