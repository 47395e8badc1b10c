"""Compare the metadata of two rows: their key-value pairs and their further data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from aiida_mlip_autopipe.structures.rows.keys import LEVEL
from aiida_mlip_autopipe.structures.rows.row import Row

# The UUIDs of runs and datasets change when they are repeated, and a path says only where content was found.
_NOT_CONTENT = {'exploration', 'file', 'uuid', 'dataset_uuid'}
_SCALARS = {str, int, float, bool, type(None)}


def differing_fields(first: Row, second: Row) -> list[str]:
    """Return the names of the fields in which the metadata of two rows differ, such as ``data.seed.strain``.

    Rows of earlier versions are compared as the current version reads them. Paths and the UUIDs of runs are ignored.
    """
    if _is_same_mapping(first.key_value_pairs, second.key_value_pairs) and _is_same_mapping(first.data, second.data):
        return []
    one, other = dict(_fields(first)), dict(_fields(second))
    return [name for name in dict.fromkeys([*one, *other]) if not _is_same(one.get(name), other.get(name))]


def _fields(row: Row) -> Iterator[tuple[str, Any]]:
    data = dict(row.data)
    if 'provenance' in data:
        data['provenance'] = row.provenance.model_dump()
    if (level := row.level) is not None:
        data[LEVEL] = level.model_dump()
    yield from _flatten(row.key_value_pairs, '')
    yield from _flatten(data, 'data.')


def _flatten(values: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if name in _NOT_CONTENT:
            continue
        if isinstance(value, Mapping):
            yield from _flatten(value, f'{prefix}{name}.')
        else:
            yield f'{prefix}{name}', value


def _is_same_mapping(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Return whether the stored fields are the same, which is much faster than naming those that differ."""
    if one.keys() - _NOT_CONTENT != other.keys() - _NOT_CONTENT:
        return False
    for name, value in one.items():
        if name in _NOT_CONTENT:
            continue
        counterpart = other[name]
        if type(value) is dict and type(counterpart) is dict:
            if not _is_same_mapping(value, counterpart):
                return False
        elif not _is_same(value, counterpart):
            return False
    return True


def _is_same(one: Any, other: Any) -> bool:
    if type(one) in _SCALARS and type(other) in _SCALARS:
        return bool(one == other)
    if isinstance(one, np.ndarray) and isinstance(other, np.ndarray):
        return np.array_equal(one, other)
    return bool(_to_list(one) == _to_list(other))


def _to_list(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value.tolist()
    return [_to_list(one) for one in value] if isinstance(value, list | tuple) else value
