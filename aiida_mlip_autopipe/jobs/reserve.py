"""Disk space that a job keeps for its last words: on a full disk, or at a quota, it could not say why it ended."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# A result with all its events, and what a file system allots beside.
RESERVED_BYTES = 256 * 1024


@contextmanager
def space_reserved(folder: Path) -> Iterator[None]:
    """Hold space in a folder, and give it back at the end.

    Raises
    ------
    OSError
        If there is not even that much.
    """
    path = folder / '.reserve'
    try:
        with open(path, 'wb') as file:
            # Bytes that are written, since a file with a hole takes no space.
            file.write(os.urandom(RESERVED_BYTES))
        yield
    finally:
        path.unlink(missing_ok=True)
