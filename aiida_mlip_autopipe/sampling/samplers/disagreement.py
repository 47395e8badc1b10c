"""Farthest point sampling among the frames on which two calculators disagree most."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from pydantic import Field

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.descriptors.describe import AnyDescriptor
from aiida_mlip_autopipe.descriptors.soap.settings import SoapSettings
from aiida_mlip_autopipe.sampling.base import Picks, Sampler, SamplerSettings
from aiida_mlip_autopipe.sampling.pool.frames import FramePool
from aiida_mlip_autopipe.sampling.samplers.fps import FpsSampler, FpsSettings
from aiida_mlip_autopipe.structures.disagreement import LARGEST, MEAN, RELATIVE
from aiida_mlip_autopipe.structures.duplicates import DESCRIPTOR_TOLERANCE

MEASURES = {'largest': LARGEST, 'mean': MEAN, 'relative': RELATIVE}


class DisagreementSettings(SamplerSettings):
    """Frames on which two calculators disagree. This sampler requires ``exploration.committee``."""

    kind: Literal['disagreement'] = 'disagreement'
    """Chooses by farthest point sampling among the frames with the largest disagreement."""
    by: Literal['largest', 'mean', 'relative'] = 'largest'
    """Measure of the disagreement for a frame: the ``largest`` or ``mean`` difference between the two forces on an
    atom, or the difference ``relative`` to the forces. ``relative`` is large for frames with small forces."""
    pool_factor: float = Field(default=5.0, ge=1)
    """Number of frames among which farthest point sampling chooses, as a multiple of ``n_structures``. These are the
    frames with the largest disagreement."""
    min_disagreement: float = Field(default=0.0, ge=0)
    """Frames with less disagreement than this are not chosen. The unit is eV/Å; for ``relative``, a fraction of the
    forces."""
    descriptor: AnyDescriptor = SoapSettings()
    """The descriptor for the distances."""
    duplicate_tolerance: float = Field(default=DESCRIPTOR_TOLERANCE, ge=0)
    """Maximum distance between the descriptors of duplicates. At most one of several duplicates is chosen."""


class DisagreementSampler(Sampler):
    """Farthest point sampling among the frames with the largest disagreement. The choice is deterministic."""

    settings_class = DisagreementSettings
    settings: DisagreementSettings

    def pick(self, pool: FramePool, n_structures: int, rng: np.random.Generator) -> Picks:
        """Choose from the frames that the committee evaluated.

        Raises
        ------
        AutopipeError
            If the committee has evaluated none of the candidates.
        """
        settings = self.settings
        values = pool.extra(MEASURES[settings.by])
        known = np.flatnonzero(np.isfinite(values))
        if not len(known):
            raise AutopipeError(
                Code.COMMITTEE_MISSING,
                f"the sampler 'disagreement' needs frames that a committee has evaluated, but it has evaluated "
                f'none of the candidates (number of candidates: {len(pool)}); set exploration.committee, '
                'or use another sampler',
            )
        large = known[values[known] >= settings.min_disagreement]
        ordered = large[np.argsort(-values[large], kind='stable')]
        kept = np.sort(ordered[: round(settings.pool_factor * n_structures)])
        report: dict[str, Any] = {
            'disagreement_by': settings.by,
            'n_without_disagreement': len(pool) - len(known),
            'n_disagreed_most': len(kept),
            'min_disagreement_found': float(values[kept].min()) if len(kept) else None,
        }
        is_short = len(kept) < n_structures
        if is_short:
            report['warnings'] = [
                f'number of structures requested: {n_structures}; number of candidates on which the committee '
                f'disagrees by {settings.min_disagreement:g} or more: {len(kept)}'
            ]
        if not len(kept):
            return Picks(kept, np.empty(0), report, complete=True)
        farthest = FpsSettings(descriptor=settings.descriptor, duplicate_tolerance=settings.duplicate_tolerance)
        picks = FpsSampler(farthest).pick(pool.subset(kept), n_structures, rng)
        return Picks(kept[picks.indices], picks.distances, picks.report | report, complete=is_short)


VARIANT = DisagreementSampler
