"""Settings that all selections have: the number of frames, the candidates and the frames to hold out."""

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
    """The pk, uuid or name of the campaign. If several campaigns have the name, the newest is used. The campaign must
    have finished when this campaign is submitted."""


class SelectionSettings(Settings):
    """The settings of a selection that are common to all samplers."""

    n_structures: int = Field(default=100, ge=1)
    """Number of frames to choose. If there are fewer distinct frames, all of them are chosen, with a warning."""
    coverage_target: CoverageTarget | None = None
    """Choose only as many structures as are needed to reach this target, at most ``n_structures``. The fractions of
    ``n_structures`` do not change."""
    test_fraction: float = Field(default=0.0, ge=0, lt=1)
    """Fraction of ``n_structures`` for testing. These frames are drawn at random from groups that are held out from the
    selection. A group contains all seeds that strain and rattle made from the same structure, and their frames."""
    held_out_kinds: tuple[str, ...] = ()
    """Kinds of seeds (the ``kind`` of their entries) that are not used for training. All frames for testing
    (``test_fraction``) are then drawn at random from these kinds."""
    valid_fraction: float = Field(default=0.0, ge=0, lt=1)
    """Fraction of ``n_structures`` for validation. Its frames are drawn like those for testing, from other groups."""
    max_force_eV_per_A: float | None = Field(default=None, gt=0)
    """Discard frames with a force above this limit, in eV/Å. By default there is no limit."""
    max_excess_energy_eV: float | None = Field(default=None, gt=0)
    """Discard frames whose energy exceeds the min energy of the same composition by more than this, in eV per atom. By
    default there is no limit."""
    crash_fraction: float = Field(default=0.1, ge=0, le=1)
    """Max fraction of ``n_structures`` for frames shortly before a crash, that is, within ``crash_window_fs`` before a
    run became unstable. If there are more such frames, the others are discarded at random. The unstable frames
    themselves are never candidates."""
    crash_window_fs: float = Field(default=100.0, ge=0)
    """Length of the time before a crash to which ``crash_fraction`` applies, in fs."""
    reference_dataset: InputFile | FromCampaign | None = None
    """A reference dataset to extend: a file in any format that ASE reads, such as ``old.db``, or the dataset of an
    earlier campaign, such as ``{campaign: 1234}``. Its structures are not chosen again, and samplers that maximise
    diversity treat them as already chosen."""

    @model_validator(mode='after')
    def _check_held_out_fractions(self) -> Self:
        if self.test_fraction + self.valid_fraction >= 1:
            raise fault(Code.OUT_OF_RANGE, 'the sum of test_fraction and valid_fraction must be below 1')
        if self.held_out_kinds and not self.test_fraction:
            raise fault(Code.VALUE_MISSING, 'held_out_kinds requires test_fraction, the fraction of frames to test on')
        return self
