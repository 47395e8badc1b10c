"""Farthest-point selection on averaged SOAP: the widest variety for a number of structures."""

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
    """Always the frame farthest from all chosen so far."""

    kind: Literal['fps'] = 'fps'
    """Farthest-point selection."""
    descriptor: AnyDescriptor = SoapSettings()
    """What distances are measured in."""
    coverage_radius: float | None = Field(default=None, gt=0)
    """Stop when every frame is within this distance of one chosen, also before there are ``n_structures``."""
    duplicate_tolerance: float = Field(default=DESCRIPTOR_TOLERANCE, ge=0)
    """Frames whose descriptors are not farther apart than this are the same structure, and one of them is chosen at
    most. Descriptors have length one; a rattle of 0.001 Å moves that of a cell of 4 to 64 atoms by 2e-4 to 2e-5."""


class FpsSampler(Sampler):
    """Start with the frame nearest to the mean, then take the farthest one again and again; no chance is involved.

    Where structures are given, they count as chosen and the first frame is the one farthest from them.
    """

    settings_class = FpsSettings
    settings: FpsSettings

    def pick(self, pool: FramePool, n_structures: int, rng: np.random.Generator) -> Picks:
        """Choose until there are enough, or until every frame is a duplicate of one chosen."""
        settings = self.settings
        features = describe_pool(pool, settings.descriptor)
        indices, distances, nearest = farthest_points(
            features.candidates.points,
            n_structures,
            tolerance=max(settings.duplicate_tolerance, settings.coverage_radius or 0.0),
            given=features.chosen.points,
        )
        n_alike = int((nearest <= settings.duplicate_tolerance).sum()) - len(indices)
        report = {
            'descriptor': features.report,
            'n_duplicates_of_chosen': n_alike,
            'coverage_radius': float(nearest.max()),
        }
        covered = settings.coverage_radius is not None and float(nearest.max()) <= settings.coverage_radius
        return Picks(indices, distances, report, complete=covered)


VARIANT = FpsSampler
