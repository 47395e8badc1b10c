"""The keys of rows by which they are divided into sets: group, kind, label, composition and temperature."""

from __future__ import annotations

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.structures.rows.row import Row
from aiida_mlip_autopipe.structures.rows.splits import Category


def kind_of(row: Row) -> str | None:
    """Return the kind of the seed of a row, or None if the row does not contain it."""
    return _text(row, 'kind')


def label_of(row: Row) -> str | None:
    """Return the label of the entry of ``generation`` from which a row was made, or None if it has none."""
    return _text(row, 'label')


def categories_of(row: Row) -> list[Category]:
    """Return the properties of a row that all sets should contain in the same proportion."""
    known = {'kind': kind_of(row), 'label': label_of(row), 'composition': row.empirical_formula}
    return [(name, value) for name, value in known.items() if value is not None]


def group_of(row: Row, index: int, by: str) -> str:
    """Return the group of a row.

    Parameters
    ----------
    row, index
        The row, and its position for the message of an error.
    by
        ``parent``, ``composition`` or ``kind``. A row without a parent is grouped by its seed.

    Raises
    ------
    AutopipeError
        If the row does not contain the key.
    """
    if by == 'composition':
        return row.empirical_formula
    found = kind_of(row) if by == 'kind' else _text(row, 'parent', 'seed')
    if found is None:
        raise AutopipeError(Code.ROW_KEY_MISSING, f'row {index} has no key {by}; split by composition instead')
    return found


def _text(row: Row, *keys: str) -> str | None:
    return next((str(row.key_value_pairs[key]) for key in keys if key in row.key_value_pairs), None)
