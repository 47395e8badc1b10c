"""A calcfunction that removes the campaign from the rows of a dataset."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from aiida.engine import ExitCode, calcfunction
from aiida.orm import Str

from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.data.dataset import DatasetData
from aiida_mlip_autopipe.storage import Row, export_dataset
from aiida_mlip_autopipe.structures.rows.provenance import EXTENDS

# Increase this if a change to this module changes the rows.
REMOVE_VERSION = '1'

ERROR_REMOVE = 400
REPLACED = {'campaign': 'any', 'config_sha256': '0' * 64}
"""The fields that differ between a campaign and one that extends it, and what they are replaced with."""


@calcfunction
def remove_campaign(dataset: DatasetData, stage_version: Str) -> DatasetData | ExitCode:
    """Write the rows without the name and the config of their campaign.

    A job is taken from the cache if its inputs are equal. With these rows, the training runs of a campaign do not
    depend on its name, its target or its label budget, so a campaign that extends it does not repeat them.

    Parameters
    ----------
    dataset
        The rows of all rounds so far.
    stage_version
        Version of this function; increased when its results change.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / 'rows.db'
        try:
            export_dataset(path, _without_campaign(dataset.rows()))
        except AutopipeError as error:
            return ExitCode(ERROR_REMOVE, str(error), invalidates_cache=True)
        return DatasetData.from_file(path)


def _without_campaign(rows: list[Row]) -> Iterator[Row]:
    for row in rows:
        provenance = row.provenance.model_copy(update={**REPLACED, EXTENDS: None})
        pairs = provenance.key_value_pairs()
        replaced = {name: pairs[name] for name in REPLACED}
        yield replace(
            row,
            key_value_pairs=row.key_value_pairs | replaced,
            data=row.data | {'provenance': provenance.model_dump()},
            id=None,
        )
