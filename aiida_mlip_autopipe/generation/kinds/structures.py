"""Structures from files or from a database query."""

from __future__ import annotations

import warnings
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np
from ase import Atoms
from pydantic import Field, model_validator

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.core.fields import InputFile, fault
from aiida_mlip_autopipe.core.hashing import file_sha256
from aiida_mlip_autopipe.generation.base import Generator, GeneratorSettings, Parent, Requirements
from aiida_mlip_autopipe.generation.databases.query import QuerySettings
from aiida_mlip_autopipe.structures.cells import complete_cell
from aiida_mlip_autopipe.structures.seed import fixed_mask

# Key of a structure's database id in the file with the answer to a query.
DATABASE_ID = 'database_id'


class StructuresSettings(GeneratorSettings):
    """Structures from files or from a database."""

    kind: Literal['structures'] = 'structures'
    """Structures from files or from a database."""
    files: tuple[InputFile, ...] = ()
    """Files in any format that ASE reads. Structures need no cell."""
    query: QuerySettings | None = None
    """A database query, instead of files. If files are also set, they must be its answer, and the query is not sent."""
    frames: str = Field(default=':', pattern=r'^(-?\d+|-?\d*:-?\d*(:-?\d*)?)$')
    """Structures to read from each file, as a Python index or slice."""

    # Small cells are not repeated: the structures are explored as they are.
    default_width_factor: ClassVar[float] = 0.0

    @model_validator(mode='after')
    def _check_source(self) -> Self:
        if not self.files and not self.query:
            raise fault(Code.VALUES_INCOMPLETE, 'set files or query')
        return self

    def stream_content(self) -> dict[str, Any]:
        """Return the content from which the random streams are derived: that of the files, without paths and query."""
        content = {**super().stream_content(), 'files': [file_sha256(path) for path in self.files]}
        return {name: value for name, value in content.items() if name != 'query'}

    def elements(self) -> frozenset[str]:
        """Return the elements in the files, or those of the query before it is answered."""
        if self.query and not self.files:
            return frozenset(self.query.elements)
        structures = (atoms for path in self.files for atoms in read_structures(path, self.frames))
        return frozenset(str(symbol) for atoms in structures for symbol in atoms.symbols)


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
                'the query of an entry has no answer; call answer_queries first',
            )
        for path in self.settings.files:
            digest = file_sha256(path)
            for number, atoms in enumerate(read_structures(path, self.settings.frames)):
                record: dict[str, Any] = {'file_sha256': digest, 'frame': number}
                if query:
                    record |= {'query': query.as_record(), DATABASE_ID: _database_id(atoms, path)}
                found.append((atoms, record))
        return found

    def n_parents(self) -> int:
        """Return the number of structures in the files."""
        return len(self._structures)

    def draw_parent(self, index: int, rng: np.random.Generator, requirements: Requirements) -> Parent:
        """Return one structure from the files."""
        atoms, record = self._structures[index]
        kept = atoms.copy()
        kept.info.clear()
        return Parent(kept, dict(record))


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


def read_structures(path: Path, frames: str = ':') -> list[Atoms]:
    """Read structures from a file: elements, positions, cell, tags, magnetic moments, charges and FixAtoms constraints.

    Raises
    ------
    AutopipeError
        If the file cannot be read, or has a structure that cannot be explored.
    """
    from ase.io import read
    from ase.io.formats import UnknownFileTypeError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')  # readers warn about guesses; the structure is checked below
            found = read(path, index=frames)
    except UnknownFileTypeError as error:
        raise AutopipeError(
            Code.FILE_UNREADABLE, f'the structure file {path} cannot be read: ASE does not support its format'
        ) from error
    except Exception as error:  # readers raise various errors for invalid files
        reason = ' '.join(str(error).split()) or type(error).__name__
        code = Code.FILE_MISSING if isinstance(error, FileNotFoundError) else Code.FILE_UNREADABLE
        raise AutopipeError(code, f'the structure file {path} cannot be read: {reason}') from error
    structures = [found] if isinstance(found, Atoms) else list(found)
    if not structures:
        raise AutopipeError(Code.OUT_OF_RANGE, f'the structure file {path} has no structure at {frames!r}')
    return [_clean(atoms, f'structure {number} of {path}') for number, atoms in enumerate(structures)]


def _clean(atoms: Atoms, name: str) -> Atoms:
    if not len(atoms):
        raise AutopipeError(Code.STRUCTURE_UNUSABLE, f'{name} has no atoms')
    if not atoms.numbers.all():
        raise AutopipeError(Code.STRUCTURE_UNUSABLE, f'{name} has a site without an element (X)')
    if not (np.isfinite(atoms.positions).all() and np.isfinite(atoms.cell.array).all()):
        raise AutopipeError(Code.STRUCTURE_UNUSABLE, f'{name} has positions or cell vectors that are not finite')
    try:
        fixed_mask(atoms)
    except ValueError as error:
        raise AutopipeError(Code.STRUCTURE_UNUSABLE, f'{name} cannot be used: {error}') from None
    # A direction without a cell vector is not periodic, even if the file says so.
    pbc = atoms.pbc & atoms.cell.array.any(axis=1)
    if pbc.all() and abs(atoms.cell.volume) < 1e-6:
        raise AutopipeError(Code.STRUCTURE_UNUSABLE, f'{name} has a cell of zero volume')
    kept = Atoms(numbers=atoms.numbers, positions=_move_from_far_faces(atoms, pbc), cell=atoms.cell, pbc=pbc)
    kept.set_constraint(atoms.constraints)
    kept.info = {DATABASE_ID: atoms.info[DATABASE_ID]} if DATABASE_ID in atoms.info else {}
    if atoms.get_tags().any():
        kept.set_tags(atoms.get_tags())
    if atoms.has('initial_magmoms'):
        kept.set_initial_magnetic_moments(atoms.get_initial_magnetic_moments())
    if atoms.has('initial_charges'):
        kept.set_initial_charges(atoms.get_initial_charges())
    return kept


def _move_from_far_faces(atoms: Atoms, pbc: np.ndarray) -> np.ndarray:
    """Return the positions. Atoms that rounding in a reader has put on a far face of the cell are on the near face."""
    if not pbc.any():
        return np.asarray(atoms.positions)
    fractions = atoms.positions @ np.linalg.inv(complete_cell(atoms))
    far = (np.abs(fractions - 1) < 1e-9) & pbc
    return np.asarray(atoms.positions - far.astype(float) @ atoms.cell.array)


VARIANT = StructuresGenerator
