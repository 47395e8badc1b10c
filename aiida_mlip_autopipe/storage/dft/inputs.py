"""Write the inputs of a DFT code, a folder for each row, with an id that finds the way back."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from ase import Atoms
from pydantic import ValidationError

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.storage.dft.base import DftCode
from aiida_mlip_autopipe.storage.dft.quantum_espresso import QuantumEspresso
from aiida_mlip_autopipe.storage.dft.vasp import Vasp
from aiida_mlip_autopipe.structures.row import Row

CODES: dict[str, type[DftCode]] = {'quantum-espresso': QuantumEspresso, 'vasp': Vasp}
ID_FILE = 'row.json'


def make_code(settings: Mapping[str, Any], where: str) -> DftCode:
    """Make a code from its settings.

    Parameters
    ----------
    settings
        With ``code`` and what that code is told.
    where
        What the settings are read from, for the sentence.

    Raises
    ------
    AutopipeError
        With every fault, each with its place in the settings.
    """
    name = settings.get('code')
    if name not in CODES:
        raise AutopipeError(Code.CHOICE_UNKNOWN, f'{where}: code must be one of {", ".join(CODES)}, not {name}')
    code = CODES[name]
    try:
        return code(code.settings_class.model_validate(settings))
    except ValidationError as error:
        faults = (': '.join([*('.'.join(map(str, f['loc'])),) * bool(f['loc']), f['msg']]) for f in error.errors())
        raise AutopipeError(Code.CONFIG_INVALID, '\n'.join(f'{where}: {fault}' for fault in faults)) from None


def write_dft_inputs(folder: Path, rows: Sequence[Row], code: DftCode) -> list[Path]:
    """Write a folder for each row, named by its seed and step.

    The inputs are for a calculation of energy, forces and stress of the structure as it is: constraints are left out,
    which some codes would take as leave to print no force. ``row.json`` in each folder says which row it is of, and
    in what order the atoms stand.

    Parameters
    ----------
    folder
        A new folder; it appears under its name when it is complete.
    rows
        The rows; a row without labels is as good as any other.
    code
        The code, with its settings.

    Returns
    -------
    list of pathlib.Path
        The folder of each row.

    Raises
    ------
    AutopipeError
        If the folder exists, there is no row, two rows are the same frame, a row does not say its seed and step, or
        the settings do not serve for one.
    """
    if folder.exists():
        raise AutopipeError(Code.FOLDER_EXISTS, f'{folder} exists already; inputs are written to a new folder')
    if not folder.parent.is_dir():
        raise AutopipeError(Code.FOLDER_MISSING, f'there is no folder {folder.parent} for {folder.name}')
    if not rows:
        raise AutopipeError(Code.DATASET_EMPTY, 'there is no row to write inputs for')
    identities = [identity_of(row, place) for place, row in enumerate(rows)]
    if len(set(identities)) < len(identities):
        raise AutopipeError(Code.FRAME_TWICE, 'two rows are of the same seed and step: label the datasets one by one')
    names = [f'{seed}_{step}' for seed, step in identities]
    with TemporaryDirectory(dir=folder.parent, prefix=f'.{folder.name}.') as unfinished:
        for name, row, (seed, step) in zip(names, rows, identities, strict=True):
            inner = Path(unfinished, folder.name, name)
            inner.mkdir(parents=True)
            atoms, order = to_compute(row.atoms, code.settings.vacuum_A)
            try:
                code.write(inner, atoms)
            except AutopipeError as error:
                raise AutopipeError(error.code, f'{name}: {error}') from None
            about: dict[str, Any] = {
                'seed': seed,
                'step': step,
                'code': code.settings.code,
                'label_source': code.settings.label_source,
                'order': order,
            }
            (inner / ID_FILE).write_text(json.dumps(about) + '\n')
        os.replace(Path(unfinished, folder.name), folder)
    return [folder / name for name in names]


def identity_of(row: Row, place: int) -> tuple[str, int]:
    """Return seed and step of a row.

    Raises
    ------
    AutopipeError
        If the row does not say them.
    """
    try:
        return str(row.key_value_pairs['seed']), int(row.key_value_pairs['step'])
    except KeyError as missing:
        raise AutopipeError(
            Code.ROW_KEY_MISSING, f'row {place} has no {missing.args[0]}: it is no row of a campaign'
        ) from None


def to_compute(atoms: Atoms, vacuum_A: float) -> tuple[Atoms, list[int]]:
    """Return the structure as a plane-wave code wants it, and the place of each of its atoms in the row.

    Each element stands in one block, nothing is fixed, and directions that are not periodic have empty space.
    ``info['periodic']`` says which directions were periodic.
    """
    symbols = atoms.get_chemical_symbols()
    blocks = list(dict.fromkeys(symbols))
    order = sorted(range(len(atoms)), key=lambda place: (blocks.index(symbols[place]), place))
    computed = atoms[order]
    computed.set_constraint()
    computed.info = {'periodic': np.array(atoms.pbc)}
    computed.calc = None
    if not atoms.pbc.all():
        computed.center(vacuum=vacuum_A, axis=np.flatnonzero(~atoms.pbc))
        computed.pbc = True
    return computed, order
