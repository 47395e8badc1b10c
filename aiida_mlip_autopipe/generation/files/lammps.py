"""Elements of the atoms in LAMMPS files, which may contain only the numbers of atom types."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.data import atomic_masses, atomic_numbers

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError

LAMMPS_FORMATS = ('lammps-data', 'lammps-dump-text')
# Maximum difference in u between a mass in a file and the mass of its element. Force fields round masses to 0.1 u.
MASS_TOLERANCE = 0.1
_HEADER_BYTES = 20_000


def is_lammps_data(path: Path) -> bool:
    """Return whether a file is a LAMMPS data file, regardless of its name."""
    with path.open('rb') as file:
        header = file.read(_HEADER_BYTES)
    return bool(re.search(rb'^\s*\d+\s+atoms\b.*^[^#\n]*\bxlo\s+xhi\b', header, re.MULTILINE | re.DOTALL))


def type_arguments(form: str, types: Sequence[str]) -> dict[str, Any]:
    """Return the arguments that pass the elements of the atom types to ASE's reader."""
    if not types:
        return {}
    if form == 'lammps-data':
        return {'Z_of_type': {number: atomic_numbers[symbol] for number, symbol in enumerate(types, 1)}}
    return {'specorder': list(types)} if form == 'lammps-dump-text' else {}


def check_lammps(path: Path, form: str, atoms: Atoms) -> None:
    """Refuse a structure whose elements the reader has guessed from the numbers of its types.

    Raises
    ------
    AutopipeError
        If the file contains neither symbols nor masses of elements.
    """
    if form == 'lammps-dump-text':
        number, columns = _columns(path)
        if {'element', 'mass'} & set(columns):
            return
        raise AutopipeError(
            Code.ELEMENTS_MISSING,
            f'{path}, line {number}: the dump has atom types but no elements; set lammps_types, for example '
            'lammps_types: [Cu, Au], or write the column element (dump_modify element)',
        )
    if _has_labels(path):
        return
    if not atoms.has('masses'):
        n_types = int(atoms.arrays['type'].max())
        raise AutopipeError(
            Code.ELEMENTS_MISSING,
            f'{path}: the file has neither elements nor masses of its atom types (number of types: {n_types}); '
            'set lammps_types, for example lammps_types: [Cu, Au]',
        )
    differences = np.abs(atoms.get_masses() - atomic_masses[atoms.numbers])
    if differences.max() > MASS_TOLERANCE:
        mass, number = atoms.get_masses()[differences.argmax()], atoms.arrays['type'][differences.argmax()]
        raise AutopipeError(
            Code.ELEMENTS_MISSING,
            f'{path}: the mass {mass:g} of atom type {number} is not that of an element; set lammps_types, for example '
            'lammps_types: [Cu, Au]',
        )


def _columns(path: Path) -> tuple[int, list[str]]:
    """Return the number of the first line that names the columns, and the columns."""
    with path.open(encoding='utf-8', errors='replace') as file:
        for number, line in enumerate(file, 1):
            if line.startswith('ITEM: ATOMS'):
                return number, line.split()[2:]
    return 1, []


def _has_labels(path: Path) -> bool:
    """Return whether the labels of the atom types are symbols of elements."""
    text = path.read_text(encoding='utf-8', errors='replace')
    section = re.search(r'^\s*Atom Type Labels.*\n\s*\n((?:\s*\d+\s+\S+.*\n)+)', text, re.MULTILINE)
    return section is not None and all(line.split()[1] in atomic_numbers for line in section[1].strip().splitlines())
