"""Write extended XYZ files that MACE and SevenNet read without conversion."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.stress import voigt_6_to_full_3x3_stress

from aiida_mlip_autopipe.storage.formats.one_level import require_one_level
from aiida_mlip_autopipe.storage.formats.xyz_text import one_line
from aiida_mlip_autopipe.structures.rows.row import Row


def write_extxyz(path: Path, rows: Iterable[Row]) -> int:
    """Write rows with labels both as calculator results and as ``REF_energy``, ``REF_forces`` and ``REF_stress``.

    ASE reads the calculator results into a calculator, from which SevenNet takes the labels. ASE does not change the
    ``REF_`` entries, which MACE reads by default. The stress has ASE's sign convention and unit (eV/Å³, negative on the
    diagonal for a compressed crystal), and ``REF_stress`` is in Voigt order. The comment line contains the key-value
    pairs. The column ``fixed`` marks fixed atoms. They are not written as a constraint, because ASE would set the
    forces on them to zero. Numbers are rounded to eight decimals.

    Parameters
    ----------
    path
        The file to write.
    rows
        Rows with the same level of theory.

    Returns
    -------
    int
        Number of rows written.

    Raises
    ------
    AutopipeError
        If a row has no labels, or the levels of theory differ, because a model cannot be trained on several.
    """
    n_rows = 0
    with path.open('w') as file:
        for row in require_one_level(rows):
            file.write(frame_text(_with_labels(row)))
            n_rows += 1
    return n_rows


def config_type(row: Row) -> str:
    """Return the group of a row in which MACE reports its errors: its label, else its kind, else ``Default``."""
    pairs = row.key_value_pairs
    return one_line(str(pairs.get('label') or pairs.get('kind') or 'Default'))


def _with_labels(row: Row) -> Atoms:
    from ase.constraints import FixAtoms, constrained_indices

    atoms = row.atoms.copy()
    fixed = constrained_indices(atoms, only_include=FixAtoms)
    atoms.set_constraint()
    if len(fixed):
        atoms.set_array('fixed', np.isin(np.arange(len(atoms)), fixed))
    pairs = dict(row.key_value_pairs) | {'config_type': config_type(row)}
    atoms.info = {key: one_line(value) if isinstance(value, str) else value for key, value in pairs.items()}
    add_labels(atoms, row.labels)
    return atoms


def add_labels(atoms: Atoms, results: Mapping[str, Any]) -> None:
    """Add labels (energy, forces and, if there is one, stress, in ASE's units) to a frame, as `write_extxyz` does."""
    atoms.info['REF_energy'] = results['energy']
    atoms.arrays['REF_forces'] = results['forces']
    if 'stress' in results:
        atoms.info['REF_stress'] = results['stress']
    # The names of the results of a calculator, in the order in which ASE writes them.
    atoms.info['energy'] = results['energy']
    atoms.arrays['forces'] = results['forces']
    if 'stress' in results:
        atoms.info['stress'] = voigt_6_to_full_3x3_stress(results['stress'])


def frame_text(atoms: Atoms) -> str:
    """Return a frame as ASE's writer prints it. That writer formats the atoms one by one, which takes twice as long."""
    from ase.io.extxyz import output_column_format

    names = [name for name in atoms.arrays if name not in ('numbers', 'positions')]
    arrays = {'symbols': np.array(atoms.get_chemical_symbols()), 'positions': atoms.positions}
    arrays |= {name: atoms.arrays[name] for name in names}
    comment, _, _, line = output_column_format(atoms, list(arrays), arrays)
    columns = [column for array in arrays.values() for column in array.reshape(len(atoms), -1).T.tolist()]
    return f'{len(atoms)}\n{comment}\n' + ''.join([line % values for values in zip(*columns, strict=True)])
