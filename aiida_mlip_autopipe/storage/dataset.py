"""The dataset: an ASE SQLite database behind create, read, update, delete and query."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.structures.row import Row

if TYPE_CHECKING:
    from ase.db.row import AtomsRow


class Dataset:
    """An ASE SQLite database, used as a context manager.

    Everything inside one ``with`` is one transaction: all of it is written when the block ends, nothing when it
    raises.

    Parameters
    ----------
    path
        The file.
    create
        Whether to make the file where there is none.

    Raises
    ------
    AutopipeError
        If there is no such file, or it is no ASE database.

    Examples
    --------
    >>> with Dataset(Path('cu_au.db')) as dataset:  # doctest: +SKIP
    ...     hot = [row.atoms for row in dataset.query('temperature_K>900')]
    """

    def __init__(self, path: Path, *, create: bool = False):
        self.path = Path(path)
        if not create and not self.path.is_file():
            raise AutopipeError(Code.FILE_MISSING, f'there is no dataset {self.path}')
        if not self.path.parent.is_dir():
            raise AutopipeError(
                Code.FOLDER_MISSING, f'there is no folder {self.path.parent} for the dataset {self.path.name}'
            )
        from aiida_mlip_autopipe.storage.transaction import TransactionalDatabase

        self._database = TransactionalDatabase(str(self.path))

    def __enter__(self) -> Dataset:
        self._database.__enter__()
        try:
            # Reading anything makes ASE check the file's format, or lay out a new file.
            self._database.count()
        except (sqlite3.DatabaseError, OSError) as error:
            self._database.__exit__(type(error), error, None)
            raise AutopipeError(
                Code.FILE_UNREADABLE, f'{self.path} is no dataset that can be opened: {error}'
            ) from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._database.__exit__(kind, error, traceback)

    def __len__(self) -> int:
        return int(self._database.count())

    def create(self, rows: Iterable[Row]) -> list[int]:
        """Add rows; their numbers in other databases are ignored.

        Returns
        -------
        list of int
            Their numbers in the database, in the same order.

        Raises
        ------
        AutopipeError
            If the database refuses a key or a value; the message says of which row.
        """
        return [self._write(row, f'row {position}', None) for position, row in enumerate(rows)]

    def read(self, row_id: int) -> Row:
        """Return one row.

        Raises
        ------
        AutopipeError
            If there is no such row.
        """
        try:
            return _from_database(self._database.get(id=row_id))
        except KeyError:
            raise AutopipeError(Code.ROW_MISSING, f'there is no row {row_id} in {self.path}') from None

    def update(self, row: Row) -> None:
        """Replace the row of the same number.

        Raises
        ------
        AutopipeError
            If there is no such row, or the database refuses a key or a value.
        """
        if row.id is None:
            raise AutopipeError(Code.ROW_MISSING, 'a row that is in no database cannot be updated; create it')
        self.read(row.id)
        self._write(row, f'row {row.id}', row.id)

    def delete(self, row_ids: Sequence[int]) -> None:
        """Remove rows.

        Raises
        ------
        AutopipeError
            If one of them does not exist; then none is removed.
        """
        for row_id in row_ids:
            self.read(row_id)
        self._database.delete(list(row_ids))

    def query(self, selection: str = '', **equal: Any) -> Iterator[Row]:
        """Yield the rows that match, in the order of their numbers.

        Parameters
        ----------
        selection
            In ASE's words, as ``'Cu>2,temperature_K>900'``; all rows by default.
        equal
            Key-value pairs that a row must have.
        """
        for found in self._database.select(selection or None, sort='id', **equal):
            yield _from_database(found)

    def _write(self, row: Row, where: str, row_id: int | None) -> int:
        try:
            return int(self._database.write(to_entry(row, where), row.key_value_pairs, row.data, row_id))
        except ValueError as error:
            raise AutopipeError(Code.ROW_REFUSED, f'{where} cannot be written to {self.path}: {error}') from error


def to_entry(row: Row, where: str) -> AtomsRow:
    """Return structure and labels as ASE's databases take them.

    Raises
    ------
    AutopipeError
        If the labels are of another structure than the row's; ``where`` says which row.
    """
    from ase.db.core import now
    from ase.db.row import AtomsRow, atoms2dict

    described = atoms2dict(row.atoms.copy())
    if (calc := row.atoms.calc) is not None:
        if calc.check_state(row.atoms):
            # ASE would write the row without its labels and not say so.
            raise AutopipeError(
                Code.LABELS_OUTDATED,
                f'{where} has labels of another structure: it was changed after they were computed',
            )
        # ASE writes the bytes of an array as they are, and reads them as float64.
        results = {
            name: value.astype(float) if isinstance(value, np.ndarray) else value
            for name, value in calc.results.items()
        }
        described |= {'calculator': calc.name.lower(), 'calculator_parameters': calc.todict(), **results}
    entry = AtomsRow(described)
    # Who wrote a row is no part of a dataset that is handed on.
    entry.ctime, entry.user = now(), ''
    return entry


def _from_database(found: AtomsRow) -> Row:
    return Row(found.toatoms(), dict(found.key_value_pairs), dict(found.data), int(found.id))
