"""The folder for the copy of a full trajectory, and the output files of the job that copies it."""

from __future__ import annotations

from pathlib import PurePosixPath

from aiida import orm

REPORT_FILE = 'stashed.sha256'
LOG_FILE = 'stash.log'


def stash_folder(folder: str, source: orm.RemoteData, result: orm.Dict) -> str:
    """Return the folder for a copy. It is named after the seed and the exploration job, as in the rows of a dataset.

    Parameters
    ----------
    folder
        The folder that contains all copies.
    source
        The folder of the exploration job.
    result
        The result of the exploration job.
    """
    return str(PurePosixPath(folder, f'seed_{result["seed_id"]}', source.creator.uuid))
