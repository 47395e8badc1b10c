"""A reference dataset, from a file or from an earlier campaign."""

from __future__ import annotations

from pathlib import Path

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.core.fields import FromCampaign
from aiida_mlip_autopipe.data.dataset import DatasetData
from aiida_mlip_autopipe.sampling.pool.reference_dataset import read_sets_of_groups
from aiida_mlip_autopipe.structures.rows.splits import Split
from aiida_mlip_autopipe.workflows.graph import load_campaign


def reference_dataset(source: Path | FromCampaign, place: str) -> DatasetData:
    """Return the node of a reference dataset. If it is made from a file, it is not stored.

    Parameters
    ----------
    source
        The value of ``reference_dataset``.
    place
        The section that contains it, for messages.

    Raises
    ------
    AutopipeError
        If the file cannot be read, or the campaign does not exist or has no dataset.
    """
    try:
        return DatasetData.from_file(source) if isinstance(source, Path) else _dataset_of(source.campaign)
    except AutopipeError as error:
        raise AutopipeError(error.code, f'{place}.reference_dataset: {error}') from error


def sets_of_reference(source: Path | FromCampaign | None) -> dict[str, set[Split]]:
    """Return the sets of each group of ``sampling.reference_dataset``; empty without a reference dataset.

    Raises
    ------
    AutopipeError
        If the file cannot be read, or the campaign does not exist or has no dataset.
    """
    if source is None:
        return {}
    try:
        if isinstance(source, Path):
            return read_sets_of_groups(source)
        with _dataset_of(source.campaign).as_path() as path:
            return read_sets_of_groups(path)
    except AutopipeError as error:
        raise AutopipeError(error.code, f'sampling.reference_dataset: {error}') from error


def _dataset_of(identifier: str) -> DatasetData:
    campaign = load_campaign(identifier)
    if not campaign.is_finished_ok:
        state = campaign.exit_message or f'it is {campaign.process_state.value}'
        raise AutopipeError(Code.DATASET_MISSING, f'campaign {identifier!r} has no dataset: {state}')
    dataset: DatasetData = campaign.outputs.dataset
    return dataset
