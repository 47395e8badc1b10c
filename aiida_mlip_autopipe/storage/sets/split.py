"""Split a dataset into sets. The structures of a group, and all copies of a structure, are in the same set."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.core.fields import fault
from aiida_mlip_autopipe.core.settings import Settings
from aiida_mlip_autopipe.storage.formats.export import export_dataset
from aiida_mlip_autopipe.structures.duplicates import LabelledStructures, join_alike
from aiida_mlip_autopipe.structures.row import Row
from aiida_mlip_autopipe.structures.splits import SPLITS, TRAINING_KINDS, Split, assign_groups


class SplitSettings(Settings):
    """Settings of the split of a dataset."""

    valid_fraction: float = Field(default=0.1, ge=0, lt=1)
    """Fraction of the rows for validation."""
    test_fraction: float = Field(default=0.1, ge=0, lt=1)
    """Fraction of the rows for testing."""
    by: Literal['parent', 'composition', 'kind', 'stored'] = 'parent'
    """Which structures must be in the same set: those with the same parent (the structure before strain and rattling),
    the same composition or the same kind of seed. ``stored`` uses the sets that were drawn before the selection and
    stored in the rows."""
    hold_out: str | None = None
    """Kind of seed whose rows form the test set, to measure how well a model transfers to other structures."""

    @model_validator(mode='after')
    def _require_training_rows(self) -> SplitSettings:
        if self.valid_fraction + self.test_fraction >= 1:
            raise fault(
                Code.VALUE_INVALID,
                'the sum of valid_fraction and test_fraction must be below 1, so that rows remain for training',
            )
        return self


@dataclass(frozen=True)
class SplitResult:
    """The result of splitting rows into sets.

    Attributes
    ----------
    splits
        The set of each row, in the order of the rows.
    report
        Number of rows and of groups in each set, and number of groups that were joined because they share a structure.
    """

    splits: tuple[Split, ...]
    report: dict[str, Any]


def split_rows(rows: Sequence[Row], settings: SplitSettings, *, random_seed: int) -> SplitResult:
    """Assign the rows to sets by their groups.

    Groups that share a structure (see `aiida_mlip_autopipe.structures.duplicates.join_alike`) are in the same set.
    Rows of the kinds ``atom`` and ``dimer`` are for training, unless their kind is held out.

    Raises
    ------
    AutopipeError
        If a row does not contain its group or its set, if no row or every row has the held-out kind, or if there are
        fewer groups than sets.
    """
    if settings.by == 'stored':
        return _stored_splits(rows)
    only_training = {
        index
        for index, row in enumerate(rows)
        if row.key_value_pairs.get('seed_kind') in {*TRAINING_KINDS} - {settings.hold_out}
    }
    if only_training and len(only_training) < len(rows):
        return _add_training_rows(rows, only_training, settings, random_seed)
    groups = [_group(row, index, settings.by) for index, row in enumerate(rows)]
    joined = join_alike(LabelledStructures.from_rows(rows), groups)
    held = {index for index, row in enumerate(rows) if settings.hold_out and _kind(row, index) == settings.hold_out}
    if settings.hold_out and len(held) in (0, len(rows)):
        kinds = sorted({_kind(row, index) for index, row in enumerate(rows)})
        raise AutopipeError(
            Code.SPLIT_EMPTY,
            f'hold_out: {settings.hold_out} would leave a set empty; the kinds are {", ".join(kinds)}',
        )
    held_groups = {joined[index] for index in held}
    sizes = Counter(group for group in joined if group not in held_groups)
    test_fraction = 0.0 if held else settings.test_fraction
    assigned = assign_groups(
        sizes, valid_fraction=settings.valid_fraction, test_fraction=test_fraction, random_seed=random_seed
    ) | dict.fromkeys(held_groups, 'test')
    splits = tuple(assigned[group] for group in joined)
    required = (
        {'train'} | ({'valid'} if settings.valid_fraction else set()) | ({'test'} if test_fraction or held else set())
    )
    if missing := sorted(required - set(splits)):
        n_groups = len(set(joined))
        raise AutopipeError(
            Code.SPLIT_EMPTY,
            f'the rows have only {n_groups} group{"s" if n_groups > 1 else ""} by {settings.by}, '
            f'so {" and ".join(missing)} would be empty',
        )
    report = {
        'by': settings.by,
        'n_rows': {split: splits.count(split) for split in SPLITS},
        'n_groups': {split: sum(found == split for found in assigned.values()) for split in SPLITS},
        'n_groups_joined': len(set(groups)) - len(set(joined)),
    }
    return SplitResult(splits, report)


def _add_training_rows(
    rows: Sequence[Row], only_training: Collection[int], settings: SplitSettings, random_seed: int
) -> SplitResult:
    """Split the rows that are not only for training, and add the others to the training set."""
    others = [row for index, row in enumerate(rows) if index not in only_training]
    found = split_rows(others, settings, random_seed=random_seed)
    rest = iter(found.splits)
    splits: tuple[Split, ...] = tuple('train' if index in only_training else next(rest) for index in range(len(rows)))
    n_rows = {split: splits.count(split) for split in SPLITS}
    return SplitResult(splits, {**found.report, 'n_rows': n_rows})


def has_stored_splits(rows: Sequence[Row]) -> bool:
    """Return whether every row contains its set, and the rows have more than one set."""
    found = [row.key_value_pairs.get('split') for row in rows]
    return None not in found and len(set(found)) > 1


def _stored_splits(rows: Sequence[Row]) -> SplitResult:
    splits: list[Split] = []
    for index, row in enumerate(rows):
        if 'split' not in row.key_value_pairs:
            raise AutopipeError(
                Code.ROW_KEY_MISSING,
                f'row {index} has no key split: no sets were drawn before the selection; split by parent instead',
            )
        splits.append(row.key_value_pairs['split'])
    parents = [_group(row, index, 'parent') for index, row in enumerate(rows)]
    report = {
        'by': 'stored',
        'n_rows': {split: splits.count(split) for split in SPLITS},
        'n_groups': {
            split: len({parent for parent, found in zip(parents, splits, strict=True) if found == split})
            for split in SPLITS
        },
        'n_groups_joined': 0,
    }
    return SplitResult(tuple(splits), report)


def export_splits(
    path: Path, rows: Sequence[Row], splits: Sequence[Split], *, overwrite: bool = False
) -> dict[Split, Path]:
    """Write each set to a separate file, such as ``cu_au-train.db`` for ``cu_au.db``, with the key ``split``.

    Returns
    -------
    dict
        The file of each set that has rows.

    Raises
    ------
    AutopipeError
        As in `export_dataset`. If one of the files exists, none is written.
    """
    sets = {split: [row for row, found in zip(rows, splits, strict=True) if found == split] for split in SPLITS}
    paths = {split: path.with_stem(f'{path.stem}-{split}') for split in SPLITS if sets[split]}
    for existing in [target for target in paths.values() if target.exists() and not overwrite]:
        raise AutopipeError(Code.FILE_EXISTS, f'{existing} already exists; overwrite it with --force')
    for split, target in paths.items():
        labelled = (
            replace(row, key_value_pairs=row.key_value_pairs | {'split': split}, id=None) for row in sets[split]
        )
        export_dataset(target, labelled, overwrite=overwrite)
    return paths


def _group(row: Row, index: int, by: str) -> str:
    if by == 'composition':
        return row.empirical_formula
    if by == 'kind':
        return _kind(row, index)
    parent = row.key_value_pairs.get('parent', row.key_value_pairs.get('seed'))
    if parent is None:
        raise AutopipeError(Code.ROW_KEY_MISSING, f'row {index} has no key parent; split by composition instead')
    return str(parent)


def _kind(row: Row, index: int) -> str:
    try:
        return str(row.key_value_pairs['seed_kind'])
    except KeyError:
        raise AutopipeError(
            Code.ROW_KEY_MISSING, f'row {index} has no key seed_kind; split by composition instead'
        ) from None
