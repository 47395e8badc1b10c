"""Frames at regular intervals, as they are often chosen by hand."""

from __future__ import annotations

from typing import Literal

import numpy as np

from aiida_mlip_autopipe.sampling.base import Picks, Sampler, SamplerSettings
from aiida_mlip_autopipe.sampling.pool.frames import FramePool


class StrideSettings(SamplerSettings):
    """Frames at regular intervals in the explorations."""

    kind: Literal['stride'] = 'stride'
    """Chooses every n-th frame."""


class StrideSampler(Sampler):
    """Concatenate all explorations, divide them into equal intervals and choose the middle frame of each."""

    settings_class = StrideSettings

    def pick(self, pool: FramePool, n_structures: int, rng: np.random.Generator) -> Picks:
        """Choose frames in the order of seeds and steps. The choice is deterministic."""
        n = min(n_structures, len(pool))
        indices = (2 * np.arange(n) + 1) * len(pool) // (2 * n)
        return Picks(indices, np.full(n, np.nan))


VARIANT = StrideSampler
