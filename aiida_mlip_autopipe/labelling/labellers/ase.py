"""Labels from an ASE calculator, through the plugin aiida-ase."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.fields import fault
from aiida_mlip_autopipe.core.settings import Settings
from aiida_mlip_autopipe.labelling.base import LabellingSettings, ProcessLabeller
from aiida_mlip_autopipe.labelling.label import EnergyKind
from aiida_mlip_autopipe.structures.rows.level import LevelOfTheory


class AseSettings(Settings):
    """An ASE calculator, and which of its energies the labels contain."""

    calculator: str = Field(pattern=r'^(gpaw|[a-z]\w*\.[A-Za-z]\w*)$')
    """The module and the class in ``ase.calculators``, such as ``emt.EMT`` or ``abinit.Abinit``; or ``gpaw``."""
    parameters: dict[str, Any] = Field(default_factory=dict)
    """Keyword arguments of the class; by default, none."""
    kspacing_per_A: float | None = Field(default=None, gt=0)
    """Maximum k-point spacing in 1/Å, including the factor 2π, from which the argument ``kpts`` is computed for
    each structure. The mesh has one k-point along non-periodic directions and across a vacuum."""
    level_name: str = Field(pattern=r'^(dft|mlip):\S+$')
    """Name of the level of theory, such as ``dft:abinit:pbe``. It begins with the method, ``dft`` or ``mlip``."""
    energy: EnergyKind = 'free_energy'
    """The energy of the labels: ``free_energy``, which the calculator must provide and whose derivatives are the
    forces; ``extrapolated``, the energy that ASE's calculators of DFT codes extrapolate to zero smearing width; or
    ``total`` for a calculator that has only one."""
    stress: bool = True
    """Whether the stress of periodic structures is computed. Some calculators do not provide it."""

    @model_validator(mode='after')
    def _refuse_two_meshes(self) -> Self:
        if self.kspacing_per_A is not None and 'kpts' in self.parameters:
            raise fault(Code.VALUES_EXCLUDE, 'kspacing_per_A and parameters.kpts cannot be combined')
        return self


class AseLabelling(AseSettings, LabellingSettings):
    """An ASE calculator, with one process for each structure.

    ``AseCalculation`` of aiida-ase runs it. It does not pass initial magnetic moments and charges to the calculator, so
    structures that have them are refused.
    """

    kind: Literal['ase'] = 'ase'
    """Any calculator that aiida-ase supports."""
    structures_per_job: Literal[1] = 1
    """Each job labels one structure."""
    isolated_atoms: Literal[False] = False
    """Isolated atoms are not computed, since aiida-ase cannot give an atom its magnetic moment."""

    def ase_settings(self) -> AseSettings:
        """Return the settings without those of all labellers."""
        return AseSettings(**self.model_dump(include=set(AseSettings.model_fields)))


class AseLabeller(ProcessLabeller):
    """Labels structures with an ASE calculator, one in each process."""

    settings_class = AseLabelling
    settings: AseLabelling

    def level(self, versions: dict[str, str]) -> LevelOfTheory:
        """Return the level of theory of the labels.

        Parameters
        ----------
        versions
            The versions of ASE and of the calculator's packages, by name.
        """
        return ase_level(self.settings.ase_settings(), versions)


def ase_level(settings: AseSettings, versions: Mapping[str, str]) -> LevelOfTheory:
    """Return the level of theory of an ASE calculator; see `AseLabeller.level`."""
    method: Literal['dft', 'mlip'] = 'dft' if settings.level_name.startswith('dft:') else 'mlip'
    content = settings.model_dump(mode='json', exclude={'level_name', 'stress'})
    parameters = content | {'versions': dict(sorted(versions.items()))}
    return LevelOfTheory(method=method, code=settings.calculator, name=settings.level_name, parameters=parameters)


VARIANT = AseLabeller
