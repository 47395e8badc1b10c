"""Errors in XYZ and extended XYZ files, with their frame and line."""

from __future__ import annotations

import re
from difflib import get_close_matches
from pathlib import Path

from ase.data import atomic_numbers

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError

DEFAULT_COLUMNS = 'species:S:1:pos:R:3'


def check_xyz(path: Path) -> None:
    """Refuse the first line of a file that does not follow the format.

    Raises
    ------
    AutopipeError
        If a line has no element, has text instead of a number, or has fewer columns than its frame declares.
    """
    lines = path.read_text(encoding='utf-8', errors='replace').splitlines()
    start, frame = 0, 0
    while start < len(lines) and lines[start].strip():
        place = f'{path}, frame {frame}, line'
        try:
            n_atoms = int(lines[start])
        except ValueError:
            raise AutopipeError(
                Code.FILE_UNREADABLE, f'{place} {start + 1}: {lines[start]!r} is not a number of atoms'
            ) from None
        rows = lines[start + 2 : start + 2 + n_atoms]
        if len(rows) < n_atoms:
            raise AutopipeError(Code.FILE_UNREADABLE, f'{place} {len(lines)}: the file ends before atom {n_atoms}')
        columns = _columns(lines[start + 1], f'{place} {start + 2}')
        for number, row in enumerate(rows, start + 3):
            _check_row(row.split(), columns, f'{place} {number}')
        start, frame = start + 2 + n_atoms, frame + 1


def _columns(comment: str, place: str) -> list[tuple[str, str]]:
    """Return the name and the type of each column."""
    found = re.search(r'Properties="?([^\s"]+)', comment)
    given = (found[1] if found else DEFAULT_COLUMNS).split(':')
    try:
        columns = [
            (name, value_type)
            for name, value_type, count in zip(given[::3], given[1::3], given[2::3], strict=True)
            for _ in range(int(count))
        ]
    except ValueError:
        raise AutopipeError(
            Code.FILE_UNREADABLE, f'{place}: Properties={":".join(given)} is not of the form name:type:columns'
        ) from None
    if columns.count(('pos', 'R')) != 3 or not {('species', 'S'), ('Z', 'I')} & set(columns):
        raise AutopipeError(
            Code.FILE_UNREADABLE,
            f'{place}: Properties={":".join(given)} must have the columns species:S:1, with the symbols of the '
            'elements, and pos:R:3',
        )
    return columns


def _check_row(row: list[str], columns: list[tuple[str, str]], place: str) -> None:
    # The rows of plain XYZ files may have more columns, which readers ignore.
    if len(row) < len(columns):
        raise AutopipeError(
            Code.FILE_UNREADABLE, f'{place}: the number of columns is {len(row)} instead of {len(columns)}'
        )
    for value, (name, value_type) in zip(row, columns, strict=False):
        if name == 'species' and value.capitalize() not in atomic_numbers and not value.isdigit():
            nearest = _element_of(value)
            hint = f'; replace it with {nearest}' if nearest else ''
            raise AutopipeError(Code.ELEMENT_UNKNOWN, f'{place}: {value!r} is not the symbol of an element{hint}')
        if value_type in 'RI':
            try:
                float(value)
            except ValueError:
                raise AutopipeError(
                    Code.FILE_UNREADABLE, f'{place}: {name} is {value!r}, which is not a number'
                ) from None


def _element_of(label: str) -> str | None:
    """Return the element that the label of a site such as OW, HW1 or D probably stands for."""
    if label in ('D', 'T'):
        return 'H'
    letters = re.match(r'[A-Za-z]*', label)[0]  # type: ignore[index]  # it always matches
    for candidate in (letters[:2].capitalize() if letters[1:2].islower() else '', letters[:1].upper()):
        if candidate in atomic_numbers:
            return candidate
    return next(iter(get_close_matches(letters.capitalize(), atomic_numbers, n=1)), None)
