"""Read many rows from an ASE SQLite database.

ASE sorts all rows together with their arrays, and makes two intermediate objects for each row. This module makes the
same structures and labels directly from the columns.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from ase.db.core import parse_selection
from ase.db.sqlite import SQLite3Database

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.storage.plain_rows import ASE_FORMAT, COLUMNS, NO_RARE, RARE, plain_json, to_row
from aiida_mlip_autopipe.structures.rows.keys import current_pairs
from aiida_mlip_autopipe.structures.rows.row import Row

# Number of rows whose keys and data are parsed at once.
BATCH = 100


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
    names = ', '.join(f'systems.{name}' for name in COLUMNS)
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
                if database.version == ASE_FORMAT and RARE(columns) == NO_RARE:
                    yield to_row(columns, *decoded)
                else:
                    yield _to_row_by_ase(database, columns)


def _to_row_by_ase(database: SQLite3Database, columns: tuple[Any, ...]) -> Row:
    entry = database._convert_tuple_to_row(columns)
    data = dict(entry.data)
    return Row(entry.toatoms(), current_pairs(entry.key_value_pairs, data), data, int(entry.id))


def decode_together(database: SQLite3Database, encoded: Sequence[Any]) -> list[Any]:
    """Return the objects that several texts or bytes encode. They share their keys, which saves memory."""
    plain = [plain_json(one) for one in encoded]
    parsed = iter(json.loads(f'[{",".join(one for one in plain if one is not None)}]'))
    return [database.decode(one) if text is None else next(parsed) for one, text in zip(encoded, plain, strict=True)]
