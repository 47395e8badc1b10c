"""Write the dataset of a finished campaign to a file."""

from __future__ import annotations

import shutil
from pathlib import Path

from aiida import orm
from aiida.common import LinkType

from aiida_mlip_autopipe.core.atomic_write import atomic_write
from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.data.dataset import DatasetData
from aiida_mlip_autopipe.storage import Row
from aiida_mlip_autopipe.storage.formats.export import convert_rows
from aiida_mlip_autopipe.workflows.graph import TRAINING, output_of


def write_dataset(campaign: orm.WorkChainNode, path: Path, *, labels: str | None = None, force: bool = False) -> int:
    """Write the database of a campaign to a file. The file has a temporary name until it is complete.

    Parameters
    ----------
    campaign
        A campaign that has finished.
    path
        The file.
    labels
        The labels to write, if rows have several; see `choose_labels`. By default, the file is written as the graph
        contains it.
    force
        Whether to overwrite an existing file.

    Returns
    -------
    int
        The number of rows.

    Raises
    ------
    AutopipeError
        If the campaign has no dataset yet, the dataset is damaged, a row lacks the chosen labels, or the file exists.
    """
    if labels is not None:
        return convert_rows(path, read_rows(campaign), overwrite=force, format='db', labels=labels).n_rows
    return write_node(dataset_of(campaign), path, force=force)


def write_node(node: DatasetData, path: Path, *, force: bool = False) -> int:
    """Write the database of a node to a file, and return the number of its rows.

    Raises
    ------
    AutopipeError
        If the dataset is damaged, or the file exists and ``force`` is false.
    """
    with atomic_write(path, overwrite=force) as part, node.as_path() as source:
        shutil.copyfile(source, part)
    n_rows: int = node.base.attributes.get('n_structures')
    return n_rows


def read_rows(campaign: orm.WorkChainNode) -> list[Row]:
    """Return the rows of the dataset of a finished campaign.

    Raises
    ------
    AutopipeError
        If the campaign has no dataset yet.
    """
    rows: list[Row] = dataset_of(campaign).rows()
    return rows


def dataset_of(campaign: orm.WorkChainNode) -> DatasetData:
    """Return the dataset of a finished campaign, or that of the finished rounds.

    Raises
    ------
    AutopipeError
        If the campaign has no dataset yet.
    """
    dataset: DatasetData | None = output_of(campaign, 'dataset')
    if dataset is None:
        if (of_rounds := last_dataset(campaign)) is not None:
            return of_rounds
        if campaign.process_type == TRAINING:
            raise AutopipeError(
                Code.DATASET_MISSING,
                f"{campaign.pk} is a training run; write its model with 'mlip-autopipe train export {campaign.pk} -o "
                "FILE'",
            )
        state = campaign.exit_message or f'it is {campaign.process_state.value}'
        raise AutopipeError(Code.DATASET_MISSING, f'campaign {campaign.pk} has no dataset: {state}')
    return dataset


def last_dataset(campaign: orm.WorkChainNode) -> DatasetData | None:
    """Return the dataset of all rounds that have been labelled so far; None if there is none."""
    query = orm.QueryBuilder().append(orm.WorkChainNode, filters={'id': campaign.pk}, tag='campaign')
    of_datasets = {'type': LinkType.RETURN.value, 'label': {'like': r'rounds\_\_round\_%\_\_dataset'}}
    query.append(DatasetData, with_incoming='campaign', edge_filters=of_datasets, tag='dataset')
    found: DatasetData | None = query.order_by({'dataset': {'id': 'desc'}}).first(flat=True)
    return found
