"""Frames at even intervals: what most people do by hand."""

from __future__ import annotations

from typing import Literal

import numpy as np

from aiida_mlip_autopipe.sampling.base import Picks, Sampler, SamplerSettings
from aiida_mlip_autopipe.sampling.pool.frames import FramePool


class StrideSettings(SamplerSettings):
    """Frames at even intervals of the explorations."""

    kind: Literal['stride'] = 'stride'
    """Takes every so-many-th frame."""


class StrideSampler(Sampler):
    """Lay all explorations end to end, cut them in equal spans and take the frame in the middle of each."""

    settings_class = StrideSettings

    def pick(self, pool: FramePool, n_structures: int, rng: np.random.Generator) -> Picks:
        """Take frames in the order of seeds and steps; no chance is involved."""
        n = min(n_structures, len(pool))
        indices = (2 * np.arange(n) + 1) * len(pool) // (2 * n)
        return Picks(indices, np.full(n, np.nan))


VARIANT = StrideSampler
