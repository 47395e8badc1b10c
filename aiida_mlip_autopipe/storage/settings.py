"""Settings of the storage stage."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.fields import OutputFile, fault
from aiida_mlip_autopipe.core.settings import Settings

MAX_NAME_LENGTH = 200
"""Maximum number of bytes in the name of a dataset. File systems allow 255, and temporary files have longer names."""


def _check_file_name(path: Path) -> Path:
    if path.suffix != '.db':
        nearest = str(path.with_suffix('.db')) if path.name else None
        raise fault(Code.FILE_SUFFIX, 'must end in .db, the suffix of an ASE SQLite database', nearest=nearest)
    if len(os.fsencode(path.name)) > MAX_NAME_LENGTH:
        raise fault(Code.WRONG_LENGTH, f'the name of the file must have at most {MAX_NAME_LENGTH} bytes')
    if not str(path).isprintable():
        raise fault(Code.WRONG_PATTERN, 'must consist of printable characters')
    return path


class StorageSettings(Settings):
    """Settings of the dataset file."""

    database: Annotated[OutputFile, AfterValidator(_check_file_name)] | None = None
    """File of the ASE SQLite database; by default, ``<name>.db`` in the folder where the campaign was submitted."""
