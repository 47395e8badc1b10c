"""The sets of a training job."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.core.randomness import make_rng
from aiida_mlip_autopipe.storage.formats.one_level import require_one_level
from aiida_mlip_autopipe.storage.sets.split import SplitResult, SplitSettings, export_splits, split_rows
from aiida_mlip_autopipe.storage.sets.stored import has_stored_splits
from aiida_mlip_autopipe.structures.rows.row import Row
from aiida_mlip_autopipe.structures.rows.splits import Split


def choose_sets(rows: Sequence[Row], settings: SplitSettings | None, random_seed: int) -> SplitResult:
    """Assign the rows of a dataset to sets for training, validation and testing.

    Parameters
    ----------
    rows
        All rows of the dataset.
    settings
        How they are divided. By default, the stored sets are used. Without stored sets, a tenth of the rows, in whole
        groups, is used for validation.
    random_seed
        Random seed.

    Raises
    ------
    AutopipeError
        If a row has no labels, the levels of theory differ, or no row is left for training or validation.
    """
    for row in require_one_level(rows):
        # Raises if there are none.
        assert row.labels
    if settings is None:
        settings = SplitSettings(by='stored') if has_stored_splits(rows) else SplitSettings(test_fraction=0)
    result = split_rows(rows, settings, random_seed=random_seed)
    for split, where in (('train', 'training'), ('valid', 'validation')):
        if split not in result.splits:
            raise AutopipeError(
                Code.SPLIT_EMPTY,
                f'training.sets: no row is left for {where} (rows in total: {len(rows)}); set valid_fraction, or store '
                "other sets with 'mlip-autopipe dataset split'",
            )
    return result


def write_sets(path: Path, rows: Sequence[Row], splits: Sequence[Split], random_seed: int) -> dict[Split, str]:
    """Write each set to a file, and return the names of the files.

    The rows are in a random order, since the trainer may not shuffle them.

    Parameters
    ----------
    path
        The file name without the name of a set.
    rows, splits
        All rows, and the set of each row.
    random_seed
        Random seed of the order.
    """
    order = make_rng(random_seed, 'training', 'order').permutation(len(rows))
    files, _ = export_splits(path, [rows[index] for index in order], [splits[index] for index in order])
    return {split: file.name for split, file in files.items()}
