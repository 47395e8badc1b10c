"""Several samplers, each with its share of the dataset."""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import Field

from aiida_mlip_autopipe.core.settings import Settings
from aiida_mlip_autopipe.sampling.base import Picks, Sampler, SamplerSettings
from aiida_mlip_autopipe.sampling.nested import InnerSampler, Rounds
from aiida_mlip_autopipe.sampling.pool.frames import FramePool


class Part(Settings):
    """One sampler of a mix."""

    share: float = Field(gt=0)
    """How much of the dataset it chooses; shares are relative to their sum."""
    sampler: InnerSampler
    """The sampler, with its own settings only: those of the selection belong to the mix."""


class MixSettings(SamplerSettings):
    """Several samplers, each with its share."""

    kind: Literal['mix'] = 'mix'
    """Lets several samplers choose in turn."""
    parts: tuple[Part, ...] = Field(min_length=1)
    """The samplers in the order in which they choose."""


class MixSampler(Sampler):
    """Let each sampler choose its share; what it chose counts as chosen for those after it."""

    settings_class = MixSettings
    settings: MixSettings

    def pick(self, pool: FramePool, n_structures: int, rng: np.random.Generator) -> Picks:
        """Choose part by part; what a part cannot fill goes to those after it, and at last to the first again."""
        settings = self.settings
        rounds = Rounds(pool, rng)
        everything = np.arange(len(pool))
        chosen = []
        for place, part in enumerate(settings.parts):
            left = n_structures - len(rounds.indices)
            rest = sum(other.share for other in settings.parts[place:])
            chosen.append(rounds.pick(part.sampler, round(left * part.share / rest), everything))
        for place, part in enumerate(settings.parts):
            chosen[place] += rounds.pick(part.sampler, n_structures - len(rounds.indices), everything)
        return rounds.finish(
            {
                'parts': [
                    {'sampler': part.sampler.kind, 'n_selected': n}
                    for part, n in zip(settings.parts, chosen, strict=True)
                ]
            }
        )


VARIANT = MixSampler
