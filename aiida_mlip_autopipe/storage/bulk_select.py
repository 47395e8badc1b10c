"""Read many rows from an ASE SQLite database.

ASE sorts all rows together with their arrays, and makes two intermediate objects for each row. This module makes the
same structures and labels directly from the columns.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from operator import itemgetter
from typing import Any

import numpy as np
from ase import Atoms
from ase.db.core import parse_selection
from ase.db.sqlite import VERSION, SQLite3Database

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.structures.rows.keys import current_pairs
from aiida_mlip_autopipe.structures.rows.results import StoredResults
from aiida_mlip_autopipe.structures.rows.row import Row

# ASE writes an object to bytes as the position of its JSON text, then arrays, then the text. Without arrays, the text
# starts here.
START = (8).to_bytes(8, 'little')
# ASE marks arrays and other objects with keys that begin with two underscores.
MARK = '"__'
N_COLUMNS = 27
# Number of rows whose keys and data are parsed at once.
BATCH = 100
# Positions of the columns that few rows have: from initial_magmoms to constraints, free_energy, and from dipole on.
RARE = itemgetter(9, 10, 11, 12, 13, 14, 18, 21, 22, 23, 24)
NO_RARE = (None,) * 11
PERIODIC = [np.array([bool(code & bit) for bit in (1, 2, 4)]) for code in range(8)]


def select_rows(database: SQLite3Database, selection: Any, **equal: Any) -> Iterator[Row]:
    """Yield the rows that match a query of ASE, in the order of their ids.

    Parameters
    ----------
    database
        The database.
    selection
        A query in the syntax of ASE, or a list of its parts.
    equal
        Required key-value pairs.

    Raises
    ------
    AutopipeError
        If a row cannot be read.
    """
    keys, comparisons = parse_selection(selection, **equal)
    try:
        yield from _select_rows(database, keys, comparisons)
    except (AutopipeError, OSError):
        raise
    except Exception as error:  # SQLite, ASE and NumPy raise various errors for damaged files
        raise AutopipeError(
            Code.FILE_UNREADABLE, f'{database.filename} has a row that cannot be read: {error or type(error).__name__}'
        ) from error


def _select_rows(database: SQLite3Database, keys: Any, comparisons: Any) -> Iterator[Row]:
    names = ', '.join(f'systems.{name}' for name in database.columnnames[:N_COLUMNS])
    with database.managed_connection() as connection:
        statement, values = database.create_select_statement(keys, comparisons, what=names)
        found = connection.execute(f'{statement}\nORDER BY systems.id', values).fetchall()
        found.reverse()
        while found:
            # Only the rows of one batch are kept in two forms.
            batch = found[: -BATCH - 1 : -1]
            del found[-BATCH:]
            pairs, data = (decode_together(database, [columns[position] for columns in batch]) for position in (25, 26))
            for columns, *decoded in zip(batch, pairs, data, strict=True):
                if database.version == VERSION and RARE(columns) == NO_RARE:
                    yield _to_row(database, columns, *decoded)
                else:
                    yield _to_row_by_ase(database, columns)


def _to_row_by_ase(database: SQLite3Database, columns: tuple[Any, ...]) -> Row:
    entry = database._convert_tuple_to_row(columns)
    data = dict(entry.data)
    return Row(entry.toatoms(), current_pairs(entry.key_value_pairs, data), data, int(entry.id))


def _to_row(
    database: SQLite3Database, columns: tuple[Any, ...], pairs: dict[str, Any], data: dict[str, Any] | None
) -> Row:
    deblob = database.deblob
    atoms = Atoms(
        numbers=deblob(columns[5], np.int32),
        positions=deblob(columns[6], shape=(-1, 3)),
        cell=deblob(columns[7], shape=(3, 3)),
        pbc=PERIODIC[columns[8]],
    )
    labels = {'energy': columns[17], 'forces': deblob(columns[19], shape=(-1, 3)), 'stress': deblob(columns[20])}
    if any(label is not None for label in labels.values()):
        atoms.calc = StoredResults(atoms, labels)
        atoms.calc.name = columns[15] or 'unknown'
    data = data or {}
    return Row(atoms, current_pairs(pairs, data), data, int(columns[0]))


def plain_json(encoded: Any) -> str | None:
    """Return the JSON text of an encoded object; None if only ASE can read it."""
    if isinstance(encoded, bytes) and encoded.startswith(START) and MARK.encode() not in encoded:
        return encoded[len(START) :].decode()
    if isinstance(encoded, str) and MARK not in encoded and '[' not in encoded:
        return encoded
    return None


def decode_together(database: SQLite3Database, encoded: Sequence[Any]) -> list[Any]:
    """Return the objects that several texts or bytes encode. They share their keys, which saves memory."""
    plain = [plain_json(one) for one in encoded]
    parsed = iter(json.loads(f'[{",".join(one for one in plain if one is not None)}]'))
    return [database.decode(one) if text is None else next(parsed) for one, text in zip(encoded, plain, strict=True)]
