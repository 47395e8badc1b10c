"""Labels from any ASE calculator, such as those of VASP, CP2K or ORCA on the user's cluster."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from aiida_mlip_autopipe.calculators.kinds.custom import CustomSettings
from aiida_mlip_autopipe.jobs.environment import Environment
from aiida_mlip_autopipe.labelling.base import LabellingSettings, RunnerLabeller
from aiida_mlip_autopipe.labelling.label import EnergyKind
from aiida_mlip_autopipe.structures.rows.level import LevelOfTheory


class CustomLabelling(CustomSettings, LabellingSettings):
    """An ASE calculator labels the structures."""

    kind: Literal['custom'] = 'custom'
    """Any ASE calculator class."""
    # Only seeds need a cutoff.
    cutoff_A: ClassVar[float] = 5.0  # type: ignore[misc]
    level_name: str = Field(pattern=r'^(dft|mlip):\S+$')
    """Name of the level of theory, such as ``dft:vasp:pbe``. It begins with the method, ``dft`` or ``mlip``."""
    energy: EnergyKind = 'free_energy'
    """The energy of the labels: ``free_energy``, which the calculator must provide and whose derivatives are the
    forces; ``extrapolated``, the energy that ASE's calculators of DFT codes extrapolate to zero smearing width; or
    ``total`` for a calculator that has only one."""


class CustomLabeller(RunnerLabeller):
    """Labels many structures per job with a class that the user names."""

    settings_class = CustomLabelling
    settings: CustomLabelling

    @property
    def energy(self) -> EnergyKind:
        """The energy of the labels."""
        return self.settings.energy

    def calculator_settings(self) -> CustomSettings:
        """Return the settings of the calculator."""
        names = CustomSettings.model_fields.keys() & CustomLabelling.model_fields.keys()
        return CustomSettings.model_validate(
            self.settings.model_dump(include=set(names)) | {'cutoff_A': CustomLabelling.cutoff_A}
        )

    def level(self, environment: Environment, model_sha256: str | None = None) -> LevelOfTheory:
        """Return the level of theory, with the method and the name that the user gives."""
        level = super().level(environment, model_sha256)
        method: Literal['dft', 'mlip'] = 'dft' if self.settings.level_name.startswith('dft:') else 'mlip'
        return level.model_copy(
            update={
                'method': method,
                'name': self.settings.level_name,
                'parameters': level.parameters | {'energy': self.settings.energy},
            }
        )


VARIANT = CustomLabeller
