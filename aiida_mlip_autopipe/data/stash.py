"""Where the copy of a full trajectory lies, and what its job leaves."""

from __future__ import annotations

from pathlib import PurePosixPath

from aiida import orm

REPORT_FILE = 'stashed.sha256'
LOG_FILE = 'stash.log'


def stash_folder(folder: str, source: orm.RemoteData, result: orm.Dict) -> str:
    """Return the folder of a copy: by the seed and the exploration's job, as the rows of a dataset name them.

    Parameters
    ----------
    folder
        The folder for all copies.
    source
        The folder of the exploration job.
    result
        What that job says of itself.
    """
    return str(PurePosixPath(folder, f'seed_{result["seed_id"]}', source.creator.uuid))
