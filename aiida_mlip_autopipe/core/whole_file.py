"""Output files that are never overwritten unasked and never half written."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError


def refuse_existing(path: Path, overwrite: bool) -> None:
    """Refuse an output file that may not or cannot be written; called before any work is done for it.

    Parameters
    ----------
    path
        The file.
    overwrite
        Whether an existing file may be replaced.

    Raises
    ------
    AutopipeError
        If the file exists and may not be replaced, is a folder, or its folder does not exist.
    """
    if path.is_dir():
        raise AutopipeError(Code.NOT_A_FILE, f'{path} is a folder, not a file')
    if not path.parent.is_dir():
        raise AutopipeError(Code.FOLDER_MISSING, f'there is no folder {path.parent} for the file {path.name}')
    if path.exists() and not overwrite:
        raise AutopipeError(Code.FILE_EXISTS, f'{path} exists already and is not overwritten without --force')


@contextmanager
def whole_file(path: Path, *, overwrite: bool) -> Iterator[Path]:
    """Yield the path to write to; when the block ends well, the file there gets its name.

    When it does not, nothing is left of the file, and one that was there before is as it was.

    Raises
    ------
    AutopipeError
        If the file may not or cannot be written.
    """
    refuse_existing(path, overwrite)
    try:
        folder = TemporaryDirectory(dir=path.parent, prefix=f'.{path.name}.')
    except OSError as error:
        raise AutopipeError(Code.FILE_UNWRITABLE, f'{path} cannot be written: {error.strerror}') from error
    with folder:
        unfinished = Path(folder.name, path.name)
        yield unfinished
        os.replace(unfinished, path)
