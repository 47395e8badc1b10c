"""Output files and folders that are overwritten only on request and are never left incomplete."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError


def refuse_existing(path: Path, overwrite: bool) -> None:
    """Refuse an output file that may not be overwritten or cannot be written, before its content is computed.

    Parameters
    ----------
    path
        The file.
    overwrite
        Whether an existing file is replaced.

    Raises
    ------
    AutopipeError
        If the file exists and is not replaced, the path is that of a folder, a link or a device, or the folder of the
        file does not exist.
    """
    if path.is_dir():
        raise AutopipeError(Code.NOT_A_FILE, f'{path} is a folder, not a file')
    if not path.parent.is_dir():
        raise AutopipeError(Code.FOLDER_MISSING, f'the folder {path.parent} of the file {path.name} does not exist')
    if not os.path.lexists(path):
        return
    if not overwrite:
        raise AutopipeError(Code.FILE_EXISTS, f'{path} already exists; overwrite it with --force')
    if path.is_symlink() or not path.is_file():
        what = f'a symbolic link to {os.readlink(path)}' if path.is_symlink() else 'not a regular file'
        raise AutopipeError(Code.NOT_A_FILE, f'{path} is {what}; only regular files are overwritten')


@contextmanager
def atomic_write(path: Path, *, overwrite: bool) -> Iterator[Path]:
    """Yield a temporary path. If the block succeeds, the file written there is renamed to the final path.

    If it fails, the temporary file is removed, and an existing file at the final path is not changed.

    Raises
    ------
    AutopipeError
        If the file may not be overwritten or cannot be written, or the disk is full.
    """
    refuse_existing(path, overwrite)
    with _temporary_folder(path) as folder:
        unfinished = Path(folder, path.name)
        with _full_disk(path):
            yield unfinished
        os.replace(unfinished, path)


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Yield the path of an empty temporary folder. If the block succeeds, it is renamed to the final path.

    If it fails, the temporary folder is removed.

    Raises
    ------
    AutopipeError
        If the path exists, or its parent folder does not exist or cannot be written, or the disk
        is full.
    """
    if os.path.lexists(path):
        raise AutopipeError(Code.FOLDER_EXISTS, f'{path} already exists; choose the name of a new folder')
    if not path.parent.is_dir():
        raise AutopipeError(Code.FOLDER_MISSING, f'the folder {path.parent} of {path.name} does not exist')
    with _temporary_folder(path) as folder:
        unfinished = Path(folder, path.name)
        unfinished.mkdir()
        with _full_disk(path):
            yield unfinished
        os.replace(unfinished, path)


@contextmanager
def _full_disk(path: Path) -> Iterator[None]:
    """Name the final path, and not the temporary one, if the disk is full."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        raise AutopipeError(Code.FILE_UNWRITABLE, f'{path} cannot be written: {error.strerror}') from error


def _temporary_folder(path: Path) -> TemporaryDirectory[str]:
    """Return a hidden folder next to a path."""
    try:
        return TemporaryDirectory(dir=path.parent, prefix=f'.{path.name}.')
    except OSError as error:
        raise AutopipeError(Code.FILE_UNWRITABLE, f'{path} cannot be written: {error.strerror}') from error
