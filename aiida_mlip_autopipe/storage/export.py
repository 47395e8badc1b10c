"""Write a dataset as a whole."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.core.whole_file import whole_file
from aiida_mlip_autopipe.storage.aselmdb import write_aselmdb
from aiida_mlip_autopipe.storage.dataset import Dataset
from aiida_mlip_autopipe.storage.extxyz import write_extxyz
from aiida_mlip_autopipe.structures.row import Row


def export_dataset(path: Path, rows: Iterable[Row], *, overwrite: bool = False) -> int:
    """Write rows to a new file, whose suffix names the format.

    The file appears under its name when it is complete, and not at all when something fails.

    Parameters
    ----------
    path
        ``.db``, an ASE SQLite database, exact; ``.extxyz`` or ``.xyz``, a text file that MACE and SevenNet train on,
        see `write_extxyz`; ``.aselmdb``, which fairchem trains on, see `write_aselmdb`.
    rows
        In the order they shall stand in the file.
    overwrite
        Whether to replace an existing file.

    Returns
    -------
    int
        How many rows were written.

    Raises
    ------
    AutopipeError
        If the suffix is of no format, the file exists, its folder does not, there is no row, or one cannot be written.
    """
    path = Path(path)
    writers = {'.db': _write_database, '.extxyz': write_extxyz, '.xyz': write_extxyz, '.aselmdb': write_aselmdb}
    if path.suffix not in writers:
        raise AutopipeError(Code.FILE_SUFFIX, f'{path} has a suffix of no format; there are {", ".join(writers)}')
    with whole_file(path, overwrite=overwrite) as unfinished:
        n_rows = writers[path.suffix](unfinished, rows)
        if not n_rows:
            raise AutopipeError(Code.DATASET_EMPTY, f'there is no row to write to {path}')
    return n_rows


def _write_database(path: Path, rows: Iterable[Row]) -> int:
    with Dataset(path, create=True) as dataset:
        return len(dataset.create(rows))
