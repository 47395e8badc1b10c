"""A combination of several samplers, each of which chooses a fraction of the dataset."""

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

    fraction: float = Field(gt=0)
    """Fraction of the dataset that this sampler chooses. The fractions are divided by their sum."""
    sampler: InnerSampler
    """The settings of the sampler. The settings of the selection belong to the mix."""


class MixSettings(SamplerSettings):
    """A combination of several samplers, each of which chooses a fraction of the dataset."""

    kind: Literal['mix'] = 'mix'
    """Runs several samplers in turn."""
    parts: tuple[Part, ...] = Field(min_length=1)
    """The samplers in the order in which they choose."""


class MixSampler(Sampler):
    """Run each sampler for its fraction. The frames that it chooses count as chosen for the next samplers."""

    settings_class = MixSettings
    settings: MixSettings

    def pick(self, pool: FramePool, n_structures: int, rng: np.random.Generator) -> Picks:
        """Run each part. If a part finds too few frames, the next parts, and then the first ones, choose more."""
        settings = self.settings
        rounds = Rounds(pool, rng)
        everything = np.arange(len(pool))
        chosen = []
        for number, part in enumerate(settings.parts):
            n_remaining = n_structures - len(rounds.indices)
            total = sum(other.fraction for other in settings.parts[number:])
            chosen.append(rounds.pick(part.sampler, round(n_remaining * part.fraction / total), everything))
        for number, part in enumerate(settings.parts):
            chosen[number] += rounds.pick(part.sampler, n_structures - len(rounds.indices), everything)
        return rounds.finish(
            {
                'parts': [
                    {'sampler': part.sampler.kind, 'n_selected': n}
                    for part, n in zip(settings.parts, chosen, strict=True)
                ]
            }
        )


VARIANT = MixSampler
