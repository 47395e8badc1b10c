"""Read extended XYZ files, ASE databases and ASE trajectories."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from io import StringIO
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.storage.imports.frames import Candidate
from aiida_mlip_autopipe.storage.imports.text import open_text

# ASE requires nine numbers for these keys. Other programs write six.
_MATRICES = re.compile(r'(?<!\S)(stress|virial)(?=\s*=)')
_RENAMED = 'renamed_'
# An entry whose end is clear without ASE's parser: a value in quotation marks, or without any delimiters.
_ENTRY = r'[^\s="\'{}\[\]\\]+=(?:"[^"\\]+"|[^\s="\'{}\[\]\\]+)'
_PLAIN_ENTRY = re.compile(_ENTRY)
_PLAIN_LINE = re.compile(rf'\s*{_ENTRY}(?:\s+{_ENTRY})*\s*')


def read_extxyz(path: Path) -> Iterator[Candidate | AutopipeError]:
    """Yield the frames of an extended XYZ file, or the error of a frame that cannot be read.

    ASE's reader gets one frame at a time, so a malformed frame does not end the file.
    """
    from ase.io.extxyz import read_xyz

    with open_text(path) as file:
        index = 0
        while header := file.readline():
            if not header.strip():
                continue
            where = f'{path}, frame {index}'
            try:
                n_atoms = int(header)
                if not 0 <= n_atoms < sys.maxsize:
                    raise ValueError
            except ValueError:
                yield AutopipeError(
                    Code.FILE_UNREADABLE,
                    f'{where}: the number of atoms is {header.strip()[:40]!r}; the rest of the file was not read',
                )
                return
            lines = list(islice(file, n_atoms + 1))
            try:
                if len(lines) != n_atoms + 1:
                    raise ValueError(f'it has {max(len(lines) - 1, 0)} of {n_atoms} atoms')
                (atoms,) = read_xyz(StringIO(header + ''.join(lines)), index=0, properties_parser=parse_comment)
                yield Candidate.from_atoms(index, atoms)
            except Exception as error:  # ASE's reader raises exceptions of various types
                yield AutopipeError(Code.FILE_UNREADABLE, f'{where}: {error}')
            index += 1


def parse_comment(text: str) -> dict[str, Any]:
    """Parse a comment line, in which ``stress`` and ``virial`` may have six numbers."""
    try:
        return _parse_entries(text)
    except ValueError:
        values = _parse_entries(_MATRICES.sub(rf'{_RENAMED}\1', text))
        return {name.removeprefix(_RENAMED): value for name, value in values.items()}


def _parse_entries(text: str) -> dict[str, Any]:
    """Parse the entries of a comment line with ASE's parser, which goes through the text character by character.

    Most entries are the same in many frames, so entries without brackets and escapes are parsed separately and kept.
    """
    if not _PLAIN_LINE.fullmatch(text):
        return _parse_by_ase(text)
    values: dict[str, Any] = {}
    for entry in _PLAIN_ENTRY.findall(text):
        for name, value in _parse_entry(entry).items():
            values[name] = value.copy() if isinstance(value, np.ndarray) else value
    return values


@lru_cache(maxsize=8192)
def _parse_entry(entry: str) -> dict[str, Any]:
    return _parse_by_ase(entry)


def _parse_by_ase(text: str) -> dict[str, Any]:
    from ase.io.extxyz import key_val_str_to_dict

    return dict(key_val_str_to_dict(text))


def read_trajectory(path: Path) -> Iterator[Candidate | AutopipeError]:
    """Yield the frames of an ASE trajectory, or the error at which its reader stops."""
    from ase.io import iread

    index = 0
    try:
        for index, atoms in enumerate(iread(path, ':', format='traj')):
            yield Candidate.from_atoms(index, atoms)
    except Exception as error:  # ASE's reader raises exceptions of various types
        yield AutopipeError(Code.FILE_UNREADABLE, f'{path}, frame {index}: {error}; the rest of the file was not read')


def read_database(path: Path) -> Iterator[Candidate | AutopipeError]:
    """Yield the rows of an ASE database of any kind, with their key-value pairs and their data."""
    from ase.db import connect

    try:
        for row in connect(path).select(sort='id'):
            pairs, data = dict(row.key_value_pairs), dict(row.data)
            found = Candidate.from_atoms(int(row.id), row.toatoms(), pairs | data)
            yield replace(found, stored=(pairs, data))
    except Exception as error:  # ASE's databases raise exceptions of various types
        yield AutopipeError(Code.FILE_UNREADABLE, f'{path}: {error}; the rest of the file was not read')
