"""ASE's SQLite database with explicit transactions.

This is a separate module because importing ``ase.db`` takes half a second.
"""

from __future__ import annotations

import sqlite3
import sys
from contextlib import AbstractContextManager

from ase.db.sqlite import SQLite3Database


class TransactionalDatabase(SQLite3Database):  # type: ignore[misc]
    """ASE's SQLite database, which commits only at the end of a ``with`` block."""

    def __init__(self, path: str):
        # SQLite locks the file. The lock file of ASE would remain after a process is killed, and block all later ones.
        super().__init__(path, use_lock_file=False, serial=True)

    def managed_connection(self, commit_frequency: int = sys.maxsize) -> AbstractContextManager[sqlite3.Connection]:
        """Return the connection without ASE's commit after every 5000 changes."""
        connection: AbstractContextManager[sqlite3.Connection] = super().managed_connection(commit_frequency)
        return connection

    def vacuum(self) -> None:
        """Do nothing, because compacting the file after a deletion would commit the changes."""
