"""Base classes for the kinds of system: the settings, and the generator that draws parent structures from them."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from ase import Atoms
from pydantic import Field, TypeAdapter

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.core.fields import REPLACE_FILE
from aiida_mlip_autopipe.core.randomness import make_rng
from aiida_mlip_autopipe.core.registry import Registry, variants_in
from aiida_mlip_autopipe.core.settings import Settings
from aiida_mlip_autopipe.generation.chemistry.elements import Element
from aiida_mlip_autopipe.generation.perturb import PerturbSettings
from aiida_mlip_autopipe.generation.validation import ValidationSettings

MAX_SEEDS = 100_000
"""Maximum number of seeds of an entry."""


class GeneratorSettings(Settings):
    """One entry of the config's `generation` list; each kind adds its own fields."""

    kind: str
    """The kind of system."""
    label: str | None = None
    """Name of the seeds of this entry in the dataset."""
    n_seeds: int | None = Field(default=None, ge=1, le=MAX_SEEDS)
    """Number of seeds. By default, kinds with a fixed list of parent structures make all variants of each parent."""
    exploration: dict[str, Any] = Field(default_factory=dict)
    """Settings of the exploration that differ for the seeds of this entry, such as ``{temperature_K: 600}`` or
    ``{kind: single_point}``. With a different ``kind``, the settings of the campaign's exploration do not
    apply."""
    magnetic_moments: dict[Element, float] = Field(default_factory=dict)
    """Initial magnetic moment in µB per atom, by element."""
    perturb: PerturbSettings = PerturbSettings()
    """Repetition, strain and rattling of the parent structures."""
    validation: ValidationSettings = ValidationSettings()
    """Rules that every seed must satisfy."""

    default_cell: ClassVar[str] = 'wide_enough'
    default_on_failure: ClassVar[str] = 'fail'
    # Whether only identical structures are duplicates, instead of those that are the same up to symmetry.
    only_identical: ClassVar[bool] = False

    @property
    def rules(self) -> ValidationSettings:
        """The validation rules, with the defaults of this kind."""
        given = self.validation
        # A minimum width repeats the cells of any kind.
        cell = given.cell or ('wide_enough' if given.min_width_factor else self.default_cell)
        on_failure = given.on_failure or self.default_on_failure
        return given.model_copy(update={'cell': cell, 'on_failure': on_failure})

    def stream_content(self) -> dict[str, Any]:
        """Return the content from which the random streams of this entry are derived, as JSON types.

        The number of seeds, the label, the validation and the exploration are excluded, so changing them does not
        change a seed.
        Default values are excluded too, so a new field in a later version does not change a stream.
        """
        content = self.model_dump(
            mode='json', exclude_defaults=True, exclude={'n_seeds', 'label', 'validation', 'exploration'}
        )
        return {**content, 'kind': self.kind}

    def elements(self) -> frozenset[str]:
        """Return the elements of the seeds, as far as they are known before any seed is made.

        Raises
        ------
        AutopipeError
            If a structure file or a molecule file of the entry cannot be read.
        """
        return frozenset()


@dataclass(frozen=True)
class Requirements:
    """What a campaign requires of a parent structure.

    Attributes
    ----------
    min_width_A
        Minimum perpendicular width of the cell along its periodic directions.
    max_atoms
        Maximum number of atoms in a cell that a generator enlarges to reach this width.
    cutoff_A
        Cutoff of the calculator in Å.
    """

    min_width_A: float = 0.0
    max_atoms: int = 500
    cutoff_A: float = 0.0


Form = Literal['slab', 'wire', 'cluster', 'molecule']
"""The shape of a structure that a kind makes with vacuum around it."""


@dataclass(frozen=True)
class Parent:
    """A structure before perturbation.

    Attributes
    ----------
    atoms
        The structure. If the formal charges are known, they are its initial charges.
    record
        The parameters of this structure, as JSON types.
    deformable
        Which cell vectors may be strained; by default, the periodic ones.
    repeatable
        Which cell vectors may be repeated to reach the minimum perpendicular width; by default, the periodic ones.
    charge_allowed
        Whether the settings allow formal charges that do not sum to zero.
    charge_remedies
        What to change if the formal charges do not sum to zero, as text for the error.
    form
        Shape of the structure if it has vacuum around it; None if it is a bulk structure, or if the shape is unknown.
    molecular
        Whether it consists of molecules that keep their shape. The tags of the atoms number the molecules, from 1, and
        no cell boundary divides a molecule.
    """

    atoms: Atoms
    record: dict[str, Any] = field(default_factory=dict)
    deformable: tuple[bool, bool, bool] | None = None
    repeatable: tuple[bool, bool, bool] | None = None
    charge_allowed: bool = False
    charge_remedies: str = ''
    form: Form | None = None
    molecular: bool = False


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
    def is_parallel(self) -> bool:
        """Whether a single draw already uses several processes, so that seeds must be made one after another."""
        return False

    def n_parents(self) -> int | None:
        """Return the number of parent structures, or None if each one is drawn at random."""
        return None

    def period(self) -> int:
        """Return the number of parents after which the sequence repeats, such as the number of points of a grid."""
        return self.n_parents() or 1

    def n_parents_to_check(self) -> int:
        """Return how many of the first parents must be drawn to find out whether the settings are possible."""
        return self.period()

    def default_n_seeds(self) -> int:
        """Return the number of seeds of an entry that does not set `n_seeds`."""
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
            Index of the parent, below `n_parents` unless that is None.
        rng
            Source of all random numbers for this parent. A redraw uses its next numbers.
        requirements
            Requirements on the cell. The pipeline may repeat the cell of a parent that does not meet them.

        Raises
        ------
        PhysicsViolationError
            If this draw gives no valid structure. Another draw may succeed.
        AutopipeError
            If the settings are impossible.
        """

    def check(self, requirements: Requirements) -> None:  # noqa: B027 (for most kinds the first parent shows every error)
        """Before anything runs, refuse impossible settings that the first parent does not reveal.

        Raises
        ------
        AutopipeError
            If the settings are impossible.
        """

    def notes(self) -> list[str]:
        """Return sentences for the report about structures and properties that the entry leaves out."""
        return []

    @property
    def charge_allowed(self) -> bool:
        """Whether the settings allow `fill` to make charged structures."""
        return False

    def n_units(self) -> int | None:
        """Return the number of crystals from which surfaces are cut, or None if elements are arranged at random."""
        return self.n_parents()

    def draw_unit(self, index: int) -> Atoms:
        """Return the unit cell of a parent, without randomness. Surfaces and grain boundaries are cut from it."""
        return self.draw_parent(index, make_rng(0, 'unit'), Requirements()).atoms

    def fill(self, atoms: Atoms, rng: np.random.Generator) -> dict[str, Any]:
        """Arrange the elements on the sites of a structure cut from `draw_unit`, in place, and return the record.

        If several elements share a type of site, `draw_unit` puts a placeholder on these sites. Its initial charge is
        the mean charge of the ions on them. The ions that replace it have their own charges.
        """
        return {}


def round_floats(value: Any) -> Any:
    """Convert a value of a record to JSON types. Floats are rounded to 10 decimals, which all formats preserve."""
    if isinstance(value, dict):
        return {str(key): round_floats(item) for key, item in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [round_floats(item) for item in value]
    if isinstance(value, float | np.floating):
        return round(float(value), 10)
    return int(value) if isinstance(value, np.integer) else value


def content_label(settings: GeneratorSettings) -> str:
    """Return the part of a random stream's label that identifies the entry."""
    return json.dumps(settings.stream_content(), sort_keys=True)


GENERATORS: Registry[Generator] = Registry(
    'aiida_mlip_autopipe.generators', variants_in('aiida_mlip_autopipe.generation.kinds')
)


def dump_entries(entries: Sequence[GeneratorSettings], key_of: Callable[[Path], str]) -> list[dict[str, Any]]:
    """Return entries as JSON types, without their explorations and with a key instead of the path of each file.

    Parameters
    ----------
    entries
        The config's ``generation`` list.
    key_of
        Returns the key of a file. It is called for each `InputFile`, at any depth.
    """
    context = {REPLACE_FILE: key_of}
    return [entry.model_dump(mode='json', exclude={'exploration'}, context=context) for entry in entries]


def read_entries(dumped: Sequence[Any], path_of: Callable[[str], Path]) -> tuple[GeneratorSettings, ...]:
    """Return entries from the result of `dump_entries`.

    Parameters
    ----------
    dumped
        The dumped entries.
    path_of
        Returns the path of a file from its key.

    Raises
    ------
    pydantic.ValidationError
        If an entry is invalid.
    """
    adapter: TypeAdapter[Any] = TypeAdapter(tuple[GENERATORS.settings_union(), ...])  # type: ignore[misc,arg-type]
    context = {REPLACE_FILE: lambda key: path_of(str(key))}
    entries: tuple[GeneratorSettings, ...] = adapter.validate_python(dumped, context=context)
    return entries
