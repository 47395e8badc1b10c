"""Labels from density functional theory with GPAW."""

from __future__ import annotations

from typing import ClassVar, Literal

from aiida_mlip_autopipe.calculators.kinds.gpaw import GPAWSettings
from aiida_mlip_autopipe.labelling.base import LabellingSettings, RunnerLabeller, Variation
from aiida_mlip_autopipe.labelling.label import EnergyKind


class GPAWLabelling(GPAWSettings, LabellingSettings):
    """Plane-wave density functional theory with GPAW, with the settings of its calculator."""

    kind: Literal['gpaw'] = 'gpaw'
    """GPAW."""
    # Only seeds need a cutoff.
    cutoff_A: ClassVar[float] = GPAWSettings.model_fields['cutoff_A'].default  # type: ignore[misc]


class GPAWLabeller(RunnerLabeller):
    """Labels many structures per job with GPAW."""

    settings_class = GPAWLabelling
    settings: GPAWLabelling
    variations: ClassVar[tuple[Variation, ...]] = ('mixing', 'k_points', 'magnetic_start')

    @property
    def energy(self) -> EnergyKind:
        """The energy of the labels: the free energy or its extrapolation to zero smearing width."""
        return self.settings.energy

    def calculator_settings(self) -> GPAWSettings:
        """Return the settings of GPAW."""
        names = GPAWSettings.model_fields.keys() & GPAWLabelling.model_fields.keys()
        return GPAWSettings.model_validate(self.settings.model_dump(include=set(names)))


VARIANT = GPAWLabeller
