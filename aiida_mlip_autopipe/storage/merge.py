"""Merge datasets, and compare two datasets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.storage.dataset import Dataset
from aiida_mlip_autopipe.storage.formats.export import convert_rows
from aiida_mlip_autopipe.storage.imports.levels import complete_elements
from aiida_mlip_autopipe.storage.metadata import differing_fields
from aiida_mlip_autopipe.structures.duplicates import LabelledStructures, are_identical, content_digest, join_alike
from aiida_mlip_autopipe.structures.rows.keys import LEVEL
from aiida_mlip_autopipe.structures.rows.level import LevelOfTheory, describe_difference
from aiida_mlip_autopipe.structures.rows.provenance import searchable
from aiida_mlip_autopipe.structures.rows.row import Identity, Row


class RowName(NamedTuple):
    """How a row is named in messages and differences.

    Attributes
    ----------
    seed
        Its seed; empty for a row without one.
    step
        Absolute step of the frame.
    run
        UUID of the exploration job that made the frame.
    label_source
        Name of the level of theory.
    """

    seed: str
    step: int
    run: str
    label_source: str

    def __str__(self) -> str:
        return f'step {self.step} of {self.seed or "run"} ({self.run[:8]})'


@dataclass(frozen=True)
class Difference:
    """The differences between two datasets.

    Rows with the same run, step and level of theory are compared. Of the others, rows with the same
    seed, step and level are compared, because a repeated run has a different UUID.

    Attributes
    ----------
    only_first, only_second
        Rows in only one of the datasets.
    changed
        Rows in both datasets whose structures (including tags, magnetic moments, charges and fixed atoms) or labels
        differ.
    same
        Number of rows in both datasets whose structures and labels are bit-identical.
    metadata
        The rows in both datasets whose metadata differ, by the name of the field; see `differing_fields`.
    """

    only_first: tuple[RowName, ...]
    only_second: tuple[RowName, ...]
    changed: tuple[RowName, ...]
    same: int
    metadata: dict[str, tuple[RowName, ...]] = field(default_factory=dict)

    @property
    def is_empty(self) -> bool:
        """Whether the datasets have the same content."""
        return not (self.only_first or self.only_second or self.changed or self.metadata)


@dataclass(frozen=True)
class MergeResult:
    """The result of merging datasets.

    Attributes
    ----------
    n_rows
        Number of rows written.
    n_repeated
        Number of rows that were left out, because an earlier row is the same frame.
    n_alike
        Number of rows that were kept, although a row of an earlier dataset has the same structure and labels up to
        rounding and rotation, or belongs to another group.
    joined_level
        The level of theory of all rows, if those of the datasets were joined.
    remarks
        What the format does not store; see `convert_rows`.
    """

    n_rows: int
    n_repeated: int
    n_alike: int = 0
    joined_level: LevelOfTheory | None = None
    remarks: Mapping[str, int] = field(default_factory=dict)


def merge_datasets(sources: Sequence[Path], target: Path, *, overwrite: bool = False) -> MergeResult:
    """Write the rows of several datasets to one file, each frame once.

    Two rows are the same frame if they have the same run, step and level of theory, or if they are from different
    datasets and their structures, labels and groups are identical, as after a repeated run. Identical rows of different
    groups are kept: without them, a split could put the other rows of these groups in different sets.

    Each level of DFT lists the potentials and Hubbard parameters of the elements in its dataset. Levels that differ
    only in these lists, and agree for the elements that both contain, are joined.

    Parameters
    ----------
    sources
        The datasets, in the order of their rows in the new file.
    target
        The new file, in any format of `convert_rows`.
    overwrite
        Whether to replace an existing file.

    Raises
    ------
    AutopipeError
        If the datasets have different levels of theory, or the labels or the structures (including tags, magnetic
        moments, charges and fixed atoms) of the same frame differ.
    """
    merged: dict[Identity, Row] = {}
    source_of: dict[Identity, int] = {}
    earlier: dict[tuple[bytes, float, str], Row] = {}
    found = {source: _rows_by_identity(source) for source in sources}
    joined = _join_levels([(source, row) for source, (rows, _) in found.items() for row in rows.values()])
    n_read = 0
    for number, source in enumerate(sources):
        rows, n_rows = found[source]
        n_read += n_rows
        if joined is not None:
            rows = _with_level_of_all(rows, joined)
        for identity, row in rows.items():
            if identity in merged and not _agree(merged[identity], row):
                raise AutopipeError(
                    Code.FRAMES_DIFFER,
                    f'{_name(row)} differs in structure or labels between {source} and an earlier dataset',
                )
            same = earlier.get(_digest(row))
            if same is None or not _agree(same, row):
                merged.setdefault(identity, replace(row, id=None))
                source_of.setdefault(identity, number)
        earlier |= {_digest(row): row for row in rows.values()}
    written = convert_rows(target, merged.values(), overwrite=overwrite)
    n_alike = _count_alike(list(merged.values()), list(source_of.values()))
    return MergeResult(written.n_rows, n_read - written.n_rows, n_alike, joined, written.remarks)


def compare_datasets(first: Path, second: Path) -> Difference:
    """Compare the rows of two datasets. Their order does not matter.

    Levels of theory that differ only in the elements for which they list potentials count as the same level.
    """
    before, after = (_rows_by_identity(path)[0] for path in (first, second))
    try:
        joined = _join_levels(
            [(path, row) for path, rows in ((first, before), (second, after)) for row in rows.values()]
        )
    except AutopipeError:
        joined = None  # rows of different levels are different rows
    if joined is not None:
        before, after = (_with_level_of_all(rows, joined) for rows in (before, after))
    pairs = [(before.pop(identity), after.pop(identity)) for identity in list(before) if identity in after]
    repeated = {_frame_key(row): identity for identity, row in after.items()}
    for identity, row in list(before.items()):
        if (other := repeated.pop(_frame_key(row), None)) is not None:
            pairs.append((before.pop(identity), after.pop(other)))
    changed = tuple(_name(one) for one, other in pairs if not _agree(one, other))
    metadata: dict[str, list[RowName]] = {}
    for row, counterpart in pairs:
        for name in differing_fields(row, counterpart):
            metadata.setdefault(name, []).append(_name(row))
    return Difference(
        only_first=tuple(map(_name, before.values())),
        only_second=tuple(map(_name, after.values())),
        changed=changed,
        same=len(pairs) - len(changed),
        metadata={name: tuple(rows) for name, rows in metadata.items()},
    )


def _rows_by_identity(path: Path) -> tuple[dict[Identity, Row], int]:
    """Return the rows of a dataset by their identity, and the number of rows in the file."""
    found: dict[Identity, Row] = {}
    n_rows = 0
    with Dataset(path) as dataset:
        for row in dataset.query():
            n_rows += 1
            try:
                identity = row.identity
            except AutopipeError as error:
                raise AutopipeError(error.code, f'{path}: {error}') from None
            if not identity.level:
                raise AutopipeError(Code.ROW_KEY_MISSING, f'{path}: row {row.id} has no key label_source')
            if identity in found and not _agree(found[identity], row):
                raise AutopipeError(
                    Code.FRAMES_DIFFER, f'{path} contains {_name(row)} twice, with different structures or labels'
                )
            found.setdefault(identity, row)
    return found, n_rows


def _join_levels(rows: Sequence[tuple[Path, Row]]) -> LevelOfTheory | None:
    """Return the level that joins those of the rows; None if they are equal."""
    levels: dict[str, tuple[Path, LevelOfTheory | None]] = {}
    for path, row in rows:
        if row.level_hash not in levels:
            levels[row.level_hash] = path, row.level
    if len(levels) < 2:
        return None
    (first, joined), *others = levels.values()
    for path, level in others:
        if joined is not None and level is not None:
            joined, level = complete_elements(joined, level)
        if joined is None or level is None or joined.hash != level.hash:
            raise AutopipeError(
                Code.LEVELS_MIXED,
                f'{first} and {path} have different levels of theory, so they cannot be merged: '
                f'{describe_difference(joined, level)}',
            )
    return joined


def _with_level_of_all(rows: Mapping[Identity, Row], level: LevelOfTheory) -> dict[Identity, Row]:
    levelled = [_with_level(row, level) for row in rows.values()]
    return {row.identity: row for row in levelled}


def _with_level(row: Row, level: LevelOfTheory) -> Row:
    pairs = row.key_value_pairs | {'label_source': searchable(level.name), LEVEL: level.hash}
    return replace(row, key_value_pairs=pairs, data=row.data | {LEVEL: level.model_dump()})


def _name(row: Row) -> RowName:
    pairs = row.key_value_pairs
    run, step, _ = row.identity
    return RowName(str(pairs.get('seed', '')), step, run, str(pairs.get('label_source', '')))


def _frame_key(row: Row) -> tuple[str, int, str]:
    """Return the seed, the step and the level of theory, which a repeated run does not change."""
    return str(row.key_value_pairs.get('seed', '')), int(row.key_value_pairs['step']), row.level_hash


def _digest(row: Row) -> tuple[bytes, float, str]:
    structure = content_digest(row.atoms.numbers, row.atoms.pbc, row.atoms.cell.array, row.atoms.positions)
    pairs = row.key_value_pairs
    return structure, row.labels['energy'], str(pairs.get('parent', pairs.get('seed', '')))


def _count_alike(rows: Sequence[Row], sources: Sequence[int]) -> int:
    """Return the number of rows that are copies of rows of earlier sources, as `join_alike` compares them."""
    names = join_alike(LabelledStructures.from_rows(rows), [str(index) for index in range(len(rows))])
    first: dict[str, int] = {}
    for name, source in zip(names, sources, strict=True):
        first[name] = min(source, first.get(name, source))
    return sum(source > first[name] for name, source in zip(names, sources, strict=True))


def _agree(first: Row, second: Row) -> bool:
    one, other = first.labels, second.labels
    same_labels = one.keys() == other.keys() and all(np.array_equal(one[name], other[name]) for name in one)
    return same_labels and are_identical(first.atoms, second.atoms)
