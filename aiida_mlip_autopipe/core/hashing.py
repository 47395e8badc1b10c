"""Hashes of files."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import IO

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError

CHUNK = 1 << 20
"""Bytes read at a time, since model files are large."""


def file_sha256(path: Path) -> str:
    """Return the sha256 of a file's content, 64 hexadecimal digits.

    Raises
    ------
    AutopipeError
        If the file cannot be read.
    """
    try:
        with path.open('rb') as file:
            return stream_sha256(file)
    except OSError as error:
        code = Code.FILE_MISSING if isinstance(error, FileNotFoundError) else Code.FILE_UNREADABLE
        raise AutopipeError(code, f'{path} cannot be read: {error.strerror}') from error


def stream_sha256(stream: IO[bytes]) -> str:
    """Return the sha256 of the rest of a stream. `hashlib.file_digest` refuses the streams of AiiDA's repository."""
    digest = hashlib.sha256()
    while chunk := stream.read(CHUNK):
        digest.update(chunk)
    return digest.hexdigest()
