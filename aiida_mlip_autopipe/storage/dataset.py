"""The dataset: an ASE SQLite database with methods to create, read, update, delete and query rows."""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.storage.plain_rows import read_plain
from aiida_mlip_autopipe.storage.selection import Comparison, parse_selection
from aiida_mlip_autopipe.structures.rows.keys import LEVEL
from aiida_mlip_autopipe.structures.rows.row import Row, was_changed

if TYPE_CHECKING:
    from ase.db.row import AtomsRow

    from aiida_mlip_autopipe.storage.bulk_insert import BulkInsert


def refuse_missing(path: Path) -> None:
    """Refuse a dataset that does not exist.

    Raises
    ------
    AutopipeError
        If the path is not that of a file.
    """
    if not path.is_file():
        raise AutopipeError(Code.FILE_MISSING, f'the dataset {path} does not exist')


def check_dataset_file(path: Path) -> None:
    """Refuse a file that is not a dataset of this program by its name, or does not exist.

    Raises
    ------
    AutopipeError
        If the suffix is not ``.db``, or the file does not exist.
    """
    if path.suffix != '.db':
        raise AutopipeError(
            Code.FILE_SUFFIX,
            f"{path} is not a database with the suffix .db; import it with 'mlip-autopipe dataset import'",
        )
    refuse_missing(path)


class Dataset:
    """An ASE SQLite database, used as a context manager.

    A ``with`` block is one transaction: its changes are written when the block ends, and discarded if it raises an
    exception.

    Parameters
    ----------
    path
        The file.
    create
        Whether to create the file if it does not exist.

    Raises
    ------
    AutopipeError
        If the file or its folder does not exist, or the file is not an ASE database.

    Examples
    --------
    >>> with Dataset(Path('cu_au.db')) as dataset:  # doctest: +SKIP
    ...     hot = [row.atoms for row in dataset.query('temperature_K>900')]
    """

    def __init__(self, path: Path, *, create: bool = False):
        self.path = Path(path)
        if not create:
            refuse_missing(self.path)
        if not self.path.parent.is_dir():
            raise AutopipeError(
                Code.FOLDER_MISSING, f'the folder {self.path.parent} of the dataset {self.path.name} does not exist'
            )
        from aiida_mlip_autopipe.storage.transaction import TransactionalDatabase

        self._database = TransactionalDatabase(str(self.path))

    def __enter__(self) -> Dataset:
        self._database.__enter__()
        try:
            # At the first access, ASE checks the format of the file, or creates the tables of a new file.
            with self._full_disk():
                self._database.count()
        except Exception as error:  # SQLite and ASE raise various errors for damaged files
            self._database.__exit__(type(error), error, None)
            if isinstance(error, OSError) and error.errno == errno.ENOSPC:
                raise
            raise AutopipeError(Code.FILE_UNREADABLE, f'{self.path} cannot be opened as a dataset: {error}') from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with self._full_disk():
            self._database.__exit__(kind, error, traceback)

    def __len__(self) -> int:
        return int(self._database.count())

    def create(self, rows: Iterable[Row]) -> list[int]:
        """Add rows. Their ids in other databases are ignored.

        Returns
        -------
        list of int
            The ids of the new rows, in the order of ``rows``.

        Raises
        ------
        AutopipeError
            If the database refuses a key or a value. The message names the row.
        OSError
            If the disk is full.
        """
        with self._full_disk(), self._database.bulk_insert() as insert:
            return [self._insert(insert, row, f'row {position}') for position, row in enumerate(rows)]

    def read(self, row_id: int) -> Row:
        """Return one row.

        Raises
        ------
        AutopipeError
            If the row does not exist.
        """
        found = next(self._database.rows(id=row_id), None)
        if found is None:
            raise AutopipeError(Code.ROW_MISSING, f'{self.path} has no row {row_id}')
        return found

    def update(self, row: Row) -> None:
        """Replace the row that has the same id.

        Raises
        ------
        AutopipeError
            If the row does not exist, or the database refuses a key or a value.
        """
        if row.id is None:
            raise AutopipeError(Code.ROW_MISSING, 'a row without an id cannot be updated; add it with create()')
        self.read(row.id)
        where = f'row {row.id}'
        with self._refusal_of(where):
            self._database.write(to_entry(row, where), row.key_value_pairs, row.data, row.id)

    def delete(self, row_ids: Sequence[int]) -> None:
        """Delete rows.

        Raises
        ------
        AutopipeError
            If a row does not exist. In that case, no row is deleted.
        """
        for row_id in row_ids:
            self.read(row_id)
        self._database.delete(list(row_ids))

    def query(self, selection: str = '', **equal: Any) -> Iterator[Row]:
        """Yield the rows that match a query, in the order of their ids.

        Parameters
        ----------
        selection
            A query in the syntax of ASE, such as ``'kind=surface,temperature>900,Cu>2'``; by default, all rows match.
        equal
            Required key-value pairs.

        Raises
        ------
        AutopipeError
            If the query is malformed, or contains a former name of a key or a key that no row has.
        """
        for_ase, own = self._parse(selection) if selection else (None, ())
        for row in self._database.rows(for_ase, **equal):
            if all(comparison.matches(row.key_value_pairs) for comparison in own):
                yield row

    def first_rows(self, key: str) -> Iterator[Row]:
        """Yield the first row for each text value of a key, and all rows without the key, in the order of their ids."""
        yield from self._database.first_rows(key)

    def _parse(self, selection: str) -> tuple[list[str], tuple[Comparison, ...]]:
        counts = self._database.count_keys()
        return parse_selection(
            selection, counts.keys(), self._database.number_keys(), lacks_derived=counts.get(LEVEL, 0) < len(self)
        )

    def _insert(self, insert: BulkInsert, row: Row, where: str) -> int:
        with self._refusal_of(where):
            return insert.add(to_entry(row, where), row.key_value_pairs, row.data)

    @contextmanager
    def _full_disk(self) -> Iterator[None]:
        """Raise the error of the system if the disk is full; SQLite has a different one."""
        try:
            yield
        except sqlite3.DatabaseError as error:
            if getattr(error, 'sqlite_errorcode', None) != sqlite3.SQLITE_FULL:
                raise
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path)) from error

    @contextmanager
    def _refusal_of(self, where: str) -> Iterator[None]:
        try:
            yield
        except ValueError as error:
            raise AutopipeError(Code.ROW_REFUSED, f'{where} cannot be written to {self.path}: {error}') from error


def read_row(path: Path, row_id: int) -> Row:
    """Return one row of a dataset.

    Raises
    ------
    AutopipeError
        If the row does not exist, or the file does not exist, is not an ASE database, or cannot be read.
    """
    if found := read_plain(path, row_id):
        return found[0]
    with Dataset(path) as dataset:
        return dataset.read(row_id)


def read_rows(path: Path) -> list[Row]:
    """Return all rows of a dataset, in the order of their ids.

    Raises
    ------
    AutopipeError
        If the file does not exist, is not an ASE database, or cannot be read.
    """
    found = read_plain(path)
    if found is not None:
        return found
    with Dataset(path) as dataset:
        return list(dataset.query())


def to_entry(row: Row, where: str) -> AtomsRow:
    """Return the structure and the labels of a row as the object that ASE's databases store.

    Raises
    ------
    AutopipeError
        If the structure was changed after its labels were computed. ``where`` names the row in the message.
    """
    from ase.db.row import AtomsRow, atoms2dict

    # A shallow copy without the calculator, which ASE would slowly compare with the structure.
    bare = copy(row.atoms)
    bare.calc = None
    content = atoms2dict(bare)
    if (calc := row.atoms.calc) is not None:
        if was_changed(row.atoms):
            # ASE would write the row without its labels, and without a warning.
            raise AutopipeError(
                Code.LABELS_OUTDATED,
                f'the structure of {where} was changed after its labels were computed',
            )
        # ASE writes the bytes of an array unchanged, but reads them as float64.
        results = {
            name: value.astype(float) if isinstance(value, np.ndarray) else value
            for name, value in calc.results.items()
        }
        content |= {'calculator': calc.name.lower(), 'calculator_parameters': calc.todict(), **results}
    entry = AtomsRow(content)
    # Datasets are shared, so they do not contain the name of the user. Equal rows give equal files, without times.
    entry.ctime, entry.user = 0.0, ''
    return entry
