"""The checksum of the content of a dataset, independent of the file and the order of its rows."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from typing import Any

import numpy as np

from aiida_mlip_autopipe.structures.rows.row import Row
from aiida_mlip_autopipe.structures.seed import structure_arrays


def content_checksum(rows: Iterable[Row]) -> str:
    """Return ``sha256:`` and the hash of the structures, labels, key-value pairs and data of all rows.

    Two files with the same rows have the same checksum, even if they were written at different times or in a different
    order. Numbers are compared bit for bit.
    """
    digests = sorted(_digest(row) for row in rows)
    return 'sha256:' + hashlib.sha256(b''.join(digests)).hexdigest()


def _digest(row: Row) -> bytes:
    arrays = {**structure_arrays(row.atoms), **{name: np.asarray(value, '<f8') for name, value in row.labels.items()}}
    digest = hashlib.sha256()
    for name, array in arrays.items():
        digest.update(f'{name}{array.shape}'.encode() + array.tobytes())
    constraints = [constraint.todict() for constraint in row.atoms.constraints]
    others = [constraints, row.key_value_pairs, row.data]
    digest.update(json.dumps(others, sort_keys=True, default=_as_list).encode())
    return digest.digest()


def _as_list(value: Any) -> Any:
    return value.tolist()
