"""What a kind of system is: its settings and the generator that draws parent structures from them."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from ase import Atoms
from pydantic import Field, PositiveInt

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.core.randomness import make_rng
from aiida_mlip_autopipe.core.registry import Registry, variants_in
from aiida_mlip_autopipe.core.settings import Settings
from aiida_mlip_autopipe.generation.chemistry.elements import Element
from aiida_mlip_autopipe.generation.perturb import PerturbSettings
from aiida_mlip_autopipe.generation.validation import DEFAULT_HEIGHT_FACTOR, ValidationSettings


class GeneratorSettings(Settings):
    """One entry of the config's `generation` list; each kind adds its own fields."""

    kind: str
    """Which kind of system."""
    label: str | None = None
    """A name for the entry's seeds in the dataset."""
    n_seeds: PositiveInt | None = None
    """How many seeds to make; by default the variants of all parent structures that the kind lists."""
    magnetic_moments: dict[Element, float] = Field(default_factory=dict)
    """Initial magnetic moment in µB of each atom of an element."""
    perturb: PerturbSettings = PerturbSettings()
    """How parent structures are deformed and rattled."""
    validation: ValidationSettings = ValidationSettings()
    """What every seed must keep."""

    default_height_factor: ClassVar[float] = DEFAULT_HEIGHT_FACTOR
    default_on_failure: ClassVar[str] = 'fail'

    @property
    def rules(self) -> ValidationSettings:
        """The validation with the kind's own defaults."""
        defaults = {'min_height_factor': self.default_height_factor, 'on_failure': self.default_on_failure}
        missing = {name: value for name, value in defaults.items() if getattr(self.validation, name) is None}
        return self.validation.model_copy(update=missing)

    def stream_content(self) -> dict[str, Any]:
        """Return what this entry's random streams are derived from, JSON only.

        How many seeds there are, the label and the validation are left out: changing them changes no seed that stays.
        So are defaults, so that a new field in a later version changes no stream.
        """
        content = self.model_dump(mode='json', exclude_defaults=True, exclude={'n_seeds', 'label', 'validation'})
        return {**content, 'kind': self.kind}

    def elements(self) -> frozenset[str]:
        """Return the symbols of the elements that the seeds have, as far as they are known before any is made.

        Raises
        ------
        AutopipeError
            If a file that would tell them cannot be read.
        """
        return frozenset()


@dataclass(frozen=True)
class Requirements:
    """What a campaign asks of a parent structure.

    Attributes
    ----------
    min_height_A
        Smallest height of the cell along its periodic directions.
    max_atoms
        Number of atoms up to which a generator may choose a larger cell to get there.
    """

    min_height_A: float = 0.0
    max_atoms: int = 500


@dataclass(frozen=True)
class Parent:
    """A structure before perturbation.

    Attributes
    ----------
    atoms
        The structure; formal charges, where known, are its initial charges.
    record
        The realised parameters, JSON only.
    deformable
        Which cell vectors strain may change; by default the periodic ones.
    repeatable
        Which cell vectors may be repeated to reach the smallest height; by default the periodic ones.
    charge_allowed
        Whether formal charges need not sum to zero, because the settings ask for it.
    """

    atoms: Atoms
    record: dict[str, Any] = field(default_factory=dict)
    deformable: tuple[bool, bool, bool] | None = None
    repeatable: tuple[bool, bool, bool] | None = None
    charge_allowed: bool = False


class Generator(ABC):
    """Draws the parent structures of one entry.

    Parameters
    ----------
    settings
        The entry, of the class `settings_class`.
    """

    settings_class: type[GeneratorSettings]

    def __init__(self, settings: GeneratorSettings):
        self.settings = settings

    @property
    def spreads_itself(self) -> bool:
        """Whether drawing one parent is itself spread over processes, so that seeds are made one after the other."""
        return False

    def n_parents(self) -> int | None:
        """Return how many parent structures there are, or None where every one is drawn anew."""
        return None

    def period(self) -> int:
        """Return after how many parents the kind is back where it began, as at the first composition of a grid."""
        return self.n_parents() or 1

    def n_samples(self) -> int:
        """Return how many of the first parents show whether the settings ask for what does not exist."""
        return self.period()

    def default_n_seeds(self) -> int:
        """Return how many seeds are made if the entry does not say."""
        n_parents = self.n_parents()
        if n_parents is None:
            raise AutopipeError(Code.VALUE_MISSING, f'an entry of kind {self.settings.kind!r} needs n_seeds')
        return n_parents * self.settings.perturb.variants

    @abstractmethod
    def draw_parent(self, index: int, rng: np.random.Generator, requirements: Requirements) -> Parent:
        """Return a parent structure.

        Parameters
        ----------
        index
            Which one, below `n_parents` where that is a number.
        rng
            Source of all random numbers, that of this parent alone; a redraw goes on with it.
        requirements
            What the cell should keep. A parent that does not is repeated by the pipeline, if it may be.

        Raises
        ------
        PhysicsViolationError
            If no valid structure came of these random numbers; another draw may succeed.
        AutopipeError
            If the settings ask for what does not exist.
        """

    def check(self, requirements: Requirements) -> None:  # noqa: B027 (for most kinds the first parent shows all)
        """Refuse what the first parent does not show to be impossible, before anything runs.

        Raises
        ------
        AutopipeError
            If the settings ask for what does not exist.
        """

    @property
    def charge_allowed(self) -> bool:
        """Whether what `fill` makes need not be neutral, because the settings ask for it."""
        return False

    def n_units(self) -> int | None:
        """Return how many crystals there are to cut surfaces from, or None where `fill` arranges them at random."""
        return self.n_parents()

    def draw_unit(self, index: int) -> Atoms:
        """Return the smallest crystal of a parent, without randomness, to cut surfaces and boundaries from."""
        return self.draw_parent(index, make_rng(0, 'unit'), Requirements()).atoms

    def fill(self, atoms: Atoms, rng: np.random.Generator) -> dict[str, Any]:
        """Arrange the elements on the sites of a structure cut from `draw_unit`, in place, and return the record of it.

        A unit whose sites are shared has a placeholder for each kind of site, with the mean charge of its ions as
        initial charge; the ions that are put there bring their own.
        """
        return {}


def round_floats(value: Any) -> Any:
    """Return a record's value as JSON types with floats of 10 decimals, which every store keeps unchanged."""
    if isinstance(value, dict):
        return {str(key): round_floats(item) for key, item in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [round_floats(item) for item in value]
    if isinstance(value, float | np.floating):
        return round(float(value), 10)
    return int(value) if isinstance(value, np.integer) else value


def content_label(settings: GeneratorSettings) -> str:
    """Return the part of a random stream's label that stands for the entry."""
    return json.dumps(settings.stream_content(), sort_keys=True)


GENERATORS: Registry[Generator] = Registry(
    'aiida_mlip_autopipe.generators', variants_in('aiida_mlip_autopipe.generation.kinds')
)
