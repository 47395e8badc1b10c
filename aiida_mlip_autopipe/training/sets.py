"""The sets of a training job."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.core.randomness import make_rng
from aiida_mlip_autopipe.core.wording import counted
from aiida_mlip_autopipe.storage.formats.one_level import require_one_level
from aiida_mlip_autopipe.storage.sets.split import SplitResult, SplitSettings, export_splits, split_rows
from aiida_mlip_autopipe.storage.sets.stored import has_stored_splits
from aiida_mlip_autopipe.structures.rows.row import Row
from aiida_mlip_autopipe.structures.rows.splits import Split


def complete_settings(
    settings: Mapping[str, Any], rows: Sequence[Row], *, needs_valid: bool
) -> tuple[dict[str, Any], list[str]]:
    """Return settings of a split with the defaults that depend on the rows, and what the user should know about them.

    Parameters
    ----------
    settings
        Fields of `SplitSettings`.
    rows
        The rows of the dataset.
    needs_valid
        Whether a validation set is drawn if stored sets are used and none of them is for validation.
    """
    values, notes = dict(settings), []
    stored = [row.key_value_pairs.get('split') for row in rows]
    if values.get('by') is None:
        values['by'] = 'stored' if not values.get('hold_out') and has_stored_splits(rows) else 'parent'
    n_stored = len(rows) - stored.count(None)
    if values['by'] != 'stored' and n_stored:
        notes.append(
            f'a set is stored in {n_stored} of {counted(len(rows), "row")}, but new sets are drawn from all rows'
        )
    if values['by'] == 'stored' and 0 < n_stored < len(rows):
        notes.append(f'a set is stored in {n_stored} of {len(rows)} rows; the other rows are used for training')
    if values['by'] == 'stored' and needs_valid and 'valid' not in stored and 'valid_fraction' not in values:
        values['valid_fraction'] = SplitSettings().valid_fraction
        notes.append('no validation set is stored; whole groups of the training rows are used for validation')
    return values, notes


def choose_sets(rows: Sequence[Row], settings: SplitSettings | None, random_seed: int) -> SplitResult:
    """Assign the rows of a dataset to sets for training, validation and testing.

    Parameters
    ----------
    rows
        All rows of the dataset.
    settings
        How they are divided. By default, the stored sets are used; if none of them is for validation, whole groups of
        the training rows are. Without stored sets, a tenth of the rows, in whole groups, is used for validation.
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
    given = {} if settings is None else settings.model_dump(exclude_unset=True)
    values, notes = complete_settings(given, rows, needs_valid=True)
    if settings is None and values['by'] != 'stored':
        values['test_fraction'] = 0.0
    result = split_rows(rows, SplitSettings(**values), random_seed=random_seed)
    for split, where in (('train', 'training'), ('valid', 'validation')):
        if split not in result.splits:
            raise AutopipeError(
                Code.SPLIT_EMPTY,
                f'training.sets: no row is left for {where} (rows in total: {len(rows)}); set valid_fraction, or store '
                "other sets with 'mlip-autopipe dataset split'",
            )
    return replace(result, report=result.report | {'warnings': [*notes, *result.report['warnings']]})


def write_sets(path: Path, rows: Sequence[Row], splits: Sequence[Split], random_seed: int) -> dict[Split, str]:
    """Write each set to a file, and return the names of the files.

    The rows are in a random order, since the trainer may not shuffle them. Keys that some rows lack are left out, since
    trainers may require that all frames have the same keys.

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
    shared = set.intersection(*(set(row.key_value_pairs) for row in rows))
    alike = [replace(row, key_value_pairs={key: row.key_value_pairs[key] for key in sorted(shared)}) for row in rows]
    files, _ = export_splits(path, [alike[index] for index in order], [splits[index] for index in order])
    return {split: file.name for split, file in files.items()}
