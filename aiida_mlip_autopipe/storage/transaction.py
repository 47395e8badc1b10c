"""ASE's SQLite database, kept to one transaction. Apart because ``ase.db`` takes half a second to import."""

from __future__ import annotations

import sqlite3
import sys
from contextlib import AbstractContextManager

from ase.db.sqlite import SQLite3Database


class TransactionalDatabase(SQLite3Database):  # type: ignore[misc]
    """ASE's SQLite database, kept from committing before the end of a ``with`` block."""

    def __init__(self, path: str):
        # SQLite locks the file itself; ASE's lock file would outlive a killed process and stop the next for ever.
        super().__init__(path, use_lock_file=False, serial=True)

    def managed_connection(self, commit_frequency: int = sys.maxsize) -> AbstractContextManager[sqlite3.Connection]:
        """Return the connection, which ASE would otherwise commit every 5000 changes."""
        connection: AbstractContextManager[sqlite3.Connection] = super().managed_connection(commit_frequency)
        return connection

    def vacuum(self) -> None:
        """Do nothing: compacting the file after a deletion would commit it."""
