"""Label a dataset with the results of a DFT code that ran elsewhere, and store where the labels come from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from aiida import orm

from aiida_mlip_autopipe.aiida_internals import use_cache
from aiida_mlip_autopipe.calculations.labelling.read_dft_labels import READING_VERSION, read_dft_labels
from aiida_mlip_autopipe.campaigns.export import write_node
from aiida_mlip_autopipe.core.atomic_write import refuse_existing
from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.data.dataset import DatasetData, find_dataset
from aiida_mlip_autopipe.storage import Dataset
from aiida_mlip_autopipe.storage.dft.files import list_files
from aiida_mlip_autopipe.storage.dft.labels import read_labels
from aiida_mlip_autopipe.storage.formats.export import Exported, convert_rows, find_format


@dataclass(frozen=True)
class LabelledFromFiles:
    """A dataset that was written with labels from files.

    Attributes
    ----------
    n_rows
        Number of rows.
    faults
        The reason why each of the other rows was left out.
    warnings
        A sentence about each energy that is far from those of similar compositions.
    remarks
        What the format does not store; see `convert_rows`.
    node
        The node of the labelled dataset; None if nothing was stored.
    """

    n_rows: int
    faults: tuple[AutopipeError, ...]
    warnings: tuple[str, ...]
    remarks: dict[str, int]
    node: DatasetData | None


def label_from_files(
    folder: Path, file: Path, output: Path, *, store: bool, skip_failed: bool = False, overwrite: bool = False
) -> LabelledFromFiles:
    """Write a dataset with the labels of a DFT code.

    Parameters
    ----------
    folder
        Folder of the calculations; see `label_rows`.
    file
        The dataset for which the inputs were written.
    output
        The file to write. Its suffix determines the format.
    store
        Whether to store in the loaded profile how the dataset was made: the files that are read, the dataset, the
        calculation that combines both, and the labelled dataset.
    skip_failed
        Whether to leave out rows without a valid calculation. If false, such a row is an error, and nothing is written
        or stored.
    overwrite
        Whether to replace an existing file.

    Raises
    ------
    AutopipeError
        If the file exists or has an unknown suffix, or as in `read_labels`.
    """
    refuse_existing(output, overwrite)
    target = find_format(output, None)
    with Dataset(file) as dataset:
        result = read_labels(folder, list(dataset.query()), skip_failed=skip_failed)
    node = _label_in_profile(folder, file, skip_failed) if store else None
    if node is not None and target == 'db':
        written = Exported(write_node(node, output, force=overwrite), {})
    else:
        written = convert_rows(output, result.rows if node is None else node.rows(), overwrite=overwrite)
    return LabelledFromFiles(written.n_rows, result.faults, result.warnings, written.remarks, node)


def _label_in_profile(folder: Path, file: Path, skip_failed: bool) -> DatasetData:
    """Read the labels again in a calcfunction, from copies of the checked files in the profile."""
    inputs = {
        'dataset': find_dataset(file) or DatasetData.from_file(file),
        'files': _make_folder_node(folder),
        'skip_failed': orm.Bool(skip_failed),
        'stage_version': orm.Str(READING_VERSION),
    }
    with use_cache('mlip_autopipe.read_dft_labels'):
        outputs, process = read_dft_labels.run_get_node(**inputs)
    if not process.is_finished_ok:
        raise AutopipeError(Code.CALCULATION_CHANGED, f'{folder}: {process.exit_message}')
    labelled: DatasetData = outputs['dataset']
    return labelled


def _make_folder_node(folder: Path) -> orm.FolderData:
    node = orm.FolderData()
    node.label = 'files of DFT calculations'
    for path in list_files(folder):
        node.base.repository.put_object_from_file(str(path.absolute()), str(path.relative_to(folder)))
    return node
