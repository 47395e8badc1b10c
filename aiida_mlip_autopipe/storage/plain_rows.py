"""Read the rows of a dataset without ``ase.db``, whose import takes half a second.

`Dataset` finds, changes and queries rows. This module only makes the same rows from the columns of an ASE SQLite
database. It leaves a file with other contents, such as constraints or an older format, to `Dataset`.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from aiida_mlip_autopipe.structures.rows.keys import current_pairs
from aiida_mlip_autopipe.structures.rows.results import StoredResults
from aiida_mlip_autopipe.structures.rows.row import Row

ASE_FORMAT = 9
"""The version of ASE's format in which these columns have this meaning."""
# ASE writes an object to bytes as the position of its JSON text, then arrays, then the text. Without arrays, the text
# starts here.
START = (8).to_bytes(8, 'little')
# ASE marks arrays and other objects with keys that begin with two underscores.
MARK = '"__'
COLUMNS = (
    *('id', 'unique_id', 'ctime', 'mtime', 'username', 'numbers', 'positions', 'cell', 'pbc', 'initial_magmoms'),
    *('initial_charges', 'masses', 'tags', 'momenta', 'constraints', 'calculator', 'calculator_parameters', 'energy'),
    *('free_energy', 'forces', 'stress', 'dipole', 'magmoms', 'magmom', 'charges', 'key_value_pairs', 'data'),
)
# Positions of the columns that few rows have: from initial_magmoms to constraints, free_energy, and from dipole on.
RARE = itemgetter(9, 10, 11, 12, 13, 14, 18, 21, 22, 23, 24)
NO_RARE = (None,) * 11
PERIODIC = [np.array([bool(code & bit) for bit in (1, 2, 4)]) for code in range(8)]


def read_plain(path: Path, row_id: int | None = None) -> list[Row] | None:
    """Return all rows of a dataset, in the order of their ids, or the one with an id.

    Returns
    -------
    list of Row or None
        None if only ASE can read one of them, or the file cannot be read.
    """
    where, values = ('', ()) if row_id is None else ('WHERE id = ?', (row_id,))
    try:
        with closing(sqlite3.connect(f'{path.absolute().as_uri()}?mode=ro', uri=True)) as connection:
            (version,) = connection.execute("SELECT value FROM information WHERE name = 'version'").fetchone()
            if int(version) != ASE_FORMAT:
                return None
            query = f'SELECT {", ".join(COLUMNS)} FROM systems {where} ORDER BY id'  # nosec B608
            found = connection.execute(query, values)
            return list(_to_rows(found))
    except Exception:  # `Dataset` reports what is wrong with the file
        return None


def _to_rows(found: sqlite3.Cursor) -> Iterator[Row]:
    for columns in found:
        texts = [plain_json(encoded) for encoded in columns[25:27]]
        if RARE(columns) != NO_RARE or None in texts:
            raise ValueError('only ASE can read this row')
        yield to_row(columns, *(json.loads(text) for text in texts if text is not None))


def to_row(columns: Sequence[Any], pairs: dict[str, Any], data: dict[str, Any] | None) -> Row:
    """Return the row that `COLUMNS` of the database and its decoded key-value pairs and data describe."""
    atoms = Atoms(
        numbers=_to_array(columns[5], np.int32),
        positions=_to_array(columns[6], shape=(-1, 3)),
        cell=_to_array(columns[7], shape=(3, 3)),
        pbc=PERIODIC[columns[8]],
    )
    labels = {'energy': columns[17], 'forces': _to_array(columns[19], shape=(-1, 3)), 'stress': _to_array(columns[20])}
    if any(label is not None for label in labels.values()):
        atoms.calc = StoredResults(atoms, labels)
        atoms.calc.name = columns[15] or 'unknown'
    data = data or {}
    return Row(atoms, current_pairs(pairs, data), data, int(columns[0]))


def _to_array(stored: bytes | None, dtype: type[Any] = np.float64, shape: tuple[int, ...] = (-1,)) -> np.ndarray | None:
    """Return the array that a column stores in little-endian order."""
    if stored is None:
        return None
    return np.frombuffer(stored, np.dtype(dtype).newbyteorder('<')).reshape(shape)


def plain_json(encoded: Any) -> str | None:
    """Return the JSON text of an encoded object; None if only ASE can read it."""
    if isinstance(encoded, bytes) and encoded.startswith(START) and MARK.encode() not in encoded:
        return encoded[len(START) :].decode()
    if isinstance(encoded, str) and MARK not in encoded and '[' not in encoded:
        return encoded
    return None
