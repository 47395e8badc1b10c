"""Structures of an existing dataset that a selection shall extend."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from aiida_mlip_autopipe.errors import AutopipeError

if TYPE_CHECKING:
    from ase import Atoms


def file_sha256(path: Path) -> str:
    """Return the hash of a file's content, 64 hexadecimal digits."""
    with path.open('rb') as file:
        return hashlib.file_digest(file, 'sha256').hexdigest()


def read_given(path: Path, sha256: str | None) -> list[Atoms]:
    """Read all structures of a file.

    Parameters
    ----------
    path
        In any format that ASE reads.
    sha256
        The content that the settings were made for; None for any.

    Raises
    ------
    AutopipeError
        If the file is missing, has another content or cannot be read.
    """
    from ase.db import connect
    from ase.io import read

    if not path.is_file():
        raise AutopipeError(f'there is no file {path} with the structures given')
    if sha256 is not None and file_sha256(path) != sha256:
        raise AutopipeError(f'the content of {path} has changed since the config was read')
    try:
        if path.suffix == '.db':
            # ASE's reader leaves out what a row says of itself.
            return [row.toatoms(add_additional_information=True) for row in connect(path).select()]
        structures = read(path, ':')
    except Exception as error:  # ASE's readers raise whatever they stumble over
        raise AutopipeError(f'{path} cannot be read as structures: {error}') from error
    return [structures] if not isinstance(structures, list) else structures


def label_sources(structures: Iterable[Atoms]) -> list[str]:
    """Return the levels of theory that structures say their labels have, as read from a database or extended XYZ."""
    found = set()
    for atoms in structures:
        pairs = {**atoms.info, **atoms.info.get('key_value_pairs', {})}
        if 'label_source' in pairs:
            found.add(str(pairs['label_source']))
    return sorted(found)
