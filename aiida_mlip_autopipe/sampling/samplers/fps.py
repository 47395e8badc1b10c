"""Farthest point sampling of frames, which maximises the diversity of the chosen structures."""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import Field

from aiida_mlip_autopipe.descriptors.describe import AnyDescriptor
from aiida_mlip_autopipe.descriptors.soap.settings import SoapSettings
from aiida_mlip_autopipe.sampling.base import Picks, Sampler, SamplerSettings
from aiida_mlip_autopipe.sampling.farthest_point import farthest_points
from aiida_mlip_autopipe.sampling.pool.describe import describe_pool
from aiida_mlip_autopipe.sampling.pool.frames import FramePool
from aiida_mlip_autopipe.structures.duplicates import DESCRIPTOR_TOLERANCE


class FpsSettings(SamplerSettings):
    """Farthest point sampling: each chosen frame is the one farthest from all frames chosen so far."""

    kind: Literal['fps'] = 'fps'
    """Repeatedly chooses the frame that is farthest from all chosen frames."""
    descriptor: AnyDescriptor = SoapSettings()
    """The descriptor for the distances."""
    coverage_radius: float | None = Field(default=None, gt=0)
    """Stop when all frames are within this distance of a chosen frame, even with fewer than ``n_structures`` frames."""
    duplicate_tolerance: float = Field(default=DESCRIPTOR_TOLERANCE, ge=0)
    """Maximum distance between the descriptors of duplicates. At most one of several duplicates is chosen. Descriptors
    have unit length. Rattling by 0.001 Å changes the descriptor of a cell with 4 to 64 atoms by 2e-4 to 2e-5."""


class FpsSampler(Sampler):
    """Choose the frame nearest to the mean, and then repeatedly the farthest frame. The choice is deterministic.

    The structures of a reference dataset count as chosen. The first frame is then the one farthest from them.
    """

    settings_class = FpsSettings
    settings: FpsSettings

    def pick(self, pool: FramePool, n_structures: int, rng: np.random.Generator) -> Picks:
        """Choose frames until there are enough, or until all frames are within the tolerance of a chosen frame."""
        settings = self.settings
        features = describe_pool(pool, settings.descriptor)
        indices, distances, nearest = farthest_points(
            features.candidates.points,
            n_structures,
            tolerance=max(settings.duplicate_tolerance, settings.coverage_radius or 0.0),
            already_chosen=features.chosen.points,
        )
        n_duplicates = int((nearest <= settings.duplicate_tolerance).sum()) - len(indices)
        report = {
            'descriptor': features.report,
            'n_duplicates_of_chosen': n_duplicates,
            'coverage_radius': float(nearest.max()),
        }
        covered = settings.coverage_radius is not None and float(nearest.max()) <= settings.coverage_radius
        return Picks(indices, distances, report, complete=covered)


VARIANT = FpsSampler
