"""Write a dataset to a file in one of the supported formats."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from aiida_mlip_autopipe.core.atomic_write import atomic_write, new_folder
from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.storage.dataset import Dataset
from aiida_mlip_autopipe.storage.formats.ace import write_ace
from aiida_mlip_autopipe.storage.formats.aselmdb import write_aselmdb
from aiida_mlip_autopipe.storage.formats.deepmd import write_deepmd
from aiida_mlip_autopipe.storage.formats.extxyz import write_extxyz
from aiida_mlip_autopipe.storage.formats.gap import write_gap
from aiida_mlip_autopipe.storage.formats.losses import Periodicity, prepare_rows
from aiida_mlip_autopipe.storage.formats.mace_hdf5 import write_mace_hdf5
from aiida_mlip_autopipe.storage.formats.nep import write_nep
from aiida_mlip_autopipe.storage.formats.one_level import require_one_level
from aiida_mlip_autopipe.storage.relabel import choose_labels
from aiida_mlip_autopipe.structures.rows.row import Row


@dataclass(frozen=True)
class Format:
    """A format of datasets.

    Attributes
    ----------
    about
        What the file is, for help texts.
    write
        A function that writes rows to a path, and returns their number.
    suffixes
        Suffixes of file names that determine this format.
    missing
        Features of rows that the format does not store, and what to do about it; see `prepare_rows`.
    periodicity
        Which periodic directions the format can store.
    is_folder
        Whether the format consists of a folder.
    one_level
        Whether all rows must have the same level of theory.
    """

    about: str
    write: Callable[[Path, Iterable[Row]], int]
    suffixes: tuple[str, ...] = ()
    missing: Mapping[str, str] = field(default_factory=dict)
    periodicity: Periodicity = 'any'
    is_folder: bool = False
    one_level: bool = True


@dataclass(frozen=True)
class Exported:
    """A dataset that was written.

    Attributes
    ----------
    n_rows
        Number of rows.
    remarks
        What the format does not store or what was changed, and the number of rows to which this applies.
    """

    n_rows: int
    remarks: dict[str, int]


def export_dataset(path: Path, rows: Iterable[Row], *, overwrite: bool = False, format: str | None = None) -> int:
    """Write rows to a file, and return their number; see `convert_rows`."""
    return convert_rows(path, rows, overwrite=overwrite, format=format).n_rows


def convert_rows(
    path: Path,
    rows: Iterable[Row],
    *,
    overwrite: bool = False,
    format: str | None = None,
    labels: str | None = None,
) -> Exported:
    """Write rows to a file or, for some formats, to a folder.

    The file or folder appears only when it is complete. If an error occurs, nothing is written.

    Parameters
    ----------
    path
        The file or folder.
    rows
        The rows, in the order of the file.
    overwrite
        Whether to replace an existing file. An existing folder is never replaced.
    format
        A key of `FORMATS`; by default, the suffix of the path determines the format.
    labels
        The labels to write, if rows have several; see `choose_labels`. By default, the current labels are written.

    Raises
    ------
    AutopipeError
        If the format or the suffix is not supported, the file exists, its folder does not exist, no rows are passed,
        a row lacks the chosen labels or cannot be written, or the levels of theory differ in a format for training.
    """
    path = Path(path)
    chosen = FORMATS[find_format(path, format)]
    if labels is not None:
        rows = choose_labels(rows, labels)
    remarks: Counter[str] = Counter()
    prepared: Iterator[Row] = prepare_rows(rows, chosen.missing, chosen.periodicity, remarks)
    if chosen.one_level:
        prepared = require_one_level(prepared)
    writing = new_folder(path) if chosen.is_folder else atomic_write(path, overwrite=overwrite)
    with writing as unfinished:
        n_rows = chosen.write(unfinished, prepared)
        if not n_rows:
            raise AutopipeError(Code.DATASET_EMPTY, f'{path} was not written, because no rows were found')
    return Exported(n_rows, dict(remarks))


def find_format(path: Path, format: str | None) -> str:
    """Return the name of the format of a file.

    Raises
    ------
    AutopipeError
        If the format is unknown, or no format is given and the suffix determines none.
    """
    if format is not None:
        if format not in FORMATS:
            raise AutopipeError(Code.CHOICE_UNKNOWN, f'format must be one of {", ".join(FORMATS)}; got {format}')
        return format
    for name, found in FORMATS.items():
        if path.name.endswith(found.suffixes):
            return name
    suffixes = ', '.join(suffix for found in FORMATS.values() for suffix in found.suffixes)
    others = ', '.join(name for name, found in FORMATS.items() if not found.suffixes)
    raise AutopipeError(
        Code.FILE_SUFFIX,
        f'{path} has an unsupported suffix; use one of {suffixes}, or choose another format with --format: {others}',
    )


def _write_database(path: Path, rows: Iterable[Row]) -> int:
    with Dataset(path, create=True) as dataset:
        return len(dataset.create(rows))


_STRUCTURE_ONLY = dict.fromkeys(('fixed atoms', 'magnetic moments', 'charges', 'tags', 'provenance'), '')

FORMATS: dict[str, Format] = {
    'db': Format('ASE database with exact values and provenance', _write_database, ('.db',), one_level=False),
    'extxyz': Format(
        'extended XYZ for MACE, SevenNet and others',
        write_extxyz,
        ('.extxyz', '.xyz'),
        {'fixed atoms': 'the column `fixed` marks them', 'provenance': 'the key-value pairs are stored'},
    ),
    'aselmdb': Format('database for fairchem', write_aselmdb, ('.aselmdb',)),
    'deepmd': Format(
        'folder of NumPy files for DeePMD-kit',
        write_deepmd,
        missing=_STRUCTURE_ONLY | {'energies of isolated atoms': ''},
        periodicity='all or none',
        is_folder=True,
    ),
    'nep': Format(
        'train.xyz of GPUMD for NEP',
        write_nep,
        missing=_STRUCTURE_ONLY | {'energies of isolated atoms': ''},
        periodicity='all',
    ),
    'gap': Format(
        'extended XYZ for gap_fit',
        write_gap,
        missing=_STRUCTURE_ONLY | {'energies of isolated atoms': 'pass them to gap_fit as e0'},
        periodicity='all',
    ),
    'ace': Format(
        'pickled table for pacemaker',
        write_ace,
        ('.pckl.gzip',),
        missing=_STRUCTURE_ONLY
        | {
            'stress': 'pacemaker does not train on it',
            'energy_corrected': 'set reference_energy for pacemaker, because energies of isolated atoms are unknown',
        },
        periodicity='all or none',
    ),
    'mace-hdf5': Format(
        'HDF5 file for MACE, as mace_prepare_data writes it',
        write_mace_hdf5,
        ('.h5', '.hdf5'),
        missing=_STRUCTURE_ONLY | {'energies of isolated atoms': 'pass them to MACE as E0s'},
    ),
}
"""The formats by name."""
