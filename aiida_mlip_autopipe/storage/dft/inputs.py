"""Write the inputs of a DFT code to one folder per row, with a file that identifies the row."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, NamedTuple

import numpy as np
from ase import Atoms
from pydantic import ValidationError

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.core.phrases import combine_faults
from aiida_mlip_autopipe.storage.dft.base import DftCode
from aiida_mlip_autopipe.storage.dft.isolated_atoms import REQUESTED, hash_settings, write_isolated_atoms
from aiida_mlip_autopipe.storage.dft.quantum_espresso import QuantumEspresso
from aiida_mlip_autopipe.storage.dft.spin import choose_spin, set_moments
from aiida_mlip_autopipe.storage.dft.vasp import Vasp
from aiida_mlip_autopipe.storage.imports.levels import ID_FILE
from aiida_mlip_autopipe.structures.rows.labels import DFT_SETTINGS
from aiida_mlip_autopipe.structures.rows.row import Row
from aiida_mlip_autopipe.structures.vacuum import extended_directions


class FrameName(NamedTuple):
    """What a calculation is for. A DFT calculation does not depend on the current labels of the frame.

    Attributes
    ----------
    run
        UUID of the exploration job that made the frame; for a row without one, the seed.
    step
        Absolute step of the frame.
    seed
        Its seed, for messages and names.
    """

    run: str
    step: int
    seed: str


CODES: dict[str, type[DftCode]] = {'quantum-espresso': QuantumEspresso, 'vasp': Vasp}


def make_code(settings: Mapping[str, Any], where: str) -> DftCode:
    """Create a DFT code from its settings.

    Parameters
    ----------
    settings
        The name of the code under ``code``, and the settings of this code.
    where
        Where the settings come from, for the error message.

    Raises
    ------
    AutopipeError
        If settings are invalid. The message lists all of them with their places.
    """
    name = settings.get('code')
    if name not in CODES:
        raise AutopipeError(Code.CHOICE_UNKNOWN, f'{where}: code must be one of {", ".join(CODES)}; got {name}')
    code = CODES[name]
    try:
        return code(code.settings_class.model_validate(settings))
    except ValidationError as error:
        raise combine_faults(error, code.settings_class, where) from None


def write_dft_inputs(
    folder: Path, rows: Sequence[Row], code: DftCode, *, isolated_atoms: Literal['add', 'omit', 'only'] = 'omit'
) -> list[Path]:
    """Write a folder for each row, named after its seed, its step and, if a seed has several runs, its run.

    The inputs are for a single-point calculation of energy, forces and stress. Constraints are omitted, because some
    codes print no forces for fixed atoms. ``row.json`` in each folder contains the identity of the row and the order of
    the atoms.

    Parameters
    ----------
    folder
        A new folder. It appears only when it is complete.
    rows
        The rows. They do not need labels.
    code
        The code, with its settings.
    isolated_atoms
        Whether to add a folder for an isolated atom of each element, omit these folders, or write only these. Trainers
        need the energies of isolated atoms.

    Returns
    -------
    list of pathlib.Path
        The folder of each row, and then those of isolated atoms.

    Raises
    ------
    AutopipeError
        If the folder exists, no rows are passed, two rows are the same frame, a row does not contain its seed and step,
        or the settings are unsuitable for a row.
    """
    if folder.exists():
        raise AutopipeError(Code.FOLDER_EXISTS, f'{folder} already exists; inputs must be written to a new folder')
    if not folder.parent.is_dir():
        raise AutopipeError(Code.FOLDER_MISSING, f'the folder {folder.parent} of {folder.name} does not exist')
    if not rows:
        raise AutopipeError(Code.DATASET_EMPTY, 'no inputs were written, because no rows were found')
    labelled = [] if isolated_atoms == 'only' else list(rows)
    frames = [frame_of(row, index) for index, row in enumerate(labelled)]
    if duplicates := [frame for frame, n_rows in Counter(frames).items() if n_rows > 1]:
        run, step, seed = duplicates[0]
        raise AutopipeError(
            Code.FRAME_TWICE, f'step {step} of {seed} (run {run}) is in two rows; label each dataset separately'
        )
    names = _folder_names(frames)
    spin = choose_spin(code, (row.atoms for row in labelled))
    of_all = {
        DFT_SETTINGS: hash_settings(code),
        'code': code.settings.code,
        'label_source': code.settings.label_source,
    }
    settings = code.settings.model_dump(mode='json')
    with TemporaryDirectory(dir=folder.parent, prefix=f'.{folder.name}.') as unfinished:
        for name, row, frame in zip(names, labelled, frames, strict=True):
            inner = Path(unfinished, folder.name, name)
            inner.mkdir(parents=True)
            atoms, order = prepare_structure(row.atoms, code.settings.vacuum_A)
            try:
                set_moments(atoms, code, spin=spin)
                requested = code.write(inner, atoms, spin=spin)
            except AutopipeError as error:
                raise AutopipeError(error.code, f'{name}: {error}') from None
            about: dict[str, Any] = {
                **frame._asdict(),
                **of_all,
                'order': order,
                REQUESTED: requested,
                'settings': settings,
            }
            (inner / ID_FILE).write_text(json.dumps(about) + '\n')
        if isolated_atoms != 'omit':
            inner = Path(unfinished, folder.name)
            inner.mkdir(exist_ok=True)
            symbols = {symbol for row in rows for symbol in row.atoms.get_chemical_symbols()}
            names += [one.name for one in write_isolated_atoms(inner, symbols, code)]
        os.replace(Path(unfinished, folder.name), folder)
    return [folder / name for name in names]


def frame_of(row: Row, index: int) -> FrameName:
    """Return the run, the step and the seed of a row.

    Raises
    ------
    AutopipeError
        If the row does not contain them.
    """
    pairs = row.key_value_pairs
    try:
        return FrameName(str(pairs.get('exploration', pairs['seed'])), int(pairs['step']), str(pairs['seed']))
    except KeyError as missing:
        raise AutopipeError(
            Code.ROW_KEY_MISSING, f'row {index} has no {missing.args[0]}, so it is not a row of a campaign'
        ) from None


def _folder_names(frames: Sequence[FrameName]) -> list[str]:
    """Return unique names: the seed and the step, and the beginning of the run if a seed has several runs."""
    runs: dict[str, set[str]] = {}
    for frame in frames:
        runs.setdefault(frame.seed, set()).add(frame.run)
    return [
        f'{frame.seed}_{frame.step}' + (f'_{frame.run[:8]}' if len(runs[frame.seed]) > 1 else '') for frame in frames
    ]


def prepare_structure(atoms: Atoms, vacuum_A: float) -> tuple[Atoms, list[int]]:
    """Return the structure for a plane-wave code, and the index of each of its atoms in the row.

    Its atoms are sorted into one block per element, it has no constraints, and non-periodic directions have vacuum.
    ``info['extended']`` states along which cell vectors it is periodic and has no vacuum.
    """
    symbols = atoms.get_chemical_symbols()
    blocks = list(dict.fromkeys(symbols))
    order = sorted(range(len(atoms)), key=lambda index: (blocks.index(symbols[index]), index))
    computed = atoms[order]
    computed.set_constraint()
    computed.calc = None
    if not atoms.pbc.all():
        computed.center(vacuum=vacuum_A, axis=np.flatnonzero(~atoms.pbc))
    computed.info = {'extended': extended_directions(computed)}
    computed.pbc = True
    return computed, order
