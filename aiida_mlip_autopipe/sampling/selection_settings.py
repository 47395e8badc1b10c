"""Settings that all selections have: the number of frames, limits for candidates, and which frames are held out."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.fields import ReferenceDataset, fault
from aiida_mlip_autopipe.core.settings import Settings
from aiida_mlip_autopipe.sampling.coverage.score import CoverageTarget
from aiida_mlip_autopipe.structures.rows.splits import TRAINING_KINDS


class SelectionSettings(Settings):
    """The settings of a selection, which all samplers have in common."""

    n_structures: int = Field(default=100, ge=1)
    """Number of frames to choose. If there are fewer distinct frames, all of them are chosen, with a warning."""
    coverage_target: CoverageTarget | None = None
    """Choose only as many structures as are needed to reach this target, at most ``n_structures``. The numbers of test
    and validation structures remain fractions of ``n_structures``."""
    test_fraction: float = Field(default=0.0, ge=0, lt=1)
    """Fraction of ``n_structures`` for testing. Test frames are drawn at random from held-out groups, from which the
    sampler does not choose. A group contains all seeds of the same parent, and their frames."""
    held_out_kinds: tuple[str, ...] = ()
    """Kinds of seeds (the ``kind`` of their entries) that are not used for training. All frames for testing
    (``test_fraction``) are then drawn at random from these kinds and from ``held_out_labels``."""
    held_out_labels: tuple[str, ...] = ()
    """Labels of entries in ``generation`` whose seeds are not used for training, like ``held_out_kinds``."""
    always_selected_kinds: tuple[str, ...] = TRAINING_KINDS
    """Kinds of seeds whose frames are all selected for training, in addition to ``n_structures``. The sampler does not
    choose from them, and limits on forces and energies do not apply to them."""
    valid_fraction: float = Field(default=0.0, ge=0, lt=1)
    """Fraction of ``n_structures`` for validation. Validation frames are drawn like test frames, from other groups."""
    max_force_eV_per_A: float | None = Field(default=None, gt=0)
    """Discard frames with a force above this limit, in eV/Å. By default, no limit is set."""
    max_excess_energy_eV: float | None = Field(default=None, gt=0)
    """Discard frames whose energy exceeds the lowest energy of the same composition by more than this, in eV per atom.
    By default, no limit is set."""
    crash_fraction: float = Field(default=0.1, ge=0, le=1)
    """Maximum number of frames shortly before a crash, as a fraction of ``n_structures``. These are the frames within
    ``crash_window_fs`` before a run became unstable. If there are more of these frames, the excess is discarded at
    random. The unstable frames themselves are never candidates."""
    crash_window_fs: float = Field(default=100.0, ge=0)
    """Length of the time window before a crash for ``crash_fraction``, in fs."""
    reference_dataset: ReferenceDataset | None = None
    """A reference dataset to extend: a file in any format that ASE reads, such as ``old.db``, or the dataset of an
    earlier campaign, such as ``{campaign: 1234}``. Its structures are not chosen again, and samplers that maximise
    diversity treat them as already chosen. Seeds whose parent also occurs in this dataset stay in the set (``split``)
    of that parent: if it is the test set, they are not used for training; if the parent has no set, they are used for
    training."""

    @model_validator(mode='after')
    def _check_held_out_fractions(self) -> Self:
        if self.test_fraction + self.valid_fraction >= 1:
            raise fault(Code.OUT_OF_RANGE, 'the sum of test_fraction and valid_fraction must be less than 1')
        for name in ('held_out_kinds', 'held_out_labels'):
            if getattr(self, name) and not self.test_fraction:
                raise fault(Code.VALUE_MISSING, f'{name} requires test_fraction, the fraction of frames to test on')
        if both := sorted(set(self.held_out_kinds) & set(self.always_selected_kinds)):
            raise fault(
                Code.VALUES_EXCLUDE,
                f'held_out_kinds and always_selected_kinds both contain {", ".join(both)}; keep each in one list only',
            )
        return self

    @property
    def holds_out_entries(self) -> bool:
        """Whether the test set is drawn from entries that are held out."""
        return bool(self.held_out_kinds or self.held_out_labels)
