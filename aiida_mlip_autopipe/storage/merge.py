"""Merge datasets, and compare two datasets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.storage.dataset import Dataset
from aiida_mlip_autopipe.storage.formats.export import export_dataset
from aiida_mlip_autopipe.structures.duplicates import are_identical
from aiida_mlip_autopipe.structures.row import Row

Identity = tuple[str, int, str]


@dataclass(frozen=True)
class Difference:
    """The differences between two datasets, by the identity of the rows: seed, step and level of theory.

    Attributes
    ----------
    only_first, only_second
        Rows in only one of the datasets.
    changed
        Rows in both datasets whose structures (including tags, magnetic moments, charges and fixed atoms) or labels
        differ.
    same
        Number of rows in both datasets that are bit-identical.
    """

    only_first: tuple[Identity, ...]
    only_second: tuple[Identity, ...]
    changed: tuple[Identity, ...]
    same: int

    @property
    def is_empty(self) -> bool:
        """Whether the datasets have the same content."""
        return not (self.only_first or self.only_second or self.changed)


def merge_datasets(sources: Sequence[Path], target: Path, *, overwrite: bool = False) -> int:
    """Write the rows of several datasets to one file, each frame once.

    Parameters
    ----------
    sources
        The datasets, in the order of their rows in the new file.
    target
        The new file, in any format of `export_dataset`.
    overwrite
        Whether to replace an existing file.

    Returns
    -------
    int
        Number of rows written.

    Raises
    ------
    AutopipeError
        If the datasets have different levels of theory, or the labels or the structures (including tags, magnetic
        moments, charges and fixed atoms) of the same frame differ.
    """
    merged: dict[Identity, Row] = {}
    for source in sources:
        for identity, row in _rows_by_identity(source).items():
            if identity in merged and not _agree(merged[identity], row):
                raise AutopipeError(
                    Code.FRAMES_DIFFER,
                    f'step {identity[1]} of {identity[0]} differs in structure or labels between {source} '
                    'and an earlier dataset',
                )
            merged.setdefault(identity, replace(row, id=None))
    levels = sorted({identity[2] for identity in merged})
    if len(levels) > 1:
        raise AutopipeError(
            Code.LEVELS_MIXED, f'datasets with different levels of theory cannot be merged: {", ".join(levels)}'
        )
    return export_dataset(target, merged.values(), overwrite=overwrite)


def compare_datasets(first: Path, second: Path) -> Difference:
    """Compare the rows of two datasets. Their order does not matter."""
    before, after = _rows_by_identity(first), _rows_by_identity(second)
    both = [identity for identity in before if identity in after]
    changed = tuple(identity for identity in both if not _agree(before[identity], after[identity]))
    return Difference(
        only_first=tuple(identity for identity in before if identity not in after),
        only_second=tuple(identity for identity in after if identity not in before),
        changed=changed,
        same=len(both) - len(changed),
    )


def _rows_by_identity(path: Path) -> dict[Identity, Row]:
    found = {}
    with Dataset(path) as dataset:
        for row in dataset.query():
            pairs = row.key_value_pairs
            try:
                found[(str(pairs['seed']), int(pairs['step']), str(pairs['label_source']))] = row
            except KeyError as missing:
                raise AutopipeError(
                    Code.ROW_KEY_MISSING,
                    f'row {row.id} of {path} has no {missing.args[0]}, so it is not a row of a campaign',
                ) from None
    return found


def _agree(first: Row, second: Row) -> bool:
    one, other = first.labels, second.labels
    same_labels = one.keys() == other.keys() and all(np.array_equal(one[name], other[name]) for name in one)
    return same_labels and are_identical(first.atoms, second.atoms)
