"""Settings of novelty, which stores only new frames and ends or cools a run, and of a bias towards disagreement."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.fields import FromCampaign, ReferenceDataset, fault
from aiida_mlip_autopipe.core.settings import Settings
from aiida_mlip_autopipe.descriptors.soap.settings import SoapSettings
from aiida_mlip_autopipe.exploration.unused import refuse_without_effect


class _Novelty(Settings):
    on_limit: Literal['stop', 'cool'] = 'stop'
    """What happens if the novelty exceeds the limit. With ``stop``, the run ends. With ``cool``, it continues at a
    lower temperature until the novelty is below the limit. Frames above the limit are not stored."""
    cooling_factor: float = Field(default=0.5, gt=0, lt=1)
    """The temperature is multiplied by this factor while a run is cooled."""
    always_every: int | None = Field(default=None, ge=1)
    """Every n-th frame is stored even if it is not new. By default, only new frames are stored."""

    def _check_limit(self, names: tuple[str, str]) -> None:
        threshold, limit = (getattr(self, name) for name in names)
        if limit is None:
            refuse_without_effect(self, ('on_limit', 'cooling_factor'), f'{names[1]} is not set')
        elif threshold is not None and limit <= threshold:
            raise fault(Code.OUT_OF_RANGE, f'{names[1]}, {limit:g}, must exceed {names[0]}, {threshold:g}')
        elif self.on_limit == 'stop':
            refuse_without_effect(self, ('cooling_factor',), 'on_limit is stop')


class DisagreementSettings(_Novelty):
    """Frames are new if the forces of the members of a committee disagree."""

    kind: Literal['disagreement'] = 'disagreement'
    """The maximum deviation of the forces, which needs a calculator of the kind ``committee``."""
    threshold_eV_per_A: float = Field(gt=0)
    """A frame is stored if the maximum deviation of the forces exceeds this value, in eV/Å."""
    limit_eV_per_A: float | None = Field(default=None, gt=0)
    """The trusted region ends at this deviation, in eV/Å. By default, no limit is set."""

    @property
    def limits(self) -> tuple[float, float | None]:
        """The threshold, and the limit of the trusted region."""
        return self.threshold_eV_per_A, self.limit_eV_per_A

    @model_validator(mode='after')
    def _check(self) -> DisagreementSettings:
        self._check_limit(('threshold_eV_per_A', 'limit_eV_per_A'))
        return self


class DistanceSettings(_Novelty):
    """Frames are new if an environment is far from the known ones.

    The known environments are those of the seed or of a reference dataset, and those of the frames stored so far.
    """

    kind: Literal['distance'] = 'distance'
    """The maximum distance of an environment from the nearest known environment of the same element."""
    threshold: float | None = Field(default=None, gt=0, lt=2**0.5)
    """A frame is stored if the distance of one of its environments from the nearest known one exceeds this value. The
    descriptors are normalised, so distances are between 0 and √2."""
    threshold_quantile: float | None = Field(default=None, gt=0, lt=1)
    """With a reference dataset, the threshold can be this quantile of the distances within the dataset, such as 0.99.
    A distance is that between an environment and the nearest one of the same element in another structure."""
    reference_dataset: ReferenceDataset | None = None
    """A reference dataset, whose environments replace those of the seed as the known ones: a file in any format that
    ASE reads, such as ``old.db``, or the dataset of an earlier campaign, such as ``{campaign: 1234}``."""
    limit: float | None = Field(default=None, gt=0, lt=2**0.5)
    """The trusted region ends at this distance. By default, no limit is set."""
    descriptor: SoapSettings = SoapSettings()
    """The descriptor of the environments."""

    @property
    def limits(self) -> tuple[float, float | None]:
        """The threshold, and the limit of the trusted region. In a job, a quantile is replaced by its value."""
        assert self.threshold is not None
        return self.threshold, self.limit

    @model_validator(mode='after')
    def _check(self) -> DistanceSettings:
        if (self.threshold is None) == (self.threshold_quantile is None):
            code = Code.VALUE_MISSING if self.threshold is None else Code.VALUES_EXCLUDE
            raise fault(code, 'set exactly one of threshold and threshold_quantile')
        if self.threshold_quantile is not None and self.reference_dataset is None:
            raise fault(Code.VALUES_INCOMPLETE, 'threshold_quantile requires a reference_dataset')
        self._check_limit(('threshold', 'limit'))
        return self


def reference_of(novelty: DisagreementSettings | DistanceSettings | None) -> Path | FromCampaign | None:
    """Return the reference dataset of a measure of novelty; None without one."""
    return novelty.reference_dataset if isinstance(novelty, DistanceSettings) else None


NoveltySettings = Annotated[DisagreementSettings | DistanceSettings, Field(discriminator='kind')]
"""The settings of a measure of novelty."""


class BiasSettings(Settings):
    """The dynamics is biased towards structures on which the members of a committee disagree."""

    strength: float = Field(gt=0)
    """The potential energy is reduced by this number of standard deviations of the energies of the members. If it is
    too large, the run is unstable."""
