"""Read labels from the results of a DFT code into the rows for which its inputs were written."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from aiida_mlip_autopipe.core.atomic_write import refuse_existing
from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError, CombinedError
from aiida_mlip_autopipe.storage.dataset import Dataset
from aiida_mlip_autopipe.storage.dft.base import DftResult
from aiida_mlip_autopipe.storage.dft.inputs import CODES, ID_FILE, FrameName, frame_of
from aiida_mlip_autopipe.storage.formats.export import export_dataset
from aiida_mlip_autopipe.structures.level import LevelOfTheory
from aiida_mlip_autopipe.structures.row import ISOLATED_ATOMS, Row
from aiida_mlip_autopipe.structures.row_keys import LEVEL

# DFT codes print rounded positions and cells. An ionic step would move atoms by more than this.
TOLERANCE_A = 1e-3


@dataclass(frozen=True)
class LabelResult:
    """Rows with new labels.

    Attributes
    ----------
    rows
        The rows with new labels, in the order of the dataset.
    faults
        The reason why each of the other rows has no new labels.
    """

    rows: tuple[Row, ...]
    faults: tuple[AutopipeError, ...]


@dataclass(frozen=True)
class LabelledDataset:
    """A dataset that was written with new labels.

    Attributes
    ----------
    n_rows
        Number of rows.
    faults
        The reason why each of the other rows was left out.
    """

    n_rows: int
    faults: tuple[AutopipeError, ...]


def label_dataset(
    folder: Path, file: Path, output: Path, *, skip_failed: bool = False, overwrite: bool = False
) -> LabelledDataset:
    """Write a dataset with the labels of a DFT code.

    Parameters
    ----------
    folder
        Folder of the calculations; see `label_rows`.
    file
        The dataset for which the inputs were written.
    output
        The file to write. Its suffix determines the format.
    skip_failed
        Whether to leave out rows without a valid calculation. If false, such a row is an error, and nothing is written.
    overwrite
        Whether to replace an existing file.

    Raises
    ------
    AutopipeError
        If a row has no new labels and ``skip_failed`` is false (the message lists all reasons), or if the file exists.
        Also as in `label_rows`.
    """
    refuse_existing(output, overwrite)
    with Dataset(file) as dataset:
        result = label_rows(folder, list(dataset.query()))
    if result.faults and not skip_failed:
        hint = AutopipeError(
            Code.LABELS_INCOMPLETE, 'nothing was written; use --skip-failed to leave out rows without labels'
        )
        raise CombinedError([*result.faults, hint])
    if result.faults and not result.rows:
        empty = AutopipeError(Code.DATASET_EMPTY, f'{output} was not written, because no row has new labels')
        raise CombinedError([*result.faults, empty])
    n_rows = export_dataset(output, result.rows, overwrite=overwrite)
    return LabelledDataset(n_rows, result.faults)


def label_rows(folder: Path, rows: Sequence[Row]) -> LabelResult:
    """Replace the labels of rows with those of a DFT code.

    This replaces the energy, the forces, ``label_source`` and, if the structure is periodic in all directions, the
    stress. The previous labels are kept under ``labels_before`` in the data of the row, keyed by their
    ``label_source``. Energies of isolated atoms are removed, because they belong to the previous labels. The structure
    and its constraints do not change.

    Parameters
    ----------
    folder
        Folder that contains the folders from `write_dft_inputs`, at any depth, with the output of the code.
    rows
        The dataset for which the inputs were written.

    Raises
    ------
    AutopipeError
        If no calculation is found, two belong to the same row, or one belongs to no row.
    """
    if not folder.is_dir():
        raise AutopipeError(Code.FOLDER_MISSING, f'the folder {folder} does not exist')
    calculations = _find_calculations(folder)
    if not calculations:
        raise AutopipeError(
            Code.CALCULATION_MISSING,
            f'{folder} contains no {ID_FILE}, a file that this program writes with the inputs of each calculation',
        )
    frames = [frame_of(row, index) for index, row in enumerate(rows)]
    known = set(frames)
    # Calculations that an earlier version prepared name only the seed.
    runs = {(frame.seed, frame.step): frame for frame in frames}
    found: dict[FrameName, tuple[Path, dict[str, Any]]] = {}
    for where, about in calculations:
        seed, step = str(about['seed']), int(about['step'])
        frame = FrameName(str(about['run']), step, seed) if 'run' in about else runs.get((seed, step))
        if frame not in known:
            raise AutopipeError(
                Code.CALCULATION_MISMATCH,
                f'{where} is a calculation of step {step} of {seed}, which is not in the dataset',
            )
        if frame in found:
            raise AutopipeError(
                Code.CALCULATION_TWICE,
                f'{where} and {found[frame][0]} are both calculations of step {step} of {seed}',
            )
        found[frame] = where, about
    labelled: list[Row] = []
    faults: list[AutopipeError] = []
    for row, frame in zip(rows, frames, strict=True):
        if frame not in found:
            missing = f'step {frame.step} of {frame.seed} has no calculation in {folder}'
            faults.append(AutopipeError(Code.CALCULATION_MISSING, missing))
            continue
        where, about = found[frame]
        try:
            labelled.append(_relabel(row, CODES[about['code']].read(where), about, where))
        except AutopipeError as fault:
            faults.append(fault)
    return LabelResult(tuple(labelled), tuple(faults))


def _find_calculations(folder: Path) -> list[tuple[Path, dict[str, Any]]]:
    found: list[tuple[Path, dict[str, Any]]] = []
    for path in sorted(folder.rglob(ID_FILE)):
        try:
            about = json.loads(path.read_text())
            str(about['seed']), int(about['step'])
            known = about['code'] in CODES and str(about['label_source']).startswith('dft:') and bool(about['order'])
        except (ValueError, KeyError, TypeError):
            known = False
        if not known:
            raise AutopipeError(Code.FILE_UNREADABLE, f'{path} is malformed; write the inputs again')
        found.append((path.parent, about))
    return found


def _relabel(row: Row, result: DftResult, about: dict[str, Any], where: Path) -> Row:
    order: Sequence[int] = about['order']
    expected = row.atoms[list(order)] if sorted(order) == list(range(len(row.atoms))) else None
    if expected is None or expected.get_chemical_symbols() != result.atoms.get_chemical_symbols():
        raise AutopipeError(
            Code.CALCULATION_MISMATCH,
            f'{where}: the calculation has the atoms {result.atoms.get_chemical_formula()}, '
            f'but the row has {row.atoms.get_chemical_formula()}',
        )
    deviation = _max_deviation(expected, result.atoms)
    if deviation > TOLERANCE_A:
        raise AutopipeError(
            Code.CALCULATION_MISMATCH,
            f'{where}: a position or cell vector differs from that in the row by {deviation:.2g} Å',
        )
    inverse = np.argsort(order)
    labels: dict[str, Any] = {'energy': result.energy, 'forces': result.forces[inverse]}
    if row.atoms.pbc.all():
        if result.stress is None:
            raise AutopipeError(
                Code.CALCULATION_INCOMPLETE, f'{where}: the stress is missing, although the structure is periodic'
            )
        labels['stress'] = result.stress
    if not all(np.isfinite(values).all() for values in labels.values()):
        raise AutopipeError(Code.CALCULATION_INCOMPLETE, f'{where}: the energy, a force or the stress is not finite')
    atoms = row.atoms.copy()
    atoms.calc = SinglePointCalculator(atoms, **labels)
    atoms.calc.name = about['code']
    source = str(about['label_source'])
    level = LevelOfTheory(method='dft', code=about['code'], name=source, parameters={'label_source': source})
    data = {key: value for key, value in row.data.items() if key != ISOLATED_ATOMS}
    data['labels_before'] = {**row.data.get('labels_before', {}), **_labels_before(row)}
    data[LEVEL] = level.model_dump()
    if 'provenance' in data:
        data['provenance'] = data['provenance'] | {'label_source': level.name}
    pairs = row.key_value_pairs | {'label_source': level.name, LEVEL: level.hash}
    return replace(row, atoms=atoms, key_value_pairs=pairs, data=data, id=None)


def _labels_before(row: Row) -> dict[str, Any]:
    source = row.key_value_pairs.get('label_source')
    return {str(source): row.labels} if source and row.atoms.calc is not None else {}


def _max_deviation(expected: Atoms, found: Atoms) -> float:
    """Return the maximum deviation of the atoms and the cell in Å, apart from a shift along non-periodic directions."""
    cell = np.abs(expected.cell.array - found.cell.array)[expected.pbc]
    fractions = np.linalg.solve(found.cell.array.T, (found.positions - expected.positions).T).T
    # In the inputs, the structure is centred in the vacuum along non-periodic directions.
    fractions[:, ~expected.pbc] -= fractions[0, ~expected.pbc]
    fractions -= np.round(fractions)
    distances = np.linalg.norm(fractions @ found.cell.array, axis=1)
    return float(max(distances.max(), cell.max(initial=0.0)))
