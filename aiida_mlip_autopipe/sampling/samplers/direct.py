"""DIRECT sampling: the frames nearest to the centres of clusters in a low-dimensional descriptor space."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Literal

import numpy as np
from pydantic import Field

from aiida_mlip_autopipe.core.threads import one_thread
from aiida_mlip_autopipe.descriptors.describe import AnyDescriptor
from aiida_mlip_autopipe.descriptors.pca import fit_pca
from aiida_mlip_autopipe.descriptors.soap.settings import SoapSettings
from aiida_mlip_autopipe.sampling.base import Picks, Sampler, SamplerSettings
from aiida_mlip_autopipe.sampling.farthest_point import farthest_points
from aiida_mlip_autopipe.sampling.pool.describe import describe_pool
from aiida_mlip_autopipe.sampling.pool.frames import FramePool
from aiida_mlip_autopipe.structures.duplicates import DESCRIPTOR_TOLERANCE


class DirectSettings(SamplerSettings):
    """Frames from the centres of clusters of frames (DIRECT: Qi et al., npj Comput. Mater. 10, 43, 2024)."""

    kind: Literal['direct'] = 'direct'
    """Finds clusters of frames by PCA and BIRCH, and chooses some frames from each."""
    per_cluster: int = Field(default=1, ge=1)
    """Number of frames to choose from each cluster. It determines the number of clusters."""
    descriptor: AnyDescriptor = SoapSettings()
    """The descriptor for the clusters."""
    duplicate_tolerance: float = Field(default=DESCRIPTOR_TOLERANCE, ge=0)
    """Maximum distance between the descriptors of duplicates. At most one of several duplicates is chosen."""


class DirectSampler(Sampler):
    """Choose the frames nearest to the centres of clusters, the largest cluster first. The choice is deterministic.

    The clusters are computed in the principal components with a variance above the mean (Kaiser's rule). Clusters that
    contain a structure of the reference dataset are skipped. If the clusters have too few frames, farthest point
    sampling chooses the remaining ones.
    """

    settings_class = DirectSettings
    settings: DirectSettings

    def pick(self, pool: FramePool, n_structures: int, rng: np.random.Generator) -> Picks:
        """Choose frames from each cluster, and then the remaining frames by farthest point sampling."""
        settings = self.settings
        n, m = min(n_structures, len(pool)), len(pool)
        features = describe_pool(pool, settings.descriptor)
        points, reference = features.candidates.points, features.chosen.points
        everything = np.concatenate([points, reference])
        pca = fit_pca(everything)
        pca = pca.keep(int((pca.variances > pca.variances.mean()).sum()))
        components = pca.apply(everything)
        clusters = cluster(components, min(-(-n // settings.per_cluster), m))
        groups = _by_size(clusters[:m], skipped=set(clusters[m:].tolist()))
        ordered = [_from_centre(components, members) for members in groups]
        central = list(islice(self._central_frames(ordered, points, reference), n))
        indices = np.array([index for index, _ in central], dtype=np.int64)
        rest = np.setdiff1d(np.arange(m), indices)
        filled, fill_distances, _ = farthest_points(
            points[rest],
            n - len(indices),
            tolerance=settings.duplicate_tolerance,
            already_chosen=np.concatenate([reference, points[indices]]),
        )
        report = {
            'descriptor': features.report,
            'n_components': components.shape[1],
            'explained_variance': pca.explained,
            'n_clusters': len(np.unique(clusters)),
            'n_from_clusters': len(indices),
        }
        distances = np.array([distance for _, distance in central])
        return Picks(np.concatenate([indices, rest[filled]]), np.concatenate([distances, fill_distances]), report)

    def _central_frames(
        self, groups: Sequence[np.ndarray], points: np.ndarray, reference: np.ndarray
    ) -> Iterator[tuple[int, float]]:
        """Yield the first distinct frames of each group, and their distances to the frames chosen before."""
        chosen = np.concatenate([reference, np.empty_like(points)])
        n_chosen = len(reference)
        for members in groups:
            n_remaining = self.settings.per_cluster
            for index in members:
                distance = _nearest(points[index], chosen[:n_chosen])
                if distance <= self.settings.duplicate_tolerance:
                    continue
                chosen[n_chosen] = points[index]
                n_chosen += 1
                n_remaining -= 1
                yield int(index), distance
                if not n_remaining:
                    break


def cluster(points: np.ndarray, n_clusters: int) -> np.ndarray:
    """Return the cluster of each point (m,): BIRCH (Zhang et al., SIGMOD Rec. 25, 103, 1996), then Ward's linkage.

    BIRCH joins points within a threshold. The initial threshold is half the covering radius of farthest point sampling
    with as many points as there are clusters. It is halved until there are at least as many groups as clusters.
    """
    # Only libraries that are already loaded are limited to one thread.
    from sklearn.cluster import AgglomerativeClustering, Birch

    n_distinct = len(np.unique(points, axis=0))
    n_clusters = min(n_clusters, n_distinct)
    with one_thread():
        threshold = max(float(farthest_points(points, n_clusters)[2].max()) / 2.0, 1e-6)
        groups = Birch(threshold=threshold, n_clusters=None).fit(points)
        while len(groups.subcluster_centers_) < n_clusters and threshold > 1e-9:
            threshold /= 2.0
            groups = Birch(threshold=threshold, n_clusters=None).fit(points)
        centres = groups.subcluster_centers_
        if len(centres) <= n_clusters or n_clusters < 2:
            return groups.labels_ if n_clusters > 1 else np.zeros(len(points), dtype=np.int64)
        joined = AgglomerativeClustering(n_clusters=n_clusters).fit_predict(centres)
    clusters: np.ndarray = joined[groups.labels_]
    return clusters


def _by_size(clusters: np.ndarray, skipped: set[int]) -> list[np.ndarray]:
    """Return the members of each cluster that is not skipped, by descending size and then by the first member."""
    members = [np.flatnonzero(clusters == name) for name in np.unique(clusters) if int(name) not in skipped]
    return sorted(members, key=lambda group: (-len(group), group[0]))


def _from_centre(components: np.ndarray, members: np.ndarray) -> np.ndarray:
    """Return the members in ascending order of their distance to the mean."""
    distances = np.linalg.norm(components[members] - components[members].mean(axis=0), axis=1)
    ordered: np.ndarray = members[np.argsort(distances, kind='stable')]
    return ordered


def _nearest(point: np.ndarray, others: np.ndarray) -> float:
    return float(np.linalg.norm(others - point, axis=1).min()) if len(others) else float('nan')


VARIANT = DirectSampler
