"""The base class of samplers, which choose frames from a pool."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from aiida_mlip_autopipe.core.registry import Registry, variants_in
from aiida_mlip_autopipe.core.settings import Settings
from aiida_mlip_autopipe.sampling.pool.frames import FramePool

# Increase this if a change to this subpackage changes the chosen frames. Caching then ignores older results.
STAGE_VERSION = '14'


class SamplerSettings(Settings):
    """The settings of a sampler, without those that all selections have (`SelectionSettings`)."""

    kind: str
    """The name of the sampler."""


@dataclass(frozen=True, eq=False)
class Picks:
    """The frames that a sampler chose from a pool.

    Attributes
    ----------
    indices
        Indices in the pool, in the order in which the frames were chosen (k,).
    distances
        Distance of each frame to the nearest frame chosen before it (k,), in the units of the sampler's descriptor.
        NaN if the sampler does not use distances.
    gains
        The gain of each frame by the sampler's own measure (k,). None if this measure is the distance.
    report
        Further results for the user, as JSON.
    complete
        Whether the selection is complete even if it has fewer frames than requested, for example because the sampler
        has reached a coverage target.
    """

    indices: np.ndarray
    distances: np.ndarray
    report: dict[str, Any] = field(default_factory=dict)
    complete: bool = False
    gains: np.ndarray | None = None

    @property
    def added(self) -> np.ndarray:
        """The gain of each frame, or its distance if the sampler has no other measure (k,)."""
        return self.distances if self.gains is None else self.gains


class Sampler(ABC):
    """Base class of the samplers.

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
            At least one candidate, and the structures that already count as chosen. The order of the candidates does
            not depend on the order of the trajectories.
        n_structures
            Maximum number of frames to choose.
        rng
            The only source of random numbers.

        Returns
        -------
        Picks
            They have fewer frames than requested only if there are too few distinct candidates, or if ``complete`` is
            true.
        """


SAMPLERS: Registry[Sampler] = Registry(
    'aiida_mlip_autopipe.samplers', variants_in('aiida_mlip_autopipe.sampling.samplers')
)
