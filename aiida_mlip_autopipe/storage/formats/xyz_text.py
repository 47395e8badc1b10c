"""Write frames as extended XYZ text with chosen entries, for programs that read only these."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TextIO

import numpy as np
from ase import Atoms

LINE = '%-2s' + ' %16.10f' * 6 + '\n'


def write_frame(file: TextIO, atoms: Atoms, forces: np.ndarray, entries: Mapping[str, str], *, name: str) -> None:
    """Write a frame with its cell, positions and forces, rounded to ten decimals.

    Parameters
    ----------
    file
        The open file.
    atoms
        The structure.
    forces
        Forces in eV/Å, shape (n, 3).
    entries
        Further entries of the comment line. Text is quoted if it contains anything but letters, digits and ``_.:+-``.
    name
        Name of the column of the forces.
    """
    comment = [
        f'Lattice="{numbers(atoms.cell.array)}"',
        f'Properties=species:S:1:pos:R:3:{name}:R:3',
        *(f'{key}={_quote(value)}' for key, value in entries.items()),
        'pbc="' + ' '.join('T' if periodic else 'F' for periodic in atoms.pbc) + '"',
    ]
    file.write(f'{len(atoms)}\n{" ".join(comment)}\n')
    values = np.hstack([atoms.positions, forces]).tolist()
    symbols = atoms.get_chemical_symbols()
    file.write(''.join(LINE % (symbol, *row) for symbol, row in zip(symbols, values, strict=True)))


def one_line(text: str) -> str:
    """Return text without line breaks, because the comment of a frame is one line."""
    return ' '.join(text.splitlines())


def _quote(text: str) -> str:
    if re.fullmatch(r'[\w.:+-]+', text):
        return text
    escaped = one_line(text).replace('\\', '\\\\').replace('"', '\\"')
    return f'"{escaped}"'


def numbers(values: np.ndarray) -> str:
    """Return the values as text with ten decimals, separated by spaces."""
    return ' '.join(f'{value:.10f}' for value in np.asarray(values).ravel().tolist())
