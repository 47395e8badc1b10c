"""Structures from files or from a database query."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np
from ase import Atoms
from pydantic import Field, PositiveInt, model_validator

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.core.fields import InputFile, fault
from aiida_mlip_autopipe.core.hashing import file_sha256
from aiida_mlip_autopipe.generation.base import Generator, GeneratorSettings, Parent, Requirements
from aiida_mlip_autopipe.generation.chemistry.elements import Element
from aiida_mlip_autopipe.generation.crystals.disorder import DisorderedCrystal
from aiida_mlip_autopipe.generation.crystals.partial_sites import OrderingSettings
from aiida_mlip_autopipe.generation.databases.query import QuerySettings
from aiida_mlip_autopipe.generation.files.reading import DATABASE_ID, OCCUPANCIES, describe_dropped, read_structures


class StructuresSettings(GeneratorSettings):
    """Structures from files or from a database."""

    kind: Literal['structures'] = 'structures'
    """Structures from files or from a database."""
    files: tuple[InputFile, ...] = ()
    """Files in any format that ASE reads. Structures need no cell."""
    query: QuerySettings | None = None
    """A database query, instead of files. If files are also set, they must be its result, and the query is not sent."""
    frames: str = Field(default=':', pattern=r'^(-?\d+|-?\d*:-?\d*(:-?\d*)?)$')
    """Structures to read from each file, as a Python index or slice."""

    lammps_types: tuple[Element, ...] = ()
    """Elements of the atom types 1, 2 … in LAMMPS files that have neither symbols nor masses of elements."""
    partial_occupancy: Literal['refuse', 'order'] = 'refuse'
    """What to do with CIF files whose sites are partially occupied or shared by several elements: `refuse` them, or
    make an ordered structure for each seed (`order`)."""
    ordering: OrderingSettings = OrderingSettings()
    """How partially occupied sites are filled."""
    supercell: tuple[PositiveInt, PositiveInt, PositiveInt] | None = None
    """Number of repeats along each vector of a cell with partial occupancies; by default the smallest cell up to
    `validation.max_atoms` that can realise all occupancies."""
    composition_tolerance: float = Field(default=0.02, gt=0, le=0.5)
    """Maximum deviation of a realised occupancy from that in the file."""

    # Small cells are not repeated: the structures are explored as they are.
    default_cell: ClassVar[str] = 'as_given'

    @model_validator(mode='after')
    def _check_source(self) -> Self:
        if not self.files and not self.query:
            raise fault(Code.VALUES_INCOMPLETE, 'set files or query')
        for name in ('ordering', 'supercell', 'composition_tolerance'):
            default = type(self).model_fields[name].get_default()
            if self.partial_occupancy == 'refuse' and getattr(self, name) != default:
                raise fault(Code.VALUES_INCOMPLETE, f'{name} needs partial_occupancy: order')
        return self

    def stream_content(self) -> dict[str, Any]:
        """Return the content from which the random streams are derived: that of the files, without paths and query."""
        content = {**super().stream_content(), 'files': [file_sha256(path) for path in self.files]}
        return {name: value for name, value in content.items() if name != 'query'}

    def elements(self) -> frozenset[str]:
        """Return the elements in the files, or those of the query before it is answered."""
        if self.query and not self.files:
            return frozenset(self.query.elements)
        structures = (atoms for path in self.files for atoms in self.read(path))
        return frozenset(
            str(symbol)
            for atoms in structures
            for symbols in (atoms.symbols, *atoms.info.get(OCCUPANCIES, ()))
            for symbol in symbols
        )

    def read(self, path: Path) -> list[Atoms]:
        """Return the structures that are read from one of the files."""
        return read_structures(path, self.frames, self.lammps_types, partial=self.partial_occupancy == 'order')


class StructuresGenerator(Generator):
    """Returns the structures of the files, in order."""

    settings_class = StructuresSettings
    settings: StructuresSettings

    @cached_property
    def _structures(self) -> list[tuple[Atoms, dict[str, Any]]]:
        found = []
        query = self.settings.query
        if not self.settings.files:
            raise AutopipeError(
                Code.QUERY_UNANSWERED,
                'the query of an entry has not been answered; call answer_queries first',
            )
        for path in self.settings.files:
            digest = file_sha256(path)
            for number, atoms in enumerate(self.settings.read(path)):
                record: dict[str, Any] = {'file_sha256': digest, 'frame': number}
                if query:
                    record |= {'query': query.as_record(), DATABASE_ID: _database_id(atoms, path)}
                found.append((atoms, record))
        return found

    @cached_property
    def _disordered(self) -> dict[int, DisorderedCrystal]:
        """The structures with partially occupied sites, by their index."""
        return {
            index: DisorderedCrystal(
                atoms, atoms.info[OCCUPANCIES], f'structure {record["frame"]} of {self._name(record)}'
            )
            for index, (atoms, record) in enumerate(self._structures)
            if OCCUPANCIES in atoms.info
        }

    def n_parents(self) -> int | None:
        """Return the number of structures in the files, or None if orderings of some of them are drawn at random."""
        return None if self._disordered else len(self._structures)

    def period(self) -> int:
        """Return the number of structures in the files."""
        return len(self._structures)

    def default_n_seeds(self) -> int:
        """Return the number of seeds: all variants of each structure."""
        return len(self._structures) * self.settings.perturb.variants

    def _name(self, record: dict[str, Any]) -> str:
        return {file_sha256(path): path.name for path in self.settings.files}[record['file_sha256']]

    def notes(self) -> list[str]:
        """Return one sentence for each file whose structures have properties that a seed cannot keep."""
        notes = describe_dropped((self._name(record), atoms) for atoms, record in self._structures)
        if self.settings.partial_occupancy == 'order' and not self._disordered:
            notes.append('partial_occupancy: order has no effect: no structure has partially occupied sites')
        return notes

    def draw_parent(self, index: int, rng: np.random.Generator, requirements: Requirements) -> Parent:
        """Return one structure from the files."""
        index %= len(self._structures)
        atoms, record = self._structures[index]
        if index in self._disordered:
            return self._draw_ordering(index, rng, requirements)
        kept = atoms.copy()
        kept.info.clear()
        return Parent(kept, dict(record))

    def _draw_ordering(self, index: int, rng: np.random.Generator, requirements: Requirements) -> Parent:
        """Return an ordered realisation of a structure with partially occupied sites."""
        settings = self.settings
        atoms, ordering = self._disordered[index].draw(
            rng, requirements, ordering=settings.ordering, supercell=settings.supercell,
            tolerance=settings.composition_tolerance,
        )  # fmt: skip
        return Parent(atoms, {**self._structures[index][1], **ordering}, repeatable=(False, False, False))


def _database_id(atoms: Atoms, path: Path) -> str:
    """Return the database id of a structure from the file with the answer."""
    try:
        return str(atoms.info[DATABASE_ID]).removeprefix('id ')
    except KeyError:
        raise AutopipeError(
            Code.VALUES_EXCLUDE,
            f'the structure file {path} is not the answer to a query: a structure has no {DATABASE_ID}; '
            'use separate entries for files and query',
        ) from None


VARIANT = StructuresGenerator
