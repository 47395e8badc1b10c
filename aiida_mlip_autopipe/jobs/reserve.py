"""Disk space that a job reserves for its result. Otherwise, a job on a full disk could not write why it ended."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# Enough for a result with all its events, and for the overhead of the file system.
RESERVED_BYTES = 256 * 1024


@contextmanager
def space_reserved(folder: Path) -> Iterator[None]:
    """Reserve space in a folder, and free it at the end.

    Raises
    ------
    OSError
        If there is too little space.
    """
    path = folder / '.reserve'
    try:
        with open(path, 'wb') as file:
            # Random bytes, because a sparse or compressed file would take less space.
            file.write(os.urandom(RESERVED_BYTES))
        yield
    finally:
        path.unlink(missing_ok=True)
