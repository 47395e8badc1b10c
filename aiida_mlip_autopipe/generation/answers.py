"""Send queries to databases once, before anything runs, and store each answer as a structure file."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from aiida_mlip_autopipe.core.atomic_write import atomic_write
from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.generation.base import GeneratorSettings
from aiida_mlip_autopipe.generation.databases.query import MATERIALS_PROJECT, QuerySettings
from aiida_mlip_autopipe.generation.files.reading import DATABASE_ID
from aiida_mlip_autopipe.generation.kinds.structures import StructuresSettings


def answer_queries(entries: Sequence[GeneratorSettings]) -> tuple[GeneratorSettings, ...]:
    """Query the databases, and return the entries with the files of their answers.

    An entry that already has the files of an earlier answer is returned unchanged, and its query is not sent.

    Raises
    ------
    AutopipeError
        If a query fails or finds no usable structure.
    """
    return tuple(_answer_entry(entry) for entry in entries)


def _answer_entry(entry: GeneratorSettings) -> GeneratorSettings:
    if isinstance(entry, StructuresSettings) and entry.query and not entry.files:
        return entry.model_copy(update={'files': (_send(entry.query),)})
    inner = {name: value for name, value in entry if isinstance(value, GeneratorSettings)}
    return entry.model_copy(update={name: _answer_entry(value) for name, value in inner.items()}) if inner else entry


def _send(query: QuerySettings) -> Path:
    """Send a query, and return the path of the file with its answer."""
    if query.provider == MATERIALS_PROJECT:
        from aiida_mlip_autopipe.generation.databases.materials_project import find_structures
    else:
        from aiida_mlip_autopipe.generation.databases.optimade import find_structures
    found, n_unreadable = find_structures(query)
    ordered = {name: _to_atoms(found[name], name) for name in sorted(found) if _is_ordered(found[name])}
    if not ordered:
        n_discarded = n_unreadable + len(found)
        others = f' ({n_discarded} discarded: unreadable, or with partial or unknown occupancy)' if n_discarded else ''
        raise AutopipeError(
            Code.QUERY_EMPTY, f'the query to {query.provider} found no usable structure{others}; widen the query'
        )
    return _write_answer(list(ordered.values()))


def _is_ordered(structure: Any) -> bool:
    """Return whether each site of a pymatgen structure is fully occupied by one element."""
    from pymatgen.core import DummySpecies

    return structure.is_ordered and not any(isinstance(site.specie, DummySpecies) for site in structure)


def _to_atoms(structure: Any, database_id: str) -> Atoms:
    """Convert a pymatgen structure.

    Its id gets the prefix ``id``, because ASE reads an id that consists only of digits as a number.
    """
    return Atoms(
        numbers=[site.specie.Z for site in structure],
        positions=np.asarray(structure.cart_coords),
        cell=structure.lattice.matrix,
        pbc=True,
        info={DATABASE_ID: f'id {database_id}'},
    )


def _write_answer(structures: list[Atoms]) -> Path:
    """Write an answer to a file named after the hash of its content, so that equal answers share a file."""
    from ase.io.extxyz import write_xyz

    text = io.StringIO()
    write_xyz(text, structures)
    content = text.getvalue().encode()
    folder = Path(os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache') / 'aiida-mlip-autopipe'
    path = folder / f'{hashlib.sha256(content).hexdigest()[:16]}.extxyz'
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise AutopipeError(
            Code.FILE_UNWRITABLE, f'the answer to a query cannot be stored in {folder}: {error.strerror}'
        ) from error
    with atomic_write(path, overwrite=True) as unfinished:
        unfinished.write_bytes(content)
    return path
