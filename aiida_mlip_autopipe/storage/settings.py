"""Settings of the storage stage."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, ValidationError

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError, CombinedError
from aiida_mlip_autopipe.core.fields import code_of, fault
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


def combine_faults(error: ValidationError, *places: str) -> CombinedError:
    """Return one error that lists all invalid settings, each with its code and place.

    Parameters
    ----------
    error
        The validation error.
    places
        Where the settings are, such as a file name.
    """
    return CombinedError(
        [
            AutopipeError(
                code_of(details),
                ': '.join([*places, *filter(None, ['.'.join(map(str, details['loc']))]), details['msg']]),
            )
            for details in error.errors()
        ]
    )
