"""Code for the samplers that run other samplers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from aiida_mlip_autopipe.sampling.base import SAMPLERS, Picks, SamplerSettings
from aiida_mlip_autopipe.sampling.pool.frames import FramePool

if TYPE_CHECKING:
    # The members of the union are known only at run time, from the registry.
    InnerSampler = SamplerSettings
else:
    InnerSampler = SAMPLERS.settings_union(without=('mix', 'stratified'))


class Rounds:
    """A selection by several samplers in turn. Frames chosen by one sampler count as chosen for the next ones.

    Parameters
    ----------
    pool
        All candidates.
    rng
        The random number generator for all samplers.
    """

    def __init__(self, pool: FramePool, rng: np.random.Generator):
        self.pool = pool
        self.rng = rng
        self.indices = np.empty(0, dtype=np.int64)
        self.distances = np.empty(0)
        self.gains = np.empty(0)

    def pick(self, settings: SamplerSettings, n_structures: int, candidates: np.ndarray) -> int:
        """Run a sampler on those candidates that are not yet chosen.

        Parameters
        ----------
        settings
            The settings of the sampler.
        n_structures
            The maximum number of frames to choose.
        candidates
            Indices in the pool.

        Returns
        -------
        int
            The number of frames that the sampler chose.
        """
        remaining = np.setdiff1d(candidates, self.indices)
        if not len(remaining) or n_structures < 1:
            return 0
        pool = self.pool.subset(remaining, counted=self.indices)
        picks = SAMPLERS.make(settings).pick(pool, n_structures, self.rng)
        self.indices = np.concatenate([self.indices, remaining[picks.indices]])
        self.distances = np.concatenate([self.distances, picks.distances])
        self.gains = np.concatenate([self.gains, picks.added])
        return len(picks.indices)

    def finish(self, report: dict[str, object]) -> Picks:
        """Return all chosen frames, in the order in which they were chosen."""
        return Picks(self.indices, self.distances, report, gains=self.gains)
