"""Import files from other programs as a dataset."""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from aiida_mlip_autopipe.core.atomic_write import refuse_existing
from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError, CombinedError
from aiida_mlip_autopipe.core.hashing import file_sha256
from aiida_mlip_autopipe.core.wording import counted
from aiida_mlip_autopipe.storage.formats.export import convert_rows
from aiida_mlip_autopipe.storage.imports.checks import check_plausible
from aiida_mlip_autopipe.storage.imports.copies import join_groups, leave_out_copies
from aiida_mlip_autopipe.storage.imports.frames import Candidate, Frame
from aiida_mlip_autopipe.storage.imports.keys import LabelFinder, LabelKeys
from aiida_mlip_autopipe.storage.imports.levels import complete_level, join_levels, level_of_output
from aiida_mlip_autopipe.storage.imports.rows import (
    GroupBy,
    is_isolated_atom,
    make_imported_row,
    restore_row,
)
from aiida_mlip_autopipe.storage.imports.sources import READERS, find_sources
from aiida_mlip_autopipe.structures.rows.keys import LEVEL, read_level
from aiida_mlip_autopipe.structures.rows.level import LevelOfTheory, describe_difference
from aiida_mlip_autopipe.structures.rows.row import ENERGY_TOLERANCE, Row


@dataclass
class ImportedFile:
    """What was read from a file.

    Attributes
    ----------
    path, format
        The file and its format.
    n_frames
        Number of its frames with labels.
    keys
        The key from which each label was read.
    n_restored
        Number of its frames that this program wrote, whose keys were kept.
    """

    path: Path
    format: str
    n_frames: int = 0
    keys: dict[str, str] = field(default_factory=dict)
    n_restored: int = 0


@dataclass
class ImportedDataset:
    """The result of an import.

    Attributes
    ----------
    level
        The level of theory of the rows.
    files
        The files that were read.
    n_rows, n_groups
        Number of rows written, and number of groups to which they belong.
    n_copies
        Number of frames that were left out, because an earlier frame has the same structure and the same labels.
    n_groups_joined
        Number of groups that were joined because they share a structure.
    conflicts
        Names of pairs of frames with the same structure and different labels. Both are kept.
    isolated_atoms
        Energies of isolated atoms by symbol, eV, which all rows contain.
    without_stress
        Number of rows that are periodic in all directions and have no stress.
    replaced
        Files that were not read, because another file of the same folder has the same results.
    kept, dropped
        By the key of each other value: the number of rows that keep the value in their data, or cannot store it.
    faults
        The reason why each of the other frames was left out.
    warnings
        What limits the use of the dataset: rows of a single group cannot be divided into sets.
    remarks
        What the format does not store; see `convert_rows`.
    """

    level: LevelOfTheory
    files: list[ImportedFile]
    n_rows: int = 0
    n_groups: int = 0
    n_copies: int = 0
    n_groups_joined: int = 0
    conflicts: list[tuple[str, str]] = field(default_factory=list)
    isolated_atoms: dict[str, float] = field(default_factory=dict)
    without_stress: int = 0
    replaced: list[Path] = field(default_factory=list)
    kept: Counter[str] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)
    faults: list[AutopipeError] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    remarks: dict[str, int] = field(default_factory=dict)


def import_dataset(
    paths: Sequence[Path],
    target: Path,
    level: Mapping[str, Any] | LevelOfTheory | None = None,
    *,
    keys: LabelKeys | None = None,
    group_by: GroupBy = 'composition',
    skip_invalid: bool = False,
    overwrite: bool = False,
) -> ImportedDataset:
    """Write the labelled structures of files from other programs to a dataset.

    Parameters
    ----------
    paths
        Files and folders; see `find_sources`.
    target
        The file to write, in any format of `convert_rows`.
    level
        The level of theory of the labels; see `complete_level`. It may be omitted if all files contain theirs.
    keys
        The keys and units of the labels in ASE databases, trajectories and extended XYZ.
    group_by
        Which structures form a group that no split divides: those with the same composition, or those of a file. Groups
        that share a structure are joined.
    skip_invalid
        Whether to leave out frames without valid labels. If false, such a frame is an error, and nothing is written.
    overwrite
        Whether to replace an existing file.

    Raises
    ------
    AutopipeError
        If a frame has no valid labels and ``skip_invalid`` is false, if keys are ambiguous, if labels probably have the
        wrong unit or sign, if the level of theory is missing, incomplete or not the same for all frames, or if the
        file exists. Nothing is written.
    """
    refuse_existing(target, overwrite)
    sources, replaced = find_sources(paths, target)
    files: list[ImportedFile] = []
    frames: list[tuple[ImportedFile, list[Frame]]] = []
    faults: list[AutopipeError] = []
    for path, kind in sources:
        file = ImportedFile(path, kind)
        found = _read(file, keys or LabelKeys(), faults)
        files.append(file)
        frames.append((file, found))
    if faults and not skip_invalid:
        hint = AutopipeError(Code.IMPORT_INCOMPLETE, 'nothing was written; --skip-invalid leaves out these frames')
        raise CombinedError([*shorten(faults), hint])
    if not any(found for _, found in frames):
        empty = AutopipeError(Code.DATASET_EMPTY, f'{target} was not written, because no frame has valid labels')
        raise CombinedError([*shorten(faults), empty])
    result = ImportedDataset(_common_level(frames, level), files, replaced=replaced, faults=faults)
    result.isolated_atoms = _isolated_atoms(frames)
    rows, names = _make_rows(frames, result, group_by)
    del frames
    n_restored = sum(file.n_restored for file in files)
    if n_restored < len(rows) and (group_by == 'file' or n_restored):
        # Before copies are left out, because the other frames of their groups remain.
        result.n_groups_joined = join_groups(rows)
    written, result.n_copies, conflicts = leave_out_copies(rows)
    result.conflicts = [(names[id(first)], names[id(second)]) for first, second in conflicts]
    result.n_groups = len({row.key_value_pairs.get('parent', row.key_value_pairs.get('seed')) for row in written})
    if result.n_groups == 1 and len(written) > 1:
        result.warnings.append(_warn_of_one_group(len(files), group_by))
    result.without_stress = sum(row.atoms.pbc.all() and 'stress' not in row.atoms.calc.results for row in written)
    exported = convert_rows(target, written, overwrite=overwrite)
    result.n_rows, result.remarks = exported.n_rows, exported.remarks
    return result


def _warn_of_one_group(n_files: int, group_by: GroupBy) -> str:
    """Return why no sets can be drawn from the rows, and what helps. Frames of one run are too similar to divide."""
    cause = (
        'have the same composition'
        if group_by == 'composition'
        else 'are from one file, or from files that share structures'
    )
    text = f'all rows {cause} and form one group, so no validation or test set can be drawn from them'
    if group_by == 'composition' and n_files > 1:
        return f'{text}; if each file is an independent run, use --group-by file'
    return f'{text}; write each independent run to a separate file, and import all of them with --group-by file'


def shorten(faults: Sequence[AutopipeError], n_shown: int = 10) -> list[AutopipeError]:
    """Return the first faults of each code, and one with the number of the others."""
    counts = Counter(fault.code for fault in faults)
    shown: list[AutopipeError] = []
    for code, number in counts.items():
        shown += [fault for fault in faults if fault.code is code][:n_shown]
        if number > n_shown:
            shown.append(AutopipeError(code, f'{counted(number - n_shown, "more frame")} with the same fault'))
    return shown


def _read(file: ImportedFile, keys: LabelKeys, faults: list[AutopipeError]) -> list[Frame]:
    """Return the frames of a file with valid labels, and add the faults of the other frames to the list."""
    finder = LabelFinder(keys)
    frames: list[Frame] = []
    level: LevelOfTheory | None = None
    for found in _found(file):
        try:
            if isinstance(found, AutopipeError):
                raise found
            frame = found if isinstance(found, Frame) else finder.find(found, f'{file.path}, frame {found.index}')
        except AutopipeError as fault:
            if fault.code is Code.LABELS_AMBIGUOUS:
                raise
            faults.append(fault)
            continue
        file.keys |= frame.keys
        if frame.level is not None:
            # All frames of a file have the same level.
            level = level or level_of_output(file.path, frame.level)
            frame = replace(frame, level=level)
        frames.append(frame)
    file.n_frames = len(frames)
    file.n_restored = sum(frame.own_pairs is not None for frame in frames)
    check_plausible([frame for frame in frames if frame.level is None and frame.own_pairs is None], file.path, keys)
    return frames


def _found(file: ImportedFile) -> Iterator[Candidate | Frame | AutopipeError]:
    """Yield what a file contains. A compressed file may turn out to be damaged at any line."""
    try:
        yield from READERS[file.format](file.path)
    except (OSError, EOFError, zlib.error) as error:
        yield AutopipeError(Code.FILE_UNREADABLE, f'{file.path}: {error}; the rest of the file was not read')


def _common_level(
    frames: Sequence[tuple[ImportedFile, list[Frame]]], given: Mapping[str, Any] | LevelOfTheory | None
) -> LevelOfTheory:
    """Return the level of theory of all frames."""
    levels: list[tuple[Path, LevelOfTheory]] = []
    own: list[tuple[Path, LevelOfTheory]] = []
    for file, found in frames:
        known: set[str | None] = set()
        for frame in found:
            pairs = frame.own_pairs
            if pairs is not None:
                key = f'own {pairs.get(LEVEL, pairs["label_source"])}'
                if key not in known:
                    own.append((file.path, _level_of_own(frame, pairs, given, file.path)))
            else:
                key = frame.level.hash if frame.level is not None else ''
                if key not in known:
                    levels.append((file.path, complete_level(given, frame.level)))
            known.add(key)
    common = levels[0][1] if levels else own[0][1]
    for _, level in levels[1:]:
        common = join_levels(common, level)
    for path, level in own:
        if level.hash != common.hash:
            raise AutopipeError(
                Code.LEVELS_MIXED,
                f'{path} has a different level of theory from the other files: {describe_difference(level, common)}',
            )
    return common


def _level_of_own(
    frame: Frame, pairs: Mapping[str, Any], given: Mapping[str, Any] | LevelOfTheory | None, path: Path
) -> LevelOfTheory:
    """Return the level of a frame that this program wrote. Extended XYZ has its hash, but not all of its fields."""
    level = complete_level(given, None) if given else read_level(pairs, frame.stored[1] if frame.stored else {})
    assert level is not None  # the frame names the source of its labels
    if pairs.get(LEVEL, level.hash) != level.hash:
        raise AutopipeError(
            Code.LEVELS_MIXED,
            f'{path}, frame {frame.index}: its level of theory is {pairs[LEVEL]} ({pairs["label_source"]}), but '
            f'that of {"--level" if given else "its keys"} is {level.hash}; set --level to the dataset from '
            'which the file was written',
        )
    return level


def _isolated_atoms(frames: Sequence[tuple[ImportedFile, list[Frame]]]) -> dict[str, float]:
    """Return the energies of the frames that are marked as isolated atoms, by symbol."""
    energies: dict[str, float] = {}
    for file, found in frames:
        for frame in filter(is_isolated_atom, found):
            symbol, energy = frame.atoms.get_chemical_symbols()[0], float(frame.labels['energy'])
            if abs(energies.setdefault(symbol, energy) - energy) > ENERGY_TOLERANCE:
                raise AutopipeError(
                    Code.LABELS_AMBIGUOUS,
                    f'{file.path}, frame {frame.index}: the energy of an isolated atom of {symbol} is {energy:g} eV, '
                    f'but {energies[symbol]:g} eV in another frame; remove one of them',
                )
    return energies


def _make_rows(
    frames: Sequence[tuple[ImportedFile, list[Frame]]], result: ImportedDataset, group_by: GroupBy
) -> tuple[list[Row], dict[int, str]]:
    """Return the rows, and the place of each row by its ``id()``."""
    rows: list[Row] = []
    names: dict[int, str] = {}
    for file, found in frames:
        sha256 = file_sha256(file.path)
        for frame in found:
            if frame.own_pairs is not None:
                row = restore_row(frame, result.level)
            else:
                row, dropped = make_imported_row(
                    frame,
                    result.level,
                    file=file.path.name,
                    sha256=sha256,
                    group_by=group_by,
                    isolated_atoms=result.isolated_atoms,
                )
                result.dropped.update(dropped)
                result.kept.update(name for name in frame.values if name not in dropped)
            rows.append(row)
            names[id(row)] = f'{file.path}, frame {frame.index}'
    return rows, names
