"""What a sampler is: it puts the best frames of a pool in an order."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from pydantic import Field

from aiida_mlip_autopipe.registry import Registry
from aiida_mlip_autopipe.sampling.frames import FramePool
from aiida_mlip_autopipe.settings import Settings

# Changes with the science of this room: results of another version are not taken from a cache.
STAGE_VERSION = '1'


class SamplerSettings(Settings):
    """What every sampler is told."""

    kind: str
    """Which sampler."""
    n_structures: int = Field(default=100, ge=1)
    """How many frames to choose. Where there are fewer distinct ones, all of them are taken and the report says so."""


@dataclass(frozen=True, eq=False)
class Picks:
    """What a sampler chose from a pool.

    Attributes
    ----------
    indices
        Positions in the pool in the order of choice (k,).
    distances
        Distance of each pick to those chosen before it (k,), in the unit of the sampler's descriptor; NaN where
        that has no meaning.
    report
        What else a person should know, JSON only.
    """

    indices: np.ndarray
    distances: np.ndarray
    report: dict[str, Any] = field(default_factory=dict)


class Sampler(ABC):
    """One way to choose frames.

    Parameters
    ----------
    settings
        An instance of the class's ``settings_class``.
    """

    settings_class: type[Settings]

    def __init__(self, settings: SamplerSettings):
        self.settings = settings

    @abstractmethod
    def pick(self, pool: FramePool, rng: np.random.Generator) -> Picks:
        """Choose at most ``settings.n_structures`` frames, none twice.

        Parameters
        ----------
        pool
            The candidates, at least one; their order does not depend on the order in which trajectories came.
        rng
            The only source of chance.

        Returns
        -------
        Picks
            Fewer than asked for only where there are not enough distinct candidates.
        """


SAMPLERS: Registry[Sampler] = Registry(
    'aiida_mlip_autopipe.samplers',
    {
        'random': 'aiida_mlip_autopipe.sampling.random_sampler:RandomSampler',
        'fps': 'aiida_mlip_autopipe.sampling.fps:FpsSampler',
    },
)
