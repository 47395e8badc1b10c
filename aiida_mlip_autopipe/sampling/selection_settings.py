"""Settings of a selection as a whole: the number of frames, the candidates, and the frames to hold out."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.fields import InputFile, fault
from aiida_mlip_autopipe.core.settings import Settings
from aiida_mlip_autopipe.sampling.coverage.score import CoverageTarget


class FromCampaign(Settings):
    """The dataset of an earlier campaign."""

    campaign: str = Field(coerce_numbers_to_str=True, min_length=1)
    """The campaign's pk, uuid or name; the newest, if several have that name. It must have finished when this one is
    submitted."""


class SelectionSettings(Settings):
    """The settings of a selection that all samplers share."""

    n_structures: int = Field(default=100, ge=1)
    """How many frames to choose. Where there are fewer distinct ones, all of them are taken and the report says so."""
    coverage_target: CoverageTarget | None = None
    """A target for the selection: as few structures as reach it are chosen, ``n_structures`` at most. Shares of
    ``n_structures`` stay what they are."""
    test_share: float = Field(default=0.0, ge=0, lt=1)
    """Share of ``n_structures`` for testing: drawn at random, before the selection, from lineages that are kept out of
    it. A lineage is all that comes from one structure before strain and rattle."""
    held_out_kinds: tuple[str, ...] = ()
    """Kinds of seed, by the ``kind`` of their entries, that are never trained on: ``test_share`` is then drawn at
    random from frames of these kinds only."""
    valid_share: float = Field(default=0.0, ge=0, lt=1)
    """Share of ``n_structures`` for validation, drawn like that for testing."""
    max_force_eV_A: float | None = Field(default=None, gt=0)
    """Frames with a force above this, in eV/Å, are discarded; none are by default."""
    max_excess_energy_eV: float | None = Field(default=None, gt=0)
    """Frames with more energy than this above the lowest of the same composition, in eV per atom, are discarded;
    none are by default."""
    crash_share: float = Field(default=0.1, ge=0, le=1)
    """Share of ``n_structures`` that may be frames on the way to a crash: those of the last ``crash_window_fs`` before
    a run became unstable. If there are more, that many stay candidates, drawn at random. Failing frames never do."""
    crash_window_fs: float = Field(default=100.0, ge=0)
    """How long before the crash a frame is on the way to it, in fs."""
    given: InputFile | FromCampaign | None = None
    """Structures that the dataset shall extend: a file in any format that ASE reads, as ``old.db``, or the dataset of
    an earlier campaign, as ``{campaign: 1234}``. None of them is chosen again, and samplers that look for variety
    count them as chosen."""

    @model_validator(mode='after')
    def _leave_some_to_train_on(self) -> Self:
        if self.test_share + self.valid_share >= 1:
            raise fault(Code.OUT_OF_RANGE, 'the sum of test_share and valid_share must be below 1')
        if self.held_out_kinds and not self.test_share:
            raise fault(Code.VALUE_MISSING, 'held_out_kinds requires test_share, the fraction of frames to test on')
        return self
