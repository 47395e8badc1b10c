"""A calcfunction that reads the labels of a dataset from the outputs of a DFT code that ran elsewhere."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

from aiida import orm
from aiida.engine import ExitCode, calcfunction

from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.data.dataset import DatasetData
from aiida_mlip_autopipe.storage import export_dataset
from aiida_mlip_autopipe.storage.dft.labels import read_labels

READING_VERSION = '1'
"""Increase this if a change to `read_labels` changes its results, so that caching ignores older ones."""
ERROR_LABELS = 400


@calcfunction
def read_dft_labels(
    dataset: DatasetData, files: orm.FolderData, skip_failed: orm.Bool, stage_version: orm.Str
) -> Mapping[str, orm.Data] | ExitCode:
    """Read the labels of a dataset from the files of calculations whose inputs this program wrote.

    Parameters
    ----------
    dataset
        The dataset for which the inputs were written.
    files
        The files of the calculations: those that identify them, and the outputs of the DFT code.
    skip_failed
        Whether to leave out rows without a valid calculation.
    stage_version
        Version of this function; increased when its results change.

    Returns
    -------
    dict
        ``dataset``, in which each row keeps its previous labels, and ``report``, with the numbers of rows and the
        reasons why rows were left out.
    """
    with tempfile.TemporaryDirectory() as folder:
        calculations, database = Path(folder, 'calculations'), Path(folder, f'{Path(dataset.filename).stem}.db')
        files.base.repository.copy_tree(calculations)
        rows = dataset.rows()
        try:
            result = read_labels(calculations, rows, skip_failed=skip_failed.value)
            export_dataset(database, result.rows)
        except AutopipeError as error:
            return ExitCode(ERROR_LABELS, str(error).replace(f'{calculations}/', ''), invalidates_cache=True)
        labelled = DatasetData.from_file(database)
    report = {
        'n_rows': len(rows),
        'n_labelled': len(result.rows),
        'left_out': [str(fault).replace(f'{calculations}/', '') for fault in result.faults],
        'warnings': [warning.replace(f'{calculations}/', '') for warning in result.warnings],
    }
    return {'dataset': labelled, 'report': orm.Dict(report)}
