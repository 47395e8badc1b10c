"""The reference dataset that a selection extends."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError

if TYPE_CHECKING:
    from ase import Atoms


def read_reference_dataset(path: Path) -> list[Atoms]:
    """Read all structures of a file.

    Parameters
    ----------
    path
        The file, in any format that ASE reads.

    Raises
    ------
    AutopipeError
        If the file is missing or unreadable, or contains no structures.
    """
    structures = list(_structures(path, ':'))
    if not structures:
        raise AutopipeError(Code.STRUCTURES_MISSING, f'{path} contains no structures')
    return structures


def check_reference_file(path: Path) -> None:
    """Check that the first structure of a file can be read. The others are not read, because there may be many.

    Raises
    ------
    AutopipeError
        If the file is missing or unreadable, or contains no structures.
    """
    if next(_structures(path, '0'), None) is None:
        raise AutopipeError(Code.STRUCTURES_MISSING, f'{path} contains no structures')


def _structures(path: Path, index: str) -> Iterator[Atoms]:
    from ase.db import connect
    from ase.io import iread

    if not path.is_file():
        raise AutopipeError(Code.FILE_MISSING, f'the reference dataset {path} does not exist')
    try:
        if path.suffix == '.db':
            # ASE's reader omits the key-value pairs of the rows.
            for row in connect(path).select():
                yield row.toatoms(add_additional_information=True)
        else:
            yield from iread(path, index)
    except Exception as error:  # ASE's readers raise various errors
        raise AutopipeError(Code.FILE_UNREADABLE, f'ASE cannot read structures from {path}: {error}') from error


def label_sources(structures: Iterable[Atoms]) -> list[str]:
    """Return the sources of the labels in the metadata of structures from a database or an extended XYZ file."""
    return sorted({str(pairs['label_source']) for pairs in map(_metadata, structures) if 'label_source' in pairs})


def count_splits(structures: Iterable[Atoms]) -> dict[str, int]:
    """Return the numbers of structures that are marked for training, validation and testing."""
    counts = Counter(str(pairs['split']) for pairs in map(_metadata, structures) if pairs.get('split'))
    return dict(sorted(counts.items()))


def _metadata(atoms: Atoms) -> dict[str, Any]:
    return {**atoms.info, **atoms.info.get('key_value_pairs', {})}
