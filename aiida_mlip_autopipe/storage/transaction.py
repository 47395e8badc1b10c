"""ASE's SQLite database with explicit transactions, and with faster conversion of the data of a row.

This is a separate module because importing ``ase.db`` takes half a second.
"""

from __future__ import annotations

import json
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from ase.db.sqlite import SQLite3Database

from aiida_mlip_autopipe.storage.bulk_insert import BulkInsert, without_indices
from aiida_mlip_autopipe.storage.bulk_select import select_rows
from aiida_mlip_autopipe.storage.plain_rows import START, plain_json
from aiida_mlip_autopipe.structures.rows.row import Row


class TransactionalDatabase(SQLite3Database):  # type: ignore[misc]
    """ASE's SQLite database, which commits only at the end of a ``with`` block."""

    def __init__(self, path: str):
        # SQLite locks the file. ASE's lock file would remain after a process is killed, and block all later ones.
        super().__init__(path, use_lock_file=False, serial=True)

    def managed_connection(self, commit_frequency: int = sys.maxsize) -> AbstractContextManager[sqlite3.Connection]:
        """Return the connection without ASE's commit after every 5000 changes."""
        connection: AbstractContextManager[sqlite3.Connection] = super().managed_connection(commit_frequency)
        return connection

    def count_keys(self) -> dict[str, int]:
        """Return the number of rows that have each key."""
        with self.managed_connection() as connection:
            return dict(connection.execute('SELECT key, COUNT(*) FROM keys GROUP BY key'))

    def number_keys(self) -> set[str]:
        """Return the keys whose values are numbers in all rows."""
        with self.managed_connection() as connection:
            found = connection.execute('SELECT key FROM number_key_values EXCEPT SELECT key FROM text_key_values')
            return {key for (key,) in found}

    def rows(self, selection: Any = None, **equal: Any) -> Iterator[Row]:
        """Yield the rows that match a query of ASE, in the order of their ids."""
        return select_rows(self, selection, **equal)

    def first_rows(self, key: str) -> Iterator[Row]:
        """Yield the first row for each text value of a key, and all rows without the key, in the order of their ids."""
        with self.managed_connection() as connection:
            found = connection.execute(
                'SELECT MIN(id) FROM text_key_values WHERE key = :key GROUP BY value UNION '
                'SELECT id FROM systems WHERE id NOT IN (SELECT id FROM text_key_values WHERE key = :key) ORDER BY 1',
                {'key': key},
            ).fetchall()
        for (row_id,) in found:
            yield from self.rows(id=row_id)

    @contextmanager
    def bulk_insert(self) -> Iterator[BulkInsert]:
        """Return an object that adds rows. They are in the database at the end of the ``with`` block."""
        with self.managed_connection() as connection, without_indices(connection):
            insert = BulkInsert(self, connection)
            try:
                yield insert
            finally:
                insert.finish()

    def vacuum(self) -> None:
        """Do nothing, because compacting the file after a deletion would commit the changes."""

    def encode(self, obj: Any, binary: bool = False) -> Any:
        """Return an object as ASE's text or bytes. Without arrays, the JSON module gives the same bytes much faster."""
        if binary:
            try:
                return START + json.dumps(obj, separators=(',', ':')).encode()
            except TypeError:
                pass
        return super().encode(obj, binary=binary)

    def decode(self, txt: Any, lazy: bool = False) -> Any:
        """Return the object that text or bytes encode. Without arrays and lists, the JSON module is sufficient."""
        plain = None if lazy and isinstance(txt, str) else plain_json(txt)
        return super().decode(txt, lazy=lazy) if plain is None else json.loads(plain)

    def _get_external_table_names(self, db_con: Any = None) -> list[str]:
        """Return no names, because rows have no further tables. ASE would search for them for each row."""
        return []
