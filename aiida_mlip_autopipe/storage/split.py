"""Split a dataset so that no lineage and no copy of a structure is in two sets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.core.fields import fault
from aiida_mlip_autopipe.core.settings import Settings
from aiida_mlip_autopipe.storage.export import export_dataset
from aiida_mlip_autopipe.structures.duplicates import LabelledStructures, join_alike
from aiida_mlip_autopipe.structures.row import Row
from aiida_mlip_autopipe.structures.splits import SPLITS, Split, assign_groups


class SplitSettings(Settings):
    """How a dataset is split."""

    valid_share: float = Field(default=0.1, ge=0, lt=1)
    """Share of the rows for validation."""
    test_share: float = Field(default=0.1, ge=0, lt=1)
    """Share of the rows for testing."""
    by: Literal['ancestor', 'composition', 'kind', 'stored'] = 'ancestor'
    """What must not be in two sets: structures of one ancestor (before strain and rattle), of one composition, or of
    one kind of seed; ``stored`` takes the sets that were drawn before the selection, as the rows say."""
    hold_out: str | None = None
    """A kind of seed of which all rows are for testing, and no others: how far does a model carry?"""

    @model_validator(mode='after')
    def _leave_some_to_train_on(self) -> SplitSettings:
        if self.valid_share + self.test_share >= 1:
            raise fault(
                Code.VALUE_INVALID, 'valid_share and test_share must leave something to train on: their sum is below 1'
            )
        return self


@dataclass(frozen=True)
class SplitResult:
    """Which row is for what.

    Attributes
    ----------
    splits
        The set of each row, in order.
    report
        How many rows and groups each set has, and how many groups were joined for their copies.
    """

    splits: tuple[Split, ...]
    report: dict[str, Any]


def split_rows(rows: Sequence[Row], settings: SplitSettings, *, random_seed: int) -> SplitResult:
    """Divide rows by groups.

    Groups that share a structure (see `aiida_mlip_autopipe.structures.duplicates.join_alike`) are kept together.

    Raises
    ------
    AutopipeError
        If a row does not say its group or its set, no row is of the kind held out or all are, or there are fewer groups
        than sets.
    """
    if settings.by == 'stored':
        return _stored_splits(rows)
    groups = [_group(row, place, settings.by) for place, row in enumerate(rows)]
    joined = join_alike(LabelledStructures.from_rows(rows), groups)
    held = {place for place, row in enumerate(rows) if settings.hold_out and _kind(row, place) == settings.hold_out}
    if settings.hold_out and len(held) in (0, len(rows)):
        kinds = sorted({_kind(row, place) for place, row in enumerate(rows)})
        raise AutopipeError(
            Code.SPLIT_EMPTY, f'hold_out: {settings.hold_out} leaves one set empty; the kinds are {", ".join(kinds)}'
        )
    held_groups = {joined[place] for place in held}
    sizes = Counter(group for group in joined if group not in held_groups)
    test_share = 0.0 if held else settings.test_share
    assigned = assign_groups(
        sizes, valid_share=settings.valid_share, test_share=test_share, random_seed=random_seed
    ) | dict.fromkeys(held_groups, 'test')
    splits = tuple(assigned[group] for group in joined)
    wanted = {'train'} | ({'valid'} if settings.valid_share else set()) | ({'test'} if test_share or held else set())
    if missing := sorted(wanted - set(splits)):
        raise AutopipeError(
            Code.SPLIT_EMPTY,
            f'{len(set(joined))} groups by {settings.by} cannot be split: {" and ".join(missing)} would be empty',
        )
    report = {
        'by': settings.by,
        'n_rows': {split: splits.count(split) for split in SPLITS},
        'n_groups': {split: sum(found == split for found in assigned.values()) for split in SPLITS},
        'n_groups_joined': len(set(groups)) - len(set(joined)),
    }
    return SplitResult(splits, report)


def has_stored_splits(rows: Sequence[Row]) -> bool:
    """Return whether every row says its set, and not all the same."""
    found = [row.key_value_pairs.get('split') for row in rows]
    return None not in found and len(set(found)) > 1


def _stored_splits(rows: Sequence[Row]) -> SplitResult:
    splits: list[Split] = []
    for place, row in enumerate(rows):
        if 'split' not in row.key_value_pairs:
            raise AutopipeError(
                Code.ROW_KEY_MISSING,
                f'row {place} does not say its set: none was held out of the selection; split by ancestor',
            )
        splits.append(row.key_value_pairs['split'])
    lineages = [_group(row, place, 'ancestor') for place, row in enumerate(rows)]
    report = {
        'by': 'stored',
        'n_rows': {split: splits.count(split) for split in SPLITS},
        'n_groups': {
            split: len({lineage for lineage, found in zip(lineages, splits, strict=True) if found == split})
            for split in SPLITS
        },
        'n_groups_joined': 0,
    }
    return SplitResult(tuple(splits), report)


def export_splits(
    path: Path, rows: Sequence[Row], splits: Sequence[Split], *, overwrite: bool = False
) -> dict[Split, Path]:
    """Write each set to a file of its own, ``cu_au.db`` to ``cu_au-train.db`` and so on, with the key ``split``.

    Returns
    -------
    dict
        The file of each set that has rows.

    Raises
    ------
    AutopipeError
        As `export_dataset`; no file is written if one of them exists.
    """
    sets = {split: [row for row, found in zip(rows, splits, strict=True) if found == split] for split in SPLITS}
    paths = {split: path.with_stem(f'{path.stem}-{split}') for split in SPLITS if sets[split]}
    for existing in [target for target in paths.values() if target.exists() and not overwrite]:
        raise AutopipeError(Code.FILE_EXISTS, f'{existing} exists already and is not overwritten unless you say so')
    for split, target in paths.items():
        labelled = (
            replace(row, key_value_pairs=row.key_value_pairs | {'split': split}, id=None) for row in sets[split]
        )
        export_dataset(target, labelled, overwrite=overwrite)
    return paths


def _group(row: Row, place: int, by: str) -> str:
    if by == 'composition':
        return row.empirical_formula
    if by == 'kind':
        return _kind(row, place)
    ancestor = row.key_value_pairs.get('ancestor', row.key_value_pairs.get('seed'))
    if ancestor is None:
        raise AutopipeError(
            Code.ROW_KEY_MISSING, f'row {place} does not say its ancestor; split by composition instead'
        )
    return str(ancestor)


def _kind(row: Row, place: int) -> str:
    try:
        return str(row.key_value_pairs['seed_kind'])
    except KeyError:
        raise AutopipeError(
            Code.ROW_KEY_MISSING, f'row {place} does not say its seed_kind; split by composition instead'
        ) from None
