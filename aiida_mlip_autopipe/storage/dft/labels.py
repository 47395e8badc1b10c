"""Read labels from the results of a DFT code into the rows for which its inputs were written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from pydantic import BaseModel, ConfigDict, Field

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError, CombinedError
from aiida_mlip_autopipe.core.reading.json_text import parse_json
from aiida_mlip_autopipe.storage.dft.agreement import require_agreement
from aiida_mlip_autopipe.storage.dft.base import DftResult, read_result
from aiida_mlip_autopipe.storage.dft.faults import summarise_faults
from aiida_mlip_autopipe.storage.dft.inputs import CODES, FrameName, frame_of
from aiida_mlip_autopipe.storage.dft.isolated_atoms import (
    REQUESTED,
    add_isolated_atoms,
    read_isolated_atoms,
)
from aiida_mlip_autopipe.storage.dft.levels import join_calculations
from aiida_mlip_autopipe.storage.imports.levels import ID_FILE
from aiida_mlip_autopipe.storage.relabel import relabel
from aiida_mlip_autopipe.structures.plausibility import FEW_ATOMS, MAX_NET_FORCE, find_outliers, net_force
from aiida_mlip_autopipe.structures.rows.labels import DFT_SETTINGS, RowLabels
from aiida_mlip_autopipe.structures.rows.level import LevelOfTheory
from aiida_mlip_autopipe.structures.rows.provenance import Software
from aiida_mlip_autopipe.structures.rows.row import Row

# DFT codes print rounded positions and cells. An ionic step would move atoms by more than this.
TOLERANCE_A = 1e-3
# A row, the folder of its calculation, the content of the file that identifies it, and its result.
Calculated = tuple[Row, Path, dict[str, Any], DftResult]


class _Spacing(BaseModel):
    model_config = ConfigDict(extra='allow')

    kspacing_per_A: float


class _Calculation(BaseModel):
    """The content of the file that identifies a calculation."""

    model_config = ConfigDict(extra='allow')

    seed: str
    step: int
    run: str = ''
    code: str
    label_source: str = Field(pattern='^dft:')
    order: list[int] = Field(min_length=1)
    requested: dict[str, Any] = Field(default_factory=dict)
    settings: _Spacing | None = None


@dataclass(frozen=True)
class LabelResult:
    """Rows with new labels.

    Attributes
    ----------
    rows
        The rows with new labels, in the order of the dataset.
    faults
        The reason why each of the other rows has no new labels.
    warnings
        A sentence about each energy that is far from those of similar compositions.
    """

    rows: tuple[Row, ...]
    faults: tuple[AutopipeError, ...]
    warnings: tuple[str, ...] = ()


def read_labels(folder: Path, rows: Sequence[Row], *, skip_failed: bool = False) -> LabelResult:
    """Replace the labels of rows with those of a DFT code, as `label_rows` does, and require that all rows have some.

    Parameters
    ----------
    folder
        Folder of the calculations; see `label_rows`.
    rows
        The dataset for which the inputs were written.
    skip_failed
        Whether to leave out rows without a valid calculation. If false, such a row is an error.

    Raises
    ------
    AutopipeError
        If a row has no new labels and ``skip_failed`` is false, or if no row has new labels. The message lists the
        first rows with each reason. Also as in `label_rows`.
    """
    result = label_rows(folder, rows)
    if result.faults and not skip_failed:
        hint = AutopipeError(
            Code.LABELS_INCOMPLETE, 'nothing was written; use --skip-failed to leave out rows without labels'
        )
        raise CombinedError([*summarise_faults(result.faults), hint])
    if result.faults and not result.rows:
        empty = AutopipeError(Code.DATASET_EMPTY, 'nothing was written, because no row has new labels')
        raise CombinedError([*summarise_faults(result.faults), empty])
    return result


def label_rows(folder: Path, rows: Sequence[Row]) -> LabelResult:
    """Replace the labels of rows with those of a DFT code.

    This replaces the energy, the forces, ``label_source`` and, if the structure is periodic in all directions, the
    stress. The row keeps the previous labels with their energies of isolated atoms; see `relabel`. Energies of isolated
    atoms that the code has calculated with the same settings are added. If the folder contains only isolated atoms, the
    rows keep their labels. The structure and its constraints do not change.

    Parameters
    ----------
    folder
        Folder that contains the folders from `write_dft_inputs`, at any depth, with the output of the code.
    rows
        The dataset for which the inputs were written.

    Raises
    ------
    AutopipeError
        If no calculation is found, two belong to the same row, one belongs to no row, or two calculations, or the
        isolated atoms and the rows, have different levels of theory.
    """
    if not folder.is_dir():
        raise AutopipeError(Code.FOLDER_MISSING, f'the folder {folder} does not exist')
    calculations = _find_calculations(folder)
    atoms = read_isolated_atoms(folder, CODES)
    if not calculations and atoms.label_source is not None:
        return LabelResult(tuple(add_isolated_atoms(rows, atoms)), atoms.faults)
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
    results: list[Calculated] = []
    faults: list[AutopipeError] = []
    for row, frame in zip(rows, frames, strict=True):
        if frame not in found:
            missing = f'step {frame.step} of {frame.seed}: {folder} contains no calculation of it'
            faults.append(AutopipeError(Code.CALCULATION_MISSING, missing))
            continue
        where, about = found[frame]
        try:
            result = read_result(CODES[about['code']], where)
            _check_structure(row, result, about, where)
            require_agreement(where, about.get(REQUESTED, {}), result.used)
            _require_labels(row, result, where)
            results.append((row, where, about, result))
        except AutopipeError as fault:
            faults.append(fault)
    results, implausible, warnings = _check_energies(results)
    faults += implausible
    level = join_calculations((where, about, result) for _, where, about, result in results)
    labelled = [] if level is None else [_relabel(row, result, about, level) for row, _, about, result in results]
    if atoms.label_source is not None:
        labelled = add_isolated_atoms(labelled, atoms)
    return LabelResult(tuple(labelled), (*faults, *atoms.faults), tuple(warnings))


def _check_energies(results: list[Calculated]) -> tuple[list[Calculated], list[AutopipeError], list[str]]:
    """Return the calculations with plausible energies, the reasons to leave out the others, and warnings."""
    checked = [one for one in results if one[0].key_value_pairs.get('kind') not in FEW_ATOMS]
    symbols = [row.atoms.get_chemical_symbols() for row, *_ in checked]
    refused: set[Path] = set()
    faults: list[AutopipeError] = []
    warnings: list[str] = []
    for outlier in find_outliers(symbols, np.array([result.energy for *_, result in checked])):
        where = checked[outlier.index][1]
        message = (
            f'{where}: the energy differs by {outlier.deviation:+.3g} eV/atom from a fit to the compositions of all '
            f'rows, {outlier.in_mad:.3g} times the scaled median absolute deviation'
        )
        if outlier.is_refused:
            refused.add(where)
            faults.append(AutopipeError(Code.LABELS_IMPLAUSIBLE, message))
        else:
            warnings.append(message)
    return [one for one in results if one[1] not in refused], faults, warnings


def _find_calculations(folder: Path) -> list[tuple[Path, dict[str, Any]]]:
    found: list[tuple[Path, dict[str, Any]]] = []
    for path in sorted(folder.rglob(ID_FILE)):
        try:
            about = _Calculation.model_validate(parse_json(path.read_bytes())).model_dump(exclude_unset=True)
        except (OSError, ValueError):
            about = {}
        if about.get('code') not in CODES:
            raise AutopipeError(Code.FILE_UNREADABLE, f'{path} is malformed; write the inputs again')
        found.append((path.parent, about))
    return found


def _check_structure(row: Row, result: DftResult, about: dict[str, Any], where: Path) -> None:
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


def _require_labels(row: Row, result: DftResult, where: Path) -> None:
    """Refuse results that are incomplete or not finite, or have a net force."""
    if row.atoms.pbc.all() and result.stress is None:
        raise AutopipeError(
            Code.CALCULATION_INCOMPLETE, f'{where}: the stress is missing, although the structure is periodic'
        )
    if not all(np.isfinite(values).all() for values in _labels_of(row, result, np.arange(len(row.atoms))).values()):
        raise AutopipeError(Code.CALCULATION_INCOMPLETE, f'{where}: the energy, a force or the stress is not finite')
    net = net_force(result.forces)
    if net > MAX_NET_FORCE:
        raise AutopipeError(
            Code.LABELS_IMPLAUSIBLE,
            f'{where}: the net force is {net * len(result.forces):.3g} eV/Å; at most '
            f'{MAX_NET_FORCE * len(result.forces):.3g} eV/Å ({MAX_NET_FORCE:g} per atom) is allowed',
        )


def _labels_of(row: Row, result: DftResult, indices: np.ndarray) -> dict[str, Any]:
    labels: dict[str, Any] = {'energy': result.energy, 'forces': result.forces[indices]}
    return labels | ({'stress': result.stress} if row.atoms.pbc.all() else {})


def _relabel(row: Row, result: DftResult, about: dict[str, Any], level: LevelOfTheory) -> Row:
    software = Software(
        architecture=level.code,
        calculator_version=level.parameters.get('version'),
        package_version=version('aiida-mlip-autopipe'),
    )
    settings = {DFT_SETTINGS: about[DFT_SETTINGS]} if DFT_SETTINGS in about else {}
    return relabel(row, RowLabels(_labels_of(row, result, np.argsort(about['order'])), level, software, settings))


def _max_deviation(expected: Atoms, found: Atoms) -> float:
    """Return the maximum deviation of the atoms and the cell in Å, apart from a shift along non-periodic directions."""
    cell = np.abs(expected.cell.array - found.cell.array)[expected.pbc]
    fractions = np.linalg.solve(found.cell.array.T, (found.positions - expected.positions).T).T
    # In the inputs, the structure is centred in the vacuum along non-periodic directions.
    fractions[:, ~expected.pbc] -= fractions[0, ~expected.pbc]
    fractions -= np.round(fractions)
    distances = np.linalg.norm(fractions @ found.cell.array, axis=1)
    return float(max(distances.max(), cell.max(initial=0.0)))
