"""Find the files to import, and the reader of each of them."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Iterator, Sequence
from fnmatch import fnmatch
from pathlib import Path

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.storage.imports.ase_files import read_database, read_extxyz, read_trajectory
from aiida_mlip_autopipe.storage.imports.frames import Candidate, Frame
from aiida_mlip_autopipe.storage.imports.quantum_espresso import read_pw
from aiida_mlip_autopipe.storage.imports.vasp import read_outcar, read_vasprun

Reader = Callable[[Path], Iterator[Candidate | Frame | AutopipeError]]
READERS: dict[str, Reader] = {
    'ASE database': read_database,
    'extended XYZ': read_extxyz,
    'ASE trajectory': read_trajectory,
    'vasprun.xml': read_vasprun,
    'OUTCAR': read_outcar,
    'output of pw.x': read_pw,
}
"""The reader of each format."""
DATABASES = ('*.db', '*.aselmdb')
# Names of the files that are read in a folder. Their content determines the format.
NAMES = (*DATABASES, '*.extxyz', '*.xyz', '*.traj', '*vasprun*.xml', '*OUTCAR*', '*.out', '*.pwo')
_BEGINNING = 4096  # bytes from which a format is recognised


def find_sources(paths: Sequence[Path], target: Path | None = None) -> tuple[list[tuple[Path, str]], list[Path]]:
    """Return the files to import with their formats, and the files that another file of the same folder replaces.

    Folders are searched at any depth for files with the names `NAMES`, which may end in ``.gz``. ``OUTCAR`` is left out
    if the same folder contains ``vasprun.xml``, which has more digits. ``target``, which an earlier import may have
    written, is also left out.

    Raises
    ------
    AutopipeError
        If a path does not exist, a file has an unknown format, or a folder contains no file with a known format.
    """
    found: dict[Path, str] = {}
    for path in paths:
        if path.is_dir():
            others = (file for file in _files(path) if target is None or file.resolve() != target.resolve())
            inside = {file: kind for file in others if (kind := format_of(file)) is not None}
            if not inside:
                raise AutopipeError(
                    Code.STRUCTURES_MISSING, f'{path} contains no file to import; such files match {", ".join(NAMES)}'
                )
            found |= inside
            continue
        if not path.is_file():
            raise AutopipeError(Code.FILE_MISSING, f'the file {path} does not exist')
        kind = format_of(path)
        if kind is None:
            raise AutopipeError(Code.FILE_UNREADABLE, f'{path} has none of the formats {", ".join(READERS)}')
        found[path] = kind
    given = set(paths)
    precise = {path.parent for path, kind in found.items() if kind == 'vasprun.xml'}
    replaced = [
        path for path, kind in found.items() if kind == 'OUTCAR' and path.parent in precise and path not in given
    ]
    return [(path, kind) for path, kind in found.items() if path not in replaced], replaced


def format_of(path: Path) -> str | None:
    """Return the format of a file, one of `READERS`; None if it is unknown."""
    if any(fnmatch(path.name, pattern) for pattern in DATABASES):
        return 'ASE database'
    try:
        with gzip.open(path) if path.suffix == '.gz' else path.open('rb') as file:
            start = file.read(_BEGINNING)
    except (OSError, EOFError, zlib.error) as error:
        raise AutopipeError(Code.FILE_UNREADABLE, f'{path} cannot be read: {error}') from error
    if start.startswith(b'- of Ulm'):
        return 'ASE trajectory'
    first, _, rest = start.lstrip().partition(b'\n')
    if first.startswith(b'vasp.'):
        return 'OUTCAR'
    if b'<modeling>' in start:
        return 'vasprun.xml'
    if b'Program PWSCF' in start:
        return 'output of pw.x'
    return 'extended XYZ' if first.strip().isdigit() and rest else None


def _files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob('*')):
        name = path.name.removesuffix('.gz')
        if path.is_file() and any(fnmatch(name, pattern) for pattern in NAMES):
            yield path
