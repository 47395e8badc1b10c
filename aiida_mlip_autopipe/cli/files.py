"""Output files: never overwritten unasked, never half written."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from aiida_mlip_autopipe.errors import AutopipeError


def refuse_existing(path: Path, force: bool) -> None:
    """Refuse an output file that cannot be written; called before any work is done for it.

    Parameters
    ----------
    path
        The file.
    force
        Whether an existing file may be overwritten.

    Raises
    ------
    AutopipeError
        If the file exists, is a folder, or its folder does not exist.
    """
    if path.is_dir():
        raise AutopipeError(f'{path} is a folder, not a file')
    if not path.absolute().parent.is_dir():
        raise AutopipeError(f'there is no folder {path.parent} to write {path.name} into')
    if path.exists() and not force:
        raise AutopipeError(f'{path} exists already; --force overwrites it')


@contextmanager
def written_whole(path: Path) -> Iterator[TextIO]:
    """Open a file that gets its name only when all of it is written; after an error nothing is left of it."""
    part = path.with_name(f'.{path.name}.{os.getpid()}.part')
    try:
        file = part.open('w', encoding='utf-8')
    except OSError as error:
        raise AutopipeError(f'{path} cannot be written: {error.strerror}') from error
    try:
        with file:
            yield file
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
