"""Coverage of environments: the structures with the largest numbers of new environment clusters."""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import Field

from aiida_mlip_autopipe.descriptors.soap.settings import SoapSettings
from aiida_mlip_autopipe.sampling.base import Picks, Sampler, SamplerSettings
from aiida_mlip_autopipe.sampling.environment_clusters import EnvironmentClusters, find_clusters
from aiida_mlip_autopipe.sampling.pool.frames import FramePool
from aiida_mlip_autopipe.sampling.pool.uncertainty import has_uncertainties, rank_uncertainties
from aiida_mlip_autopipe.structures.duplicates import DESCRIPTOR_TOLERANCE


class EnvironmentSettings(SamplerSettings):
    """Greedy coverage of the environments of all atoms."""

    kind: Literal['environment'] = 'environment'
    """Chooses structures that cover the environments of all atoms."""
    n_clusters: int | None = Field(default=None, ge=1)
    """Number of environment clusters. The default is ten for each requested structure."""
    clusters_per_group: bool = True
    """Find clusters separately for each group of candidates with the same composition and kind of seed. The number of
    clusters of a group is proportional to its number of candidates. Otherwise, few structures are chosen from
    chemically simple groups, such as pure metals, because their environments are similar."""
    coverage: float | None = Field(default=None, gt=0, le=1)
    """Stop when this fraction of the clusters is covered, even with fewer than ``n_structures`` structures."""
    uncertainty_exponent: float = Field(default=1.0, ge=0)
    """In rounds, the number of new clusters of a structure is multiplied by its rank raised to this power. The rank is
    1 for the structure on which the models disagree most, and close to 0 for the one on which they disagree least. With
    an exponent of 0, the disagreement is ignored. It must not be changed without rounds."""
    descriptor: SoapSettings = SoapSettings()
    """The descriptor of the environments. It is not averaged over the atoms."""
    duplicate_tolerance: float = Field(default=DESCRIPTOR_TOLERANCE, ge=0)
    """Maximum distance between the mean environments of duplicates. At most one of several duplicates is chosen."""


class EnvironmentSampler(Sampler):
    """Repeatedly choose the structure with the largest number of new environment clusters.

    If models were compared on the candidates, this number is weighted by the rank of their disagreement. Of several
    structures with the same number, the smallest one is chosen. This is the greedy solution of the minimum set cover
    problem, with the inverse weights as costs. When all clusters are covered, a new pass begins, in which they are all
    covered again. The clusters of the reference dataset are covered from the beginning. The choice is deterministic.
    """

    settings_class = EnvironmentSettings
    settings: EnvironmentSettings

    def pick(self, pool: FramePool, n_structures: int, rng: np.random.Generator) -> Picks:
        """Choose structures until there are enough, the coverage is reached, or only duplicates are left."""
        settings = self.settings
        n_clusters = settings.n_clusters or 10 * n_structures
        clusters = find_clusters(pool, settings.descriptor, n_clusters, per_group=settings.clusters_per_group)
        n_clusters = len(clusters.covered)
        cover = _Cover(clusters, settings.duplicate_tolerance, self._weights(pool))
        indices: list[int] = []
        gains: list[int] = []
        while len(indices) < n_structures and cover.available.any():
            if settings.coverage is not None and cover.n_covered >= settings.coverage * n_clusters:
                break
            index, gain = cover.take_best()
            indices.append(index)
            gains.append(gain)
        report = clusters.report | {
            'coverage': cover.n_covered / n_clusters,
            'rounds': cover.n_rounds,
        }
        return Picks(
            np.array(indices, dtype=np.int64),
            np.full(len(indices), np.nan),
            report,
            gains=np.array(gains, dtype=np.float64),
            complete=settings.coverage is not None and cover.n_covered >= settings.coverage * n_clusters,
        )

    def _weights(self, pool: FramePool) -> np.ndarray | None:
        """Return the factor (m,) of the gain of each candidate; None if no models were compared."""
        if not has_uncertainties(pool):
            return None
        weights: np.ndarray = rank_uncertainties(pool) ** self.settings.uncertainty_exponent
        return weights


class _Cover:
    """The covered clusters, and the gain of each candidate.

    Parameters
    ----------
    clusters
        The environment clusters of each candidate.
    tolerance
        Maximum distance between the mean environments of duplicates. Duplicates of chosen candidates are not available.
    weights
        Positive factor of the gain of each candidate; None for no factors.
    """

    def __init__(self, clusters: EnvironmentClusters, tolerance: float, weights: np.ndarray | None = None):
        self.clusters = clusters
        self.weights = weights
        self.tolerance = tolerance
        self.available = np.ones(len(clusters.present), dtype=bool)
        for mean in clusters.reference_means:
            self._remove_duplicates(mean)
        self.missing = ~clusters.covered
        self.gains = clusters.present @ self.missing.astype(np.int64)
        self.ever_covered = clusters.covered.copy()
        self.n_rounds = 1

    @property
    def n_covered(self) -> int:
        """Number of clusters that are covered at least once."""
        return int(self.ever_covered.sum())

    def take_best(self) -> tuple[int, int]:
        """Choose the candidate with the largest gain, and return its index and its gain."""
        if not self.gains[self.available].any():
            self.missing[:] = True
            self.gains = self.clusters.present.sum(axis=1)
            self.n_rounds += 1
        scores = self.gains if self.weights is None else self.gains * self.weights
        best = np.flatnonzero(self.available & (scores == scores[self.available].max()))
        index = int(best[np.argmin(self.clusters.n_atoms[best])])
        gain = int(self.gains[index])
        new = self.clusters.present[index] & self.missing
        self.missing &= ~new
        self.ever_covered |= new
        self.gains = self.gains - self.clusters.present[:, new].sum(axis=1)
        self.available[index] = False
        self._remove_duplicates(self.clusters.means[index])
        return index, gain

    def _remove_duplicates(self, mean: np.ndarray) -> None:
        self.available &= np.linalg.norm(self.clusters.means - mean, axis=1) > self.tolerance


VARIANT = EnvironmentSampler
