"""The base classes of labellers, which compute reference energies, forces and stresses."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Literal

from pydantic import Field

from aiida_mlip_autopipe.calculators import CALCULATORS, CalculatorSettings
from aiida_mlip_autopipe.calculators.levels import level_of_calculator
from aiida_mlip_autopipe.core.fields import OneLine
from aiida_mlip_autopipe.core.registry import Registry, variants_in
from aiida_mlip_autopipe.core.settings import Settings
from aiida_mlip_autopipe.jobs.environment import Environment
from aiida_mlip_autopipe.jobs.resources import JobResources
from aiida_mlip_autopipe.labelling.label import EnergyKind
from aiida_mlip_autopipe.structures.rows.level import LevelOfTheory

Variation = Literal['', 'mixing', 'k_points', 'magnetic_start']
"""What a repeated calculation of a suspicious label changes; empty for the first calculation."""


class LabellingSettings(Settings):
    """The fields of all ``labelling`` sections."""

    kind: str
    """The labeller."""
    code: OneLine | None = None
    """AiiDA code, written as ``label@computer``. The kinds ``espresso`` and ``ase`` require it; for all others, the
    default is the code that ``mlip-autopipe setup`` created for the calculator."""
    resources: JobResources | None = None
    """Resources of the jobs; by default, those of ``execution``."""
    structures_per_job: int = Field(default=20, ge=1)
    """Maximum number of structures per job."""
    time_limit_s: float | None = Field(default=None, gt=0)
    """Time limit for each structure in seconds; by default, only the wall time of the job limits it."""
    max_atoms: int | None = Field(default=None, ge=1)
    """Maximum number of atoms per structure; larger structures are not labelled. By default, there is no limit."""
    budget_core_hours: float | None = Field(default=None, gt=0)
    """Maximum cost of all labels in core hours, as predicted. By default, there is no limit."""
    max_force_eV_A: float | None = Field(default=50.0, gt=0)
    """Structures in which the calculator of the exploration finds a larger force, in eV/Å, are not labelled."""
    max_force_dimers_eV_A: float | None = Field(default=None, gt=0)
    """The same limit for dimers and trimers, from which a model learns short-range repulsion; by default, there is
    none."""
    min_distance: float = Field(default=0.5, ge=0, lt=2)
    """Minimum distance between two atoms of a structure that is labelled, as a fraction of the sum of their covalent
    radii."""
    isolated_atoms: bool = True
    """Whether the isolated atoms of all elements are computed too, as reference energies."""
    repeat: bool = True
    """Whether a suspicious label is computed again."""
    retry_failed: bool = False
    """Whether to recompute structures that an earlier run could not label at this level of theory, because the
    calculation did not converge or raised an error. Those that ran out of time or memory are always computed again."""


class Labeller(ABC):
    """Base class of labellers.

    Parameters
    ----------
    settings
        An instance of the class's ``settings_class``.
    """

    settings_class: ClassVar[type[LabellingSettings]]
    variations: ClassVar[tuple[Variation, ...]] = ()
    """What this labeller can change when it computes a label again; empty if a repetition gives the same result."""

    def __init__(self, settings: Any):
        self.settings = settings


class RunnerLabeller(Labeller):
    """A labeller whose jobs run this program's runner, with many structures per job."""

    @property
    def energy(self) -> EnergyKind:
        """The energy of the labels."""
        return 'total'

    @abstractmethod
    def calculator_settings(self) -> CalculatorSettings:
        """Return the settings of the calculator that computes the labels."""

    def level(self, environment: Environment, model_sha256: str | None = None) -> LevelOfTheory:
        """Return the level of theory of the labels.

        Parameters
        ----------
        environment
            The environment record of the calculator, with the versions of its packages.
        model_sha256
            sha256 of the model file; for a committee, that of its first member; None without a model file.
        """
        settings = self.calculator_settings()
        loader = CALCULATORS.make(settings)
        content = settings.model_dump(mode='json')
        member = (content.get('members') or [content])[0]
        return level_of_calculator(
            content,
            settings.kind,
            loader.labelling.model_name(),
            model_sha256=model_sha256,
            precision=member.get('dtype', 'float64'),
            version=environment.calculator,
            sources=environment.sources,
        )


class ProcessLabeller(Labeller):
    """A labeller that runs a process of another AiiDA plugin for each structure."""

    @abstractmethod
    def level(self, versions: dict[str, str]) -> LevelOfTheory:
        """Return the level of theory of the labels.

        Parameters
        ----------
        versions
            Versions of the code and hashes of its pseudopotentials, by name.
        """


LABELLERS: Registry[Labeller] = Registry(
    'aiida_mlip_autopipe.labellers', variants_in('aiida_mlip_autopipe.labelling.labellers')
)
