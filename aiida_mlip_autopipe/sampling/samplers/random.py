"""Random selection, with which all other samplers should be compared."""

from __future__ import annotations

from typing import Literal

import numpy as np

from aiida_mlip_autopipe.sampling.base import Picks, Sampler, SamplerSettings
from aiida_mlip_autopipe.sampling.pool.frames import FramePool


class RandomSettings(SamplerSettings):
    """Frames drawn at random with equal probability."""

    kind: Literal['random'] = 'random'
    """Draws frames at random."""


class RandomSampler(Sampler):
    """Draw frames without replacement. A larger selection contains the smaller ones."""

    settings_class = RandomSettings

    def pick(self, pool: FramePool, n_structures: int, rng: np.random.Generator) -> Picks:
        """Choose the first frames of a random permutation of the candidates."""
        indices = rng.permutation(len(pool))[:n_structures]
        return Picks(indices, np.full(len(indices), np.nan))


VARIANT = RandomSampler
