"""A calcfunction that adds the rows of a round to those of the earlier rounds."""

from __future__ import annotations

import tempfile
from pathlib import Path

from aiida.engine import ExitCode, calcfunction
from aiida.orm import Str

from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.data.dataset import DatasetData
from aiida_mlip_autopipe.storage.dataset import Dataset
from aiida_mlip_autopipe.storage.merge import merge_datasets
from aiida_mlip_autopipe.storage.sets.keys import group_of

# Increase this if a change to this module, or to what it calls, changes the merged dataset.
MERGE_VERSION = '1'

ERROR_MERGE = 400


@calcfunction
def merge_rounds(earlier: DatasetData, dataset: DatasetData, stage_version: Str) -> dict[str, DatasetData] | ExitCode:
    """Write the rows of the earlier rounds, followed by those of the current one, to a database.

    Parameters
    ----------
    earlier
        The rows of the earlier rounds.
    dataset
        The rows of the current round.
    stage_version
        Version of this function; increased when its results change.

    Returns
    -------
    dict
        ``merged``: the database.
    """
    with tempfile.TemporaryDirectory() as folder, earlier.as_path() as first, dataset.as_path() as second:
        path = Path(folder) / dataset.filename
        try:
            merge_datasets([first, second], path)
        except AutopipeError as error:
            return ExitCode(ERROR_MERGE, str(error), invalidates_cache=True)
        if leaks := _groups_with_two_purposes(path):
            reason = f'these groups were used for testing in one round and for training in another: {", ".join(leaks)}'
            return ExitCode(ERROR_MERGE, reason, invalidates_cache=True)
        return {'merged': DatasetData.from_file(path)}


def _groups_with_two_purposes(path: Path) -> list[str]:
    """Return the groups that have rows in the test set and rows outside it."""
    purposes: dict[str, set[bool]] = {}
    with Dataset(path) as dataset:
        for index, row in enumerate(dataset.query()):
            is_test = row.key_value_pairs.get('split') == 'test'
            purposes.setdefault(group_of(row, index, 'parent'), set()).add(is_test)
    return sorted(group for group, found in purposes.items() if len(found) > 1)
