"""What a sampler is: it puts the best frames of a pool in an order."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from aiida_mlip_autopipe.core.registry import Registry, variants_in
from aiida_mlip_autopipe.core.settings import Settings
from aiida_mlip_autopipe.sampling.pool.frames import FramePool

# Changes with the science of this subpackage: results of another version are not taken from a cache.
STAGE_VERSION = '6'


class SamplerSettings(Settings):
    """The settings of a sampler only; `SelectionSettings` are those of the whole selection."""

    kind: str
    """Which sampler."""


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
    gains
        What each pick added, in the sampler's own measure (k,); None where that is its distance.
    report
        What else a person should know, JSON only.
    complete
        Whether fewer frames than asked for are enough, because a target of coverage was reached.
    """

    indices: np.ndarray
    distances: np.ndarray
    report: dict[str, Any] = field(default_factory=dict)
    complete: bool = False
    gains: np.ndarray | None = None

    @property
    def added(self) -> np.ndarray:
        """Gain of each pick, or its distance if the sampler has no other measure (k,)."""
        return self.distances if self.gains is None else self.gains


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
    def pick(self, pool: FramePool, n_structures: int, rng: np.random.Generator) -> Picks:
        """Choose up to ``n_structures`` different frames of a pool.

        Parameters
        ----------
        pool
            The candidates, at least one, and the structures that count as chosen already; their order does not
            depend on the order in which trajectories came.
        n_structures
            Maximum number of frames to choose.
        rng
            The only source of chance.

        Returns
        -------
        Picks
            Fewer than asked for only where there are not enough distinct candidates, or where they are complete.
        """


SAMPLERS: Registry[Sampler] = Registry(
    'aiida_mlip_autopipe.samplers', variants_in('aiida_mlip_autopipe.sampling.samplers')
)
