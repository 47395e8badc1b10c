"""What a sampler is: it puts the best frames of a pool in an order."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
from pydantic import Field, ValidationInfo, model_validator

from aiida_mlip_autopipe.fields import InputFile
from aiida_mlip_autopipe.registry import Registry
from aiida_mlip_autopipe.sampling.coverage_score import CoverageTarget
from aiida_mlip_autopipe.sampling.frames import FramePool
from aiida_mlip_autopipe.sampling.given import file_sha256
from aiida_mlip_autopipe.settings import Settings

# Changes with the science of this room: results of another version are not taken from a cache.
STAGE_VERSION = '6'


class SamplerSettings(Settings):
    """What every sampler is told."""

    kind: str
    """Which sampler."""
    n_structures: int = Field(default=100, ge=1)
    """How many frames to choose. Where there are fewer distinct ones, all of them are taken and the report says so."""
    coverage_target: CoverageTarget | None = None
    """A target for the selection: as few structures as reach it are chosen, ``n_structures`` at most. Shares of
    ``n_structures`` stay what they are."""
    test_share: float = Field(default=0.0, ge=0, lt=1)
    """Share of ``n_structures`` for testing: drawn by chance, before the selection, from lineages that are kept out of
    it. A lineage is all that comes from one structure before strain and rattle."""
    held_out_kinds: tuple[str, ...] = ()
    """Kinds of seed, by the ``kind`` of their entries, that are never trained on: ``test_share`` is then drawn by
    chance from frames of these kinds, and from no others."""
    valid_share: float = Field(default=0.0, ge=0, lt=1)
    """Share of ``n_structures`` for validation, drawn like that for testing."""
    max_force_eV_A: float | None = Field(default=None, gt=0)
    """Frames with a force above this, in eV/Å, are passed over; none are by default."""
    max_excess_energy_eV: float | None = Field(default=None, gt=0)
    """Frames with more energy than this above the lowest of the same composition, in eV per atom, are passed over;
    none are by default."""
    crash_share: float = Field(default=0.1, ge=0, le=1)
    """Share of ``n_structures`` that may be frames on the way to a crash: those of the last ``crash_window_fs`` before
    a run became unstable. Of more of them as many stay candidates, drawn by chance. Failing frames never are."""
    crash_window_fs: float = Field(default=100.0, ge=0)
    """How long before the crash a frame is on the way to it, in fs."""
    given: InputFile | None = None
    """Structures that the dataset shall extend, in any format that ASE reads, as ``old.db``: none of them is chosen
    again, and samplers that look for variety count them as chosen."""
    given_sha256: str | None = Field(default=None, pattern='^[0-9a-f]{64}$')
    """Hash of the file ``given``; found when the config file is read. Another content is then refused."""

    @model_validator(mode='after')
    def _leave_some_to_train_on(self) -> Self:
        if self.test_share + self.valid_share >= 1:
            raise ValueError('test_share and valid_share must leave something to train on: their sum is below 1')
        if self.held_out_kinds and not self.test_share:
            raise ValueError('held_out_kinds need a test_share, which says how many frames of them are drawn')
        return self

    @model_validator(mode='before')
    @classmethod
    def _hash_given(cls, fields: Any, info: ValidationInfo) -> Any:
        if info.context and isinstance(fields, dict) and fields.get('given') and not fields.get('given_sha256'):
            path = Path(info.context['folder'], Path(fields['given']).expanduser())
            if path.is_file():
                return fields | {'given_sha256': file_sha256(path)}
        return fields


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
            The candidates, at least one, and the structures that count as chosen already; their order does not
            depend on the order in which trajectories came.
        rng
            The only source of chance.

        Returns
        -------
        Picks
            Fewer than asked for only where there are not enough distinct candidates, or where they are complete.
        """


SAMPLERS: Registry[Sampler] = Registry(
    'aiida_mlip_autopipe.samplers',
    {
        'random': 'aiida_mlip_autopipe.sampling.random_sampler:RandomSampler',
        'stride': 'aiida_mlip_autopipe.sampling.stride:StrideSampler',
        'fps': 'aiida_mlip_autopipe.sampling.fps:FpsSampler',
        'direct': 'aiida_mlip_autopipe.sampling.direct:DirectSampler',
        'environment': 'aiida_mlip_autopipe.sampling.environment:EnvironmentSampler',
        'disagreement': 'aiida_mlip_autopipe.sampling.disagreement:DisagreementSampler',
        'stratified': 'aiida_mlip_autopipe.sampling.stratified:StratifiedSampler',
        'mix': 'aiida_mlip_autopipe.sampling.mix:MixSampler',
    },
)
