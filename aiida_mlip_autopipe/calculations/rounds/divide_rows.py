"""A calcfunction that divides the rows of a round between training and validation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from aiida import orm
from aiida.engine import ExitCode, calcfunction

from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.core.randomness import derive_random_seed, make_rng
from aiida_mlip_autopipe.data.dataset import DatasetData
from aiida_mlip_autopipe.storage import Row, SplitSettings, split_rows
from aiida_mlip_autopipe.storage.sets.keys import group_of
from aiida_mlip_autopipe.structures.rows.splits import Split

# Increase this if a change to this module, or to what it calls, changes the sets.
DIVIDE_VERSION = '1'

ERROR_DIVIDE = 400
VALID_FRACTION = 0.1
# Trainers store random seeds as 32-bit integers.
MAX_RANDOM_SEED = 2**31


@calcfunction
def divide_rows(
    dataset: DatasetData, tuning: orm.Dict, random_seed: orm.Int, stage_version: orm.Str
) -> Mapping[str, orm.Data] | ExitCode:
    """Divide the rows that a model may be trained on between training and validation, in whole groups.

    Rows of the test set, and the calibration rows of the current round, are not used; they are in the set ``test``.

    Parameters
    ----------
    dataset
        The rows of all rounds so far.
    tuning
        ``round``, from 1; ``number`` of the training run, from 0, which determines the sets and the random seed; and
        ``fraction`` of the groups that are used.
    random_seed
        The campaign's random seed.
    stage_version
        Version of this function; increased when its results change.

    Returns
    -------
    dict
        ``splits``, the set of each row; ``random_seed`` of the training run; and ``report``.
    """
    rows, name = dataset.rows(), f'tuning {tuning["number"]}'
    try:
        usable = _usable_rows(rows, tuning['round'], tuning['fraction'], random_seed.value)
        found = split_rows(
            [rows[index] for index in usable],
            SplitSettings(valid_fraction=VALID_FRACTION, test_fraction=0),
            random_seed=derive_random_seed(random_seed.value, 'sets', name),
        )
    except AutopipeError as error:
        return ExitCode(ERROR_DIVIDE, str(error), invalidates_cache=True)
    splits: list[Split] = ['test'] * len(rows)
    for index, split in zip(usable, found.splits, strict=True):
        splits[index] = split
    report = {'n_rows': found.report['n_rows'], 'n_groups': found.report['n_groups']}
    return {
        'splits': orm.List(splits),
        'random_seed': orm.Int(derive_random_seed(random_seed.value, 'training', name) % MAX_RANDOM_SEED),
        'report': orm.Dict(report),
    }


def _usable_rows(rows: Sequence[Row], number: int, fraction: float, random_seed: int) -> list[int]:
    """Return the indices of the rows, or of those in a fraction of their groups, that may be used for training."""
    usable = [
        index
        for index, row in enumerate(rows)
        if row.key_value_pairs.get('split') != 'test' and not _calibrates(row.key_value_pairs, number)
    ]
    if fraction == 1:
        return usable
    groups = {index: group_of(rows[index], index, 'parent') for index in usable}
    names = sorted(set(groups.values()))
    make_rng(random_seed, 'fraction').shuffle(names)
    # A validation set needs a group that is not used for training.
    chosen = set(names[: max(2, round(fraction * len(names)))])
    return [index for index in usable if groups[index] in chosen]


def _calibrates(pairs: Mapping[str, Any], number: int) -> bool:
    return pairs.get('role') == 'calibration' and pairs.get('round') == number
