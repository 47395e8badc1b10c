"""Write a file so that it appears under its name when it is complete, and not at all when something fails."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from aiida_mlip_autopipe.errors import AutopipeError


@contextmanager
def whole_file(path: Path, *, overwrite: bool) -> Iterator[Path]:
    """Yield the path to write to; when the block ends well, the file there gets its name.

    Raises
    ------
    AutopipeError
        If the file exists and may not be overwritten, or its folder does not exist.
    """
    if path.exists() and not overwrite:
        raise AutopipeError(f'{path} exists already and is not overwritten unless you say so')
    if not path.parent.is_dir():
        raise AutopipeError(f'there is no folder {path.parent} for the file {path.name}')
    with TemporaryDirectory(dir=path.parent, prefix=f'.{path.name}.') as folder:
        unfinished = Path(folder, path.name)
        yield unfinished
        os.replace(unfinished, path)
