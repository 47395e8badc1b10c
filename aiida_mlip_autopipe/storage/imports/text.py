"""Open text files, which may be compressed."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import IO


def open_text(path: Path) -> IO[str]:
    """Open a text file or, if its name ends in ``.gz``, a text file compressed by gzip."""
    return gzip.open(path, 'rt', errors='replace') if path.suffix == '.gz' else path.open(errors='replace')
