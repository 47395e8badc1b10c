"""Selections of rows as users write them, such as ``kind=surface,label=hot``."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from math import isfinite
from operator import eq, ge, gt, le, lt, ne
from typing import Any

from ase.data import chemical_symbols

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.structures.rows.keys import DERIVED_KEYS, RENAMED_ROW_KEYS
from aiida_mlip_autopipe.structures.rows.provenance import searchable

EXAMPLE = '"kind=surface,label=hot,temperature>900,Cu>2"'
# Keys that ASE derives from the structure, the labels or the row itself.
_OF_ASE = (
    *('id', 'age', 'ctime', 'mtime', 'user', 'natoms', 'formula', 'energy', 'fmax', 'smax', 'magmom', 'charge'),
    *('calculator', 'unique_id', 'volume', 'mass', 'pbc'),
)
# The numeric ones among them, which ASE compares even with text without raising an error.
_NUMBERS_OF_ASE = ('ctime', 'mtime', 'fmax', 'smax', 'volume', 'mass')
# Text from the user, which gets an underscore as a prefix in a row if it can be read as a number.
_TEXT = ('label', 'kind', 'campaign', 'model', 'parent')
_COMPARISON = re.compile(r'([A-Za-z_]\w*)\s*(!=|<=|>=|=|<|>)\s*([^\s=<>!][^=<>!]*)')
_RANGE = re.compile(r'([^=<>!\s]+)\s*(<=?)\s*([A-Za-z_]\w*)\s*(<=?)\s*([^=<>!\s]+)')
_OPERATORS = {'=': eq, '!=': ne, '<': lt, '>': gt, '<=': le, '>=': ge}


@dataclass(frozen=True)
class Comparison:
    """A part of a selection that is evaluated for each row, because a database lacks the key.

    Attributes
    ----------
    key, operator, value
        For example, ``kind``, ``=`` and ``surface``.
    """

    key: str
    operator: str
    value: str

    def matches(self, pairs: Mapping[str, Any]) -> bool:
        """Return whether the key-value pairs of a row satisfy the comparison."""
        found = pairs.get(self.key)
        if found is None:
            return False
        if isinstance(found, str):
            return bool(_OPERATORS[self.operator](found, self.value))
        try:
            return bool(_OPERATORS[self.operator](found, float(self.value)))
        except ValueError:
            return False


def parse_selection(
    selection: str, keys: Collection[str], numbers: Collection[str] = (), *, lacks_derived: bool
) -> tuple[list[str], tuple[Comparison, ...]]:
    """Check a selection, and divide it into what ASE evaluates and what is evaluated for each row.

    Parameters
    ----------
    selection
        Comparisons with ``=``, ``!=``, ``<``, ``<=``, ``>`` or ``>=``, keys and formulas, separated by commas.
    keys
        The keys of all rows.
    numbers
        The keys whose values are numbers in all rows.
    lacks_derived
        Whether the database has rows of earlier versions, whose derived keys it does not contain.

    Raises
    ------
    AutopipeError
        If a part is malformed, compares a number with text, has a former name of a key, or has a key that no row has.
    """
    from ase.db.core import parse_selection as parse

    for_ase: list[str] = []
    own: list[Comparison] = []
    for part in (part.strip() for part in selection.split(',')):
        comparison, interval = _COMPARISON.fullmatch(part), _RANGE.fullmatch(part)
        if not (comparison or interval or re.fullmatch(r'\w+', part)):
            where = '' if part == selection else f' in {selection!r}'
            raise AutopipeError(
                Code.SELECTION_MALFORMED, f'selection: {part!r}{where} is malformed; an example is {EXAMPLE}'
            )
        key = comparison[1] if comparison else interval[3] if interval else part
        _check_key(key, keys, part, is_compared=bool(comparison or interval))
        if key in (*numbers, *_NUMBERS_OF_ASE, 'temperature'):
            given = [comparison[3]] if comparison else [interval[1], interval[5]] if interval else []
            _require_numbers(given, key, part)
        if comparison:
            operator, value = comparison[2], comparison[3].strip()
            value = searchable(value) if key in _TEXT else value
            if lacks_derived and key in DERIVED_KEYS:
                own.append(Comparison(key, operator, value))
                continue
            part = f'{key}{operator}{value}'
        elif interval and lacks_derived and key in DERIVED_KEYS:
            lowest, low, _, high, highest = interval.groups()
            own += [Comparison(key, low.replace('<', '>'), lowest), Comparison(key, high, highest)]
            continue
        for_ase.append(part)
    try:
        parse(for_ase)
    except (ValueError, IndexError, KeyError) as error:
        raise AutopipeError(
            Code.SELECTION_MALFORMED, f'selection: {selection!r} is malformed: {error}; an example is {EXAMPLE}'
        ) from error
    return for_ase, tuple(own)


def _require_numbers(values: Iterable[str], key: str, part: str) -> None:
    for value in values:
        try:
            is_number = value.strip() in ('True', 'False') or isfinite(float(value))
        except ValueError:
            is_number = False
        if not is_number:
            raise AutopipeError(
                Code.SELECTION_MALFORMED,
                f'selection: {part!r}: {key} is a number and cannot be compared with {value.strip()!r}; an example is '
                f'{EXAMPLE}',
            )


def _check_key(key: str, keys: Collection[str], part: str, *, is_compared: bool) -> None:
    if key in RENAMED_ROW_KEYS:
        raise AutopipeError(Code.KEY_RENAMED, f'selection: {part!r}: this key is now called {RENAMED_ROW_KEYS[key]!r}')
    if key in keys or key in _OF_ASE or key in DERIVED_KEYS or key in chemical_symbols:
        return
    if not is_compared and re.fullmatch(r'([A-Z][a-z]?\d*)+', key):
        return
    by_lower = {name.lower(): name for name in sorted(keys)}
    near = get_close_matches(key.lower(), by_lower, 1)
    raise AutopipeError(
        Code.KEY_UNKNOWN,
        f'selection: {part!r}: no row has the key {key!r}; the keys are {", ".join(sorted(keys))}'
        + (f'; did you mean {by_lower[near[0]]!r}?' if near else ''),
    )
