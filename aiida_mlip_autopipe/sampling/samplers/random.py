"""Frames drawn by chance: what every other sampler has to beat."""

from __future__ import annotations

from typing import Literal

import numpy as np

from aiida_mlip_autopipe.sampling.base import Picks, Sampler, SamplerSettings
from aiida_mlip_autopipe.sampling.pool.frames import FramePool


class RandomSettings(SamplerSettings):
    """Frames drawn by chance, each as likely as any other."""

    kind: Literal['random'] = 'random'
    """Draws frames by chance."""


class RandomSampler(Sampler):
    """Draw without replacement; asking for more frames keeps those that fewer would have given."""

    settings_class = RandomSettings

    def pick(self, pool: FramePool, n_structures: int, rng: np.random.Generator) -> Picks:
        """Take the first of all candidates in a random order."""
        indices = rng.permutation(len(pool))[:n_structures]
        return Picks(indices, np.full(len(indices), np.nan))


VARIANT = RandomSampler
