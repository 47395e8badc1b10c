"""Write a dataset as a whole."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory

from aiida_mlip_autopipe.errors import AutopipeError
from aiida_mlip_autopipe.storage.dataset import Dataset
from aiida_mlip_autopipe.storage.row import Row


def export_dataset(path: Path, rows: Iterable[Row], *, overwrite: bool = False) -> int:
    """Write rows to a new ASE SQLite database.

    The file appears under its name when it is complete, and not at all when something fails.

    Parameters
    ----------
    path
        The file to write.
    rows
        In the order they shall stand in the database.
    overwrite
        Whether to replace an existing file.

    Returns
    -------
    int
        How many rows were written.

    Raises
    ------
    AutopipeError
        If the file exists, its folder does not, there is no row, or one cannot be written.
    """
    path = Path(path)
    if path.exists() and not overwrite:
        raise AutopipeError(f'{path} exists already and is not overwritten unless you say so')
    if not path.parent.is_dir():
        raise AutopipeError(f'there is no folder {path.parent} for the dataset {path.name}')
    with TemporaryDirectory(dir=path.parent, prefix=f'.{path.name}.') as folder:
        unfinished = Path(folder, path.name)
        with Dataset(unfinished, create=True) as dataset:
            n_rows = len(dataset.create(rows))
        if not n_rows:
            raise AutopipeError(f'there is no row to write to {path}')
        os.replace(unfinished, path)
    return n_rows
