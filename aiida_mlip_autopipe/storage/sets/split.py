"""Split a dataset into sets. The structures of a group, and all copies of a structure, are in the same set."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from aiida_mlip_autopipe.core.atomic_write import atomic_write, refuse_existing
from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.core.fields import fault
from aiida_mlip_autopipe.core.settings import Settings
from aiida_mlip_autopipe.storage.formats.export import FORMATS, convert_rows, find_format
from aiida_mlip_autopipe.storage.formats.one_level import require_one_level
from aiida_mlip_autopipe.storage.sets.keys import categories_of, group_of, kind_of, label_of
from aiida_mlip_autopipe.storage.sets.stored import check_stored_splits, read_stored_splits
from aiida_mlip_autopipe.structures.duplicates import LabelledStructures, join_alike
from aiida_mlip_autopipe.structures.rows.contents import describe_rows
from aiida_mlip_autopipe.structures.rows.row import Row
from aiida_mlip_autopipe.structures.rows.splits import (
    SPLITS,
    TRAINING_KINDS,
    Category,
    Split,
    absence_warnings,
    assign_groups,
    size_warnings,
)


class SplitSettings(Settings):
    """Settings of the split of a dataset."""

    valid_fraction: float = Field(default=0.1, ge=0, lt=1)
    """Fraction of the rows for validation. With ``by: stored``, it is used only if it is given and no validation set is
    stored: whole groups are then drawn from the training rows."""
    test_fraction: float = Field(default=0.1, ge=0, lt=1)
    """Fraction of the rows for testing. With ``by: stored``, it is used only if it is given and no test set is stored.
    It cannot be combined with ``hold_out``."""
    by: Literal['parent', 'composition', 'kind', 'stored'] = 'parent'
    """Which structures must be in the same set: those with the same parent (the structure before strain and rattling),
    the same composition or the same kind of seed. ``stored`` uses the sets that were drawn before the selection and
    stored in the rows, if no group and no structure is in two of them."""
    hold_out: str | None = None
    """Kind of seed or label of an entry whose rows form the test set, to measure how well a model transfers to other
    structures: ``surface``, or ``kind=surface`` or ``label=hot`` if a kind and a label have the same name."""

    @model_validator(mode='after')
    def _require_training_rows(self) -> SplitSettings:
        if self.valid_fraction + self.test_fraction >= 1:
            raise fault(
                Code.VALUE_INVALID,
                'the sum of valid_fraction and test_fraction must be below 1, so that rows remain for training',
            )
        return self

    @model_validator(mode='after')
    def _refuse_unused(self) -> SplitSettings:
        if self.hold_out is not None and self.by == 'stored':
            raise fault(
                Code.VALUES_EXCLUDE, 'by: stored uses the stored test set; remove hold_out, or set by to another value'
            )
        if self.hold_out is not None and 'test_fraction' in self.model_fields_set:
            raise fault(
                Code.VALUES_EXCLUDE, 'hold_out determines the test set; remove test_fraction, or remove hold_out'
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
        Number of rows and of groups in each set, the number of rows requested for each set that was drawn, the contents
        of each set by kind, label, composition and temperature, the number of groups that were joined because they
        share a structure, and warnings.
    """

    splits: tuple[Split, ...]
    report: dict[str, Any]


def split_rows(rows: Sequence[Row], settings: SplitSettings, *, random_seed: int) -> SplitResult:
    """Assign the rows to sets by their groups.

    Groups that share a structure (see `aiida_mlip_autopipe.structures.duplicates.join_alike`) are in the same set.
    Kinds, labels and compositions are divided in proportion as far as the groups allow; see
    `aiida_mlip_autopipe.structures.rows.splits.assign_groups`. Rows of the kinds ``atom`` and ``dimer`` are used
    for training, unless they are held out. Groups that contain a row with the role ``test`` are in the test set.

    Raises
    ------
    AutopipeError
        If a row does not contain its group or its set, if no row or every row is held out, if there are fewer groups
        than sets, or if a group or a structure is in two stored sets.
    """
    if settings.by == 'stored':
        return _split_as_stored(rows, settings, random_seed)
    groups = [group_of(row, index, settings.by) for index, row in enumerate(rows)]
    joined = join_alike(LabelledStructures.from_rows(rows), groups)
    tested = {joined[index] for index, row in enumerate(rows) if row.key_value_pairs.get('role') == 'test'}
    held_rows = _find_held_out(rows, settings.hold_out)
    held = {joined[index] for index in held_rows}
    divided = held_rows.union(_not_only_for_training(rows))
    free = {index for index in divided if joined[index] not in held}
    fractions = {'valid_fraction': settings.valid_fraction, 'test_fraction': 0.0 if held else settings.test_fraction}
    assigned = _assign(rows, joined, free, fractions, random_seed, tested) | dict.fromkeys(held, 'test')
    splits = tuple(assigned[name] if index in divided else 'train' for index, name in enumerate(joined))
    requested = _requested(fractions, len(free))
    _refuse_empty({'train', *requested, *(['test'] if held else [])} - set(splits), len(set(joined)), settings.by)
    expected = {'kind', 'label'} if held else {settings.by}
    return _result(rows, splits, groups, joined, settings.by, requested, expected)


def _split_as_stored(rows: Sequence[Row], settings: SplitSettings, random_seed: int) -> SplitResult:
    """Use the stored sets, and draw a missing set from the training rows."""
    splits: list[Split] = read_stored_splits(rows)
    groups = [group_of(row, index, 'parent') for index, row in enumerate(rows)]
    joined = join_alike(LabelledStructures.from_rows(rows), groups)
    check_stored_splits(splits, groups, joined)
    for split, field in (('valid', 'valid_fraction'), ('test', 'test_fraction')):
        if split in splits and field in settings.model_fields_set:
            raise AutopipeError(
                Code.VALUES_EXCLUDE,
                f'{field}: the rows contain a stored {split} set, which is used (by: stored); remove {field}, or draw '
                'new sets from all rows (by: parent)',
            )
    fractions = {
        field: getattr(settings, field) if field in settings.model_fields_set else 0.0
        for field in ('valid_fraction', 'test_fraction')
    }
    free = {index for index in _not_only_for_training(rows) if splits[index] == 'train'}
    requested = _requested(fractions, len(rows))
    if requested and free:
        scaled = {field: fraction * len(rows) / len(free) for field, fraction in fractions.items()}
        assigned = _assign(rows, joined, free, scaled, random_seed)
        splits = [assigned[joined[index]] if index in free else found for index, found in enumerate(splits)]
    _refuse_empty({'train', *requested} - set(splits), len({joined[index] for index in free}), 'parent')
    return _result(rows, tuple(splits), groups, joined, 'stored', requested, set())


def _assign(
    rows: Sequence[Row],
    joined: Sequence[str],
    free: Collection[int],
    fractions: Mapping[str, float],
    random_seed: int,
    tested: Collection[str] = (),
) -> dict[str, Split]:
    """Draw the sets of the groups of some rows; the groups in ``tested`` are for testing."""
    categories: dict[str, Counter[Category]] = {}
    for index in free:
        categories.setdefault(joined[index], Counter()).update(categories_of(rows[index]))
    return assign_groups(
        Counter(joined[index] for index in free),
        valid_fraction=fractions['valid_fraction'],
        test_fraction=fractions['test_fraction'],
        random_seed=random_seed,
        categories=categories,
        fixed=dict.fromkeys(tested, 'test'),
    )


def _requested(fractions: Mapping[str, float], n_rows: int) -> dict[Split, float]:
    """Return the number of rows requested for each set that is drawn."""
    sets: tuple[Split, ...] = ('valid', 'test')
    return {split: fractions[f'{split}_fraction'] * n_rows for split in sets if fractions[f'{split}_fraction']}


def _refuse_empty(missing: Collection[str], n_groups: int, by: str) -> None:
    if missing:
        raise AutopipeError(
            Code.SPLIT_EMPTY,
            f'the rows have only {n_groups} group{"" if n_groups == 1 else "s"} by {by}, '
            f'so {" and ".join(sorted(missing))} would be empty; group the rows in another way, add seeds of another '
            f"{by}, or import each independent run as a separate file with 'dataset import --group-by file'",
        )


def _result(
    rows: Sequence[Row],
    splits: tuple[Split, ...],
    groups: Sequence[str],
    joined: Sequence[str],
    by: str,
    requested: Mapping[Split, float],
    expected: Collection[str],
) -> SplitResult:
    contents = describe_rows(rows, splits)
    n_rows = {split: splits.count(split) for split in SPLITS}
    remedy = (
        f'add seeds of {"other parents" if by in ("parent", "stored") else f"another {by}"}, group the rows by another '
        'key (by), or request another fraction'
    )
    report = {
        'by': by,
        'n_rows': n_rows,
        'n_requested': {split: round(n) for split, n in requested.items()},
        'n_groups': {
            split: len({name for name, found in zip(joined, splits, strict=True) if found == split}) for split in SPLITS
        },
        'n_groups_joined': len(set(groups)) - len(set(joined)),
        'contents': contents,
        'warnings': [
            *size_warnings(requested, n_rows, of='rows', remedy=remedy),
            *absence_warnings(contents, expected=expected),
        ],
    }
    return SplitResult(splits, report)


def _not_only_for_training(rows: Sequence[Row]) -> list[int]:
    """Return the indices of the rows that may be held out; all rows if none of them may."""
    found = [index for index, row in enumerate(rows) if kind_of(row) not in TRAINING_KINDS]
    return found or list(range(len(rows)))


def _find_held_out(rows: Sequence[Row], hold_out: str | None) -> set[int]:
    """Return the indices of the rows of a kind or with a label."""
    if hold_out is None:
        return set()
    values = {'kind': [kind_of(row) for row in rows], 'label': [label_of(row) for row in rows]}
    name, separator, value = hold_out.partition('=')
    if separator and name in values:
        found = _positions(values[name], value)
    else:
        by_kind, by_label = (_positions(values[one], hold_out) for one in ('kind', 'label'))
        if by_kind and by_label and by_kind != by_label:
            raise AutopipeError(
                Code.VALUE_INVALID,
                f'hold_out: {hold_out} is both a kind and a label; write kind={hold_out} or label={hold_out}',
            )
        found = by_kind or by_label
    if len(found) in (0, len(rows)):
        known = '; '.join(f'existing {one}s: {", ".join(_known(values[one]))}' for one in values if _known(values[one]))
        reason = 'all rows have' if found else 'no row has'
        raise AutopipeError(Code.SPLIT_EMPTY, f'hold_out: {hold_out}: {reason} this kind or label; {known}')
    return found


def _positions(values: Sequence[str | None], value: str) -> set[int]:
    return {index for index, found in enumerate(values) if found == value}


def _known(values: Iterable[str | None]) -> list[str]:
    return sorted({value for value in values if value is not None})


def set_paths(path: Path, splits: Collection[Split], *, overwrite: bool = False) -> dict[Split, Path]:
    """Return the file of each set that has rows, such as ``cu_au-train.db`` for ``cu_au.db``.

    Raises
    ------
    AutopipeError
        If a file must not be written; see `refuse_existing`.
    """
    paths = {split: path.with_stem(f'{path.stem}-{split}') for split in SPLITS if split in splits}
    for target in paths.values():
        refuse_existing(target, overwrite)
    return paths


def export_splits(
    path: Path, rows: Sequence[Row], splits: Sequence[Split], *, overwrite: bool = False
) -> tuple[dict[Split, Path], dict[str, int]]:
    """Write each set to a separate file, such as ``cu_au-train.db`` for ``cu_au.db``, with the key ``split``.

    Returns
    -------
    paths
        The file of each set that has rows.
    remarks
        What the format does not store; see `convert_rows`.

    Raises
    ------
    AutopipeError
        As in `convert_rows`. If a file cannot be written, none is written.
    """
    paths = set_paths(path, splits, overwrite=overwrite)
    sets = {split: [row for row, found in zip(rows, splits, strict=True) if found == split] for split in paths}
    if FORMATS[find_format(path, None)].one_level:
        # Each file may have one level, but the levels of two files may differ.
        deque(require_one_level(rows), maxlen=0)
    remarks: Counter[str] = Counter()
    with ExitStack() as stack:
        # The files get their names after all of them are complete.
        unfinished = {
            split: stack.enter_context(atomic_write(target, overwrite=overwrite)) for split, target in paths.items()
        }
        for split, target in unfinished.items():
            labelled = (
                replace(row, key_value_pairs=row.key_value_pairs | {'split': split}, id=None) for row in sets[split]
            )
            remarks.update(convert_rows(target, labelled).remarks)
    return paths, dict(remarks)
