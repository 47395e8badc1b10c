"""Add many rows to an ASE SQLite database at once.

ASE executes five statements for each row and updates the indices each time, which takes most of the time of writing a
dataset. The tables get the same content in the same order as from ASE, except that equal rows give equal files: the
unique id of a row is the hash of its content, and no time is recorded.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from ase.data import atomic_masses
from ase.db.core import check
from ase.db.row import AtomsRow
from ase.db.sqlite import index_statements

BATCH_SIZE = 100


class BulkInsert:
    """Collects rows, and inserts them in batches. `finish` inserts the rest.

    Parameters
    ----------
    database
        The ASE database.
    connection
        Its open connection.
    """

    def __init__(self, database: Any, connection: sqlite3.Connection):
        self._database, self._connection = database, connection
        last = connection.execute("SELECT seq FROM sqlite_sequence WHERE name='systems'").fetchone()
        self._last_id = 0 if last is None else int(last[0])
        self._checked: set[tuple[str, Any]] = set()
        self._systems: list[tuple[Any, ...]] = []
        self._species: list[tuple[int, int, int]] = []
        self._pairs: list[tuple[int, dict[str, Any]]] = []

    def add(self, entry: AtomsRow, pairs: dict[str, Any], data: dict[str, Any]) -> int:
        """Add a row, and return its id.

        Raises
        ------
        ValueError
            If ASE refuses a key or a value.
        """
        self._check(pairs)
        row_id = self._last_id = self._last_id + 1
        columns = _columns(self._database, entry, pairs, data)
        # A file may contain identical rows, so the hash includes the place of the row.
        self._systems.append((row_id, _hash((row_id, *columns)), *columns))
        self._species += [(number, n, row_id) for number, n in Counter(entry.numbers.tolist()).items()]
        self._pairs.append((row_id, dict(pairs)))
        if len(self._systems) == BATCH_SIZE:
            self.finish()
        return row_id

    def finish(self) -> None:
        """Insert the rows that were added."""
        insert, pairs = self._connection.executemany, self._pairs
        if self._systems:
            marks = ', '.join('?' * len(self._systems[0]))
            insert(f'INSERT INTO systems VALUES ({marks})', self._systems)  # nosec B608: only question marks
        insert('INSERT INTO species VALUES (?, ?, ?)', self._species)
        insert(
            'INSERT INTO text_key_values VALUES (?, ?, ?)',
            ((key, value, row_id) for row_id, found in pairs for key, value in found.items() if isinstance(value, str)),
        )
        insert(
            'INSERT INTO number_key_values VALUES (?, ?, ?)',
            (
                (key, float(value), row_id)
                for row_id, found in pairs
                for key, value in found.items()
                if not isinstance(value, str)
            ),
        )
        insert('INSERT INTO keys VALUES (?, ?)', ((key, row_id) for row_id, found in pairs for key in found))
        self._systems, self._species, self._pairs = [], [], []

    def _check(self, pairs: dict[str, Any]) -> None:
        """Let ASE check the pairs. Each key is checked once for each text value and each type of number."""
        identities = [(key, value if isinstance(value, str) else type(value)) for key, value in pairs.items()]
        if not self._checked.issuperset(identities):
            check(pairs)
            self._checked.update(identities)


@contextmanager
def without_indices(connection: sqlite3.Connection) -> Iterator[None]:
    """Remove ASE's indices from an empty database, and make them again at the end.

    Making an index of complete tables is faster than keeping it up to date.
    """
    if connection.execute('SELECT EXISTS (SELECT 1 FROM systems)').fetchone()[0]:
        yield
        return
    if not connection.in_transaction:
        connection.execute('BEGIN')
    names = [statement.split()[2] for statement in index_statements]
    for name in names:
        connection.execute(f'DROP INDEX IF EXISTS {name}')
    try:
        yield
    finally:
        for statement in index_statements:
            connection.execute(statement)


def _hash(columns: tuple[Any, ...]) -> str:
    digest = hashlib.sha256()
    for one in columns:
        digest.update(b'|' + (bytes(one) if isinstance(one, bytes | memoryview) else repr(one).encode()))
    return digest.hexdigest()[:32]


def _columns(database: Any, entry: AtomsRow, pairs: dict[str, Any], data: dict[str, Any]) -> tuple[Any, ...]:
    """Return the columns of the table ``systems`` after the ids, as ASE writes them."""
    blob, encode, found = database.blob, database.encode, vars(entry).get
    forces, stress, charges = found('forces'), found('stress'), found('initial_charges')
    masses = found('masses')
    volume = abs(np.linalg.det(entry.cell))
    fmax = None if forces is None else float(entry.fmax if entry._constraints else (forces**2).sum(1).max() ** 0.5)
    return (
        entry.ctime,
        entry.ctime,
        entry.user,
        blob(entry.numbers),
        blob(entry.positions),
        blob(entry.cell),
        int(np.dot(entry.pbc, [1, 2, 4])),
        *(blob(found(name)) for name in ('initial_magmoms', 'initial_charges', 'masses', 'tags', 'momenta')),
        encode(entry._constraints) if entry._constraints else None,
        *((entry.calculator, encode(entry.calculator_parameters)) if 'calculator' in entry else (None, None)),
        *(None if found(name) is None else float(found(name)) for name in ('energy', 'free_energy')),
        *(blob(found(name)) for name in ('forces', 'stress', 'dipole', 'magmoms')),
        found('magmom'),
        blob(found('charges')),
        encode(pairs),
        encode(data, binary=True),
        len(entry.numbers),
        fmax,
        None if stress is None else float((stress**2).max() ** 0.5),
        None if volume == 0.0 else float(volume),
        float((atomic_masses[entry.numbers] if masses is None else masses).sum()),
        0.0 if charges is None else float(charges.sum()),
    )
