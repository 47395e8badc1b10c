"""Write a dataset to a file in one of the supported formats."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from aiida_mlip_autopipe.core.atomic_write import atomic_write
from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.storage.dataset import Dataset
from aiida_mlip_autopipe.storage.formats.aselmdb import write_aselmdb
from aiida_mlip_autopipe.storage.formats.extxyz import write_extxyz
from aiida_mlip_autopipe.structures.row import Row


def export_dataset(path: Path, rows: Iterable[Row], *, overwrite: bool = False) -> int:
    """Write rows to a file. Its suffix determines the format.

    The file appears only when it is complete. If an error occurs, no file is written.

    Parameters
    ----------
    path
        The file. ``.db`` is an ASE SQLite database with exact values. ``.extxyz`` and ``.xyz`` are text files that
        MACE and SevenNet train on; see `write_extxyz`. ``.aselmdb`` is a database that fairchem trains on; see
        `write_aselmdb`.
    rows
        The rows, in the order of the file.
    overwrite
        Whether to replace an existing file.

    Returns
    -------
    int
        Number of rows written.

    Raises
    ------
    AutopipeError
        If the suffix is not supported, the file exists, its folder does not exist, no rows are passed, or a row cannot
        be written.
    """
    path = Path(path)
    writers = {'.db': _write_database, '.extxyz': write_extxyz, '.xyz': write_extxyz, '.aselmdb': write_aselmdb}
    if path.suffix not in writers:
        raise AutopipeError(Code.FILE_SUFFIX, f'{path} has an unsupported suffix; use one of {", ".join(writers)}')
    with atomic_write(path, overwrite=overwrite) as unfinished:
        n_rows = writers[path.suffix](unfinished, rows)
        if not n_rows:
            raise AutopipeError(Code.DATASET_EMPTY, f'{path} was not written, because no rows were found')
    return n_rows


def _write_database(path: Path, rows: Iterable[Row]) -> int:
    with Dataset(path, create=True) as dataset:
        return len(dataset.create(rows))
