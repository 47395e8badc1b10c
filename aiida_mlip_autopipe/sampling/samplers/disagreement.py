"""The frames about which a committee of two calculators disagrees most, and among them the widest variety."""

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

FIGURES = {'largest': LARGEST, 'mean': MEAN, 'relative': RELATIVE}


class DisagreementSettings(SamplerSettings):
    """Frames about which two calculators disagree; it needs ``exploration.committee``."""

    kind: Literal['disagreement'] = 'disagreement'
    """Takes the frames with the largest disagreement, and farthest points among them."""
    by: Literal['largest', 'mean', 'relative'] = 'largest'
    """Disagreement of a frame: the largest or the mean difference of the two forces on an atom, or that relative to the
    forces, which frames of small forces have in large measure."""
    pool_factor: float = Field(default=5.0, ge=1)
    """Farthest points are chosen among this times ``n_structures`` frames, those with the largest disagreement."""
    min_disagreement: float = Field(default=0.0, ge=0)
    """Frames below this are passed over, in eV/Å, or in parts of the force for ``relative``."""
    descriptor: AnyDescriptor = SoapSettings()
    """What distances are measured in."""
    duplicate_tolerance: float = Field(default=DESCRIPTOR_TOLERANCE, ge=0)
    """Frames whose descriptors are not farther apart than this are the same structure."""


class DisagreementSampler(Sampler):
    """Sort by disagreement, keep the first, and choose farthest points among these; no chance is involved."""

    settings_class = DisagreementSettings
    settings: DisagreementSettings

    def pick(self, pool: FramePool, n_structures: int, rng: np.random.Generator) -> Picks:
        """Choose among the frames that the committee has evaluated.

        Raises
        ------
        AutopipeError
            If there is none.
        """
        settings = self.settings
        values = pool.extra(FIGURES[settings.by])
        known = np.flatnonzero(np.isfinite(values))
        if not len(known):
            raise AutopipeError(
                Code.COMMITTEE_MISSING,
                f"the sampler 'disagreement' needs frames that a committee evaluated, but it evaluated none of the "
                f'{len(pool)} candidates; set exploration.committee, or use another sampler',
            )
        wide = known[values[known] >= settings.min_disagreement]
        ordered = wide[np.argsort(-values[wide], kind='stable')]
        kept = np.sort(ordered[: round(settings.pool_factor * n_structures)])
        report: dict[str, Any] = {
            'disagreement_by': settings.by,
            'n_without_disagreement': len(pool) - len(known),
            'n_disagreed_most': len(kept),
            'least_disagreement': float(values[kept].min()) if len(kept) else None,
        }
        is_short = len(kept) < n_structures
        if is_short:
            report['warnings'] = [
                f'{n_structures} structures were asked for, but of only {len(kept)} candidates the committee '
                f'has said that it disagrees by {settings.min_disagreement:g} or more'
            ]
        if not len(kept):
            return Picks(kept, np.empty(0), report, complete=True)
        farthest = FpsSettings(descriptor=settings.descriptor, duplicate_tolerance=settings.duplicate_tolerance)
        picks = FpsSampler(farthest).pick(pool.subset(kept), n_structures, rng)
        return Picks(kept[picks.indices], picks.distances, picks.report | report, complete=is_short)


VARIANT = DisagreementSampler
