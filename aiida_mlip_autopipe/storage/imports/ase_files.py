"""Read extended XYZ files, ASE databases and ASE trajectories."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import lru_cache, partial
from io import StringIO
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.core.wording import counted
from aiida_mlip_autopipe.storage.imports.frames import STRUCTURE_ARRAYS, Candidate
from aiida_mlip_autopipe.storage.imports.text import open_text

# ASE requires nine numbers for these keys. Other programs write six.
_MATRICES = re.compile(r'(?<!\S)(stress|virial)(?=\s*=)')
_RENAMED = 'renamed_'
# An entry whose end is clear without ASE's parser: a value in quotation marks, or without any delimiters.
_ENTRY = r'[^\s="\'{}\[\]\\]+=(?:"[^"\\]+"|[^\s="\'{}\[\]\\]+)'
_PLAIN_ENTRY = re.compile(_ENTRY)
_PLAIN_LINE = re.compile(rf'\s*{_ENTRY}(?:\s+{_ENTRY})*\s*')
_DECIMAL = r'[-+]?\d+\.\d*(?:[eE][-+]?\d+)?'
_DECIMALS = re.compile(rf'{_DECIMAL}(?:\s+{_DECIMAL})*')
# Keys whose nine numbers ASE reads as a matrix.
_MATRIX_KEYS = ('Lattice', 'stress', 'virial')
# Columns that ASE makes part of the structure.
_FOR_ATOMS = {*STRUCTURE_ARRAYS, 'move_mask'}


def read_extxyz(path: Path) -> Iterator[Candidate | AutopipeError]:
    """Yield the frames of an extended XYZ file, or the error of a frame that cannot be read.

    ASE's reader gets one frame at a time, so a malformed frame does not prevent reading the others.
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
                    raise ValueError(f'it has {max(len(lines) - 1, 0)} of {counted(n_atoms, "atom")}')
                _require_complete(lines[1:])
                frame = _read_frame(index, lines)
                if frame is None:
                    parser = partial(_parse_bounded_comment, limit=len(lines[-1]))
                    (atoms,) = read_xyz(StringIO(header + ''.join(lines)), index=0, properties_parser=parser)
                    frame = Candidate.from_atoms(index, atoms)
                yield frame
            except Exception as error:  # ASE's reader raises exceptions of various types
                yield AutopipeError(Code.FILE_UNREADABLE, f'{where}: {error}')
            index += 1


def _require_complete(lines: Sequence[str]) -> None:
    """Refuse a truncated file: it has no final line break, and its last number has fewer decimals than the others."""
    if not lines or lines[-1].endswith('\n'):
        return
    *before, last = lines[-1].split()
    others = [text for line in lines[:-1] for text in line.split()[-1:]] or before[-2:]
    if _count_decimals(last) < min(map(_count_decimals, others), default=0):
        raise ValueError(
            f'the file ends with {last}, which has fewer decimals than the other numbers of its column; if the file is '
            'complete, add a line break at its end'
        )


def _count_decimals(number: str) -> int:
    return len(number.partition('.')[2])


def _read_frame(index: int, lines: Sequence[str]) -> Candidate | None:
    """Read a frame as ASE's reader does. It converts whole columns and needs a third of the time.

    Parameters
    ----------
    index
        Position of the frame in the file.
    lines
        Its comment line and the lines of its atoms.

    Returns
    -------
    Candidate or None
        None for a frame that ASE's reader must read or refuse: one with constraints, without a cell, with a number of
        columns that differs from that in the comment, or with malformed values.
    """
    from ase.calculators.calculator import all_properties
    from ase.io.extxyz import per_config_properties

    try:
        info = parse_comment(lines[0].strip())
        arrays = _read_columns(info.pop('Properties'), lines[1:])
        atoms = Atoms(
            [symbol.capitalize() for symbol in arrays.pop('symbols')],
            arrays.pop('positions'),
            cell=info.pop('Lattice').T,
            pbc=info.pop('pbc', True),
        )
    except Exception:  # ASE's reader says what is wrong
        return None
    if not arrays.keys().isdisjoint(_FOR_ATOMS):
        return None
    results = {name: arrays.pop(name) for name in list(arrays) if name in all_properties}
    results |= {name: info.pop(name) for name in list(info) if name in per_config_properties}
    for name in results.keys() - {'energy', 'free_energy', 'magmom'}:
        results[name] = np.array(results[name], dtype=float)
    if (stress := results.get('stress', np.zeros(6))).shape == (3, 3):
        results['stress'] = stress.ravel()[[0, 4, 8, 5, 2, 1]]
    return Candidate.from_values(index, atoms, results, info, arrays)


def _read_columns(properties: str, lines: Sequence[str]) -> dict[str, np.ndarray]:
    """Return the columns of a frame under the names that ASE gives them.

    Raises
    ------
    ValueError
        If the number of columns of a line is wrong, or a value is malformed.
    """
    columns = list(zip(*(line.split() for line in lines), strict=True))
    _require_columns(properties, len(columns))
    found, names, dtypes, converters = _parse_properties(properties)
    if len(columns) != len(converters):
        raise ValueError(f'it has {len(columns)} of {len(converters)} columns')
    arrays = {}
    start = 0
    for name in names:
        of_ase, width = found[name]
        end = start + width
        values = [list(map(converters[start], column)) for column in columns[start:end]]
        array = np.array(values, dtype=dtypes[start])
        arrays[of_ase] = array[0] if width == 1 else array.T
        start = end
    return arrays


def _require_columns(properties: str, limit: int) -> None:
    """Refuse a property with more columns than fit in a line, because ASE's parser makes several objects for each."""
    for width in properties.split(':')[2::3]:
        if int(width) > limit:
            raise ValueError(f'a property has {width} columns, but a line has space for fewer')


@lru_cache(maxsize=256)
def _parse_properties(text: str) -> Any:
    from ase.io.extxyz import parse_properties

    return parse_properties(text)


def _parse_bounded_comment(text: str, limit: int) -> dict[str, Any]:
    values = parse_comment(text)
    _require_columns(values.get('Properties', ''), limit)
    return values


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
    entries = _PLAIN_ENTRY.findall(text)
    # The pattern of the whole line is slow.
    if not (entries and ' '.join(entries) == text) and not _PLAIN_LINE.fullmatch(text):
        return _parse_by_ase(text)
    values: dict[str, Any] = {}
    for entry in entries:
        name, value = _parse_entry(entry)
        values[name] = value.copy() if isinstance(value, np.ndarray) else value
    return values


@lru_cache(maxsize=8192)
def _parse_entry(entry: str) -> tuple[str, Any]:
    name, _, text = entry.partition('=')
    text = text.strip('"')
    if name.lower() != 'uid' and _DECIMALS.fullmatch(text):
        # These numbers are different in each frame.
        numbers = np.array(list(map(float, text.split())))
        if name not in _MATRIX_KEYS:
            return name, numbers if len(numbers) > 1 else numbers[0]
        if len(numbers) == 9:
            return name, numbers.reshape((3, 3), order='F')
    ((name, value),) = _parse_by_ase(entry).items()
    return name, value


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
