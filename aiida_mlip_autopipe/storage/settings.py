"""Settings of the storage stage."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.fields import fault
from aiida_mlip_autopipe.core.settings import Settings


def _refuse_other_suffix(path: Path) -> Path:
    if path.suffix != '.db':
        raise fault(
            Code.FILE_SUFFIX,
            'must end in .db, the suffix of an ASE SQLite database',
            nearest=str(path.with_suffix('.db')),
        )
    return path


class StorageSettings(Settings):
    """Settings of the dataset file."""

    database: Annotated[Path, AfterValidator(_refuse_other_suffix)] | None = None
    """File of the ASE SQLite database; by default, ``<name>.db`` in the folder where the campaign was submitted."""
