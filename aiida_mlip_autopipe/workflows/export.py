"""The dataset of a finished campaign as a file of the user's."""

from __future__ import annotations

import os
from pathlib import Path

from aiida import orm

from aiida_mlip_autopipe.errors import AutopipeError


def write_dataset(campaign: orm.WorkChainNode, path: Path, *, force: bool = False) -> int:
    """Write the database of a campaign to a file, under a temporary name until it is whole.

    Parameters
    ----------
    campaign
        A campaign that has finished.
    path
        The file.
    force
        Whether an existing file is overwritten.

    Returns
    -------
    int
        The number of rows.

    Raises
    ------
    AutopipeError
        If the campaign has no dataset yet, or the file exists.
    """
    if 'dataset' not in campaign.outputs:
        state = campaign.exit_message or f'it is {campaign.process_state.value}'
        raise AutopipeError(f'campaign {campaign.pk} has no dataset: {state}')
    if path.exists() and not force:
        raise AutopipeError(f'{path} exists; --force overwrites it')
    temporary = path.with_name(f'.{path.name}.{os.getpid()}')
    try:
        temporary.write_bytes(campaign.outputs.dataset.get_content(mode='rb'))
        temporary.replace(path)
    except OSError as error:
        raise AutopipeError(f'{path} cannot be written: {error.strerror}') from error
    finally:
        temporary.unlink(missing_ok=True)
    return len(campaign.outputs.selection.get_array('frame'))
