"""Split the file of a dataset into one file per set, and write configs for trainers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from aiida_mlip_autopipe.core.atomic_write import refuse_existing
from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.core.phrases import combine_faults
from aiida_mlip_autopipe.storage.dataset import Dataset
from aiida_mlip_autopipe.storage.relabel import choose_labels
from aiida_mlip_autopipe.storage.sets.split import SplitSettings, export_splits, set_paths, split_rows
from aiida_mlip_autopipe.structures.rows.level import describe_difference
from aiida_mlip_autopipe.structures.rows.row import Row
from aiida_mlip_autopipe.structures.rows.splits import Split
from aiida_mlip_autopipe.training.base import FineTuning
from aiida_mlip_autopipe.training.sets import complete_settings
from aiida_mlip_autopipe.training.write import check_request, write_trainer_config


@dataclass(frozen=True)
class WrittenSet:
    """A set that was written to a file.

    Attributes
    ----------
    split
        ``train``, ``valid`` or ``test``.
    path
        The file.
    n_rows, n_groups
        Number of rows, and number of groups to which they belong.
    """

    split: Split
    path: Path
    n_rows: int
    n_groups: int


@dataclass(frozen=True)
class SplitDataset:
    """The result of splitting a dataset.

    Attributes
    ----------
    sets
        The sets that have rows.
    configs
        The config file of each trainer.
    notes
        What the configs lack, and how to get it.
    remarks
        What the format does not store; see `convert_rows`.
    report
        The report of `split_rows`, with all warnings.
    """

    sets: tuple[WrittenSet, ...]
    configs: dict[str, Path]
    notes: tuple[str, ...]
    remarks: dict[str, int]
    report: dict[str, Any]


def split_dataset(
    file: Path,
    output: Path | None = None,
    settings: Mapping[str, Any] | None = None,
    *,
    trainers: Sequence[str] = (),
    fine_tuning: FineTuning | None = None,
    weights: Mapping[str, float] | None = None,
    labels: str | None = None,
    random_seed: int = 0,
    overwrite: bool = False,
) -> SplitDataset:
    """Write each set of a dataset to a file, and configs for trainers to the same folder.

    Parameters
    ----------
    file
        The dataset.
    output
        The file name without the name of a set, such as ``cu.extxyz`` for ``cu-train.extxyz``; by default, ``file``.
    settings
        Fields of `SplitSettings`. By default, ``by`` is ``stored`` if the rows contain sets that were drawn before
        the selection and nothing is held out; otherwise, it is ``parent``. A config for a trainer needs a validation
        set: if none is stored, ``valid_fraction`` has its default.
    trainers
        Any of ``mace`` and ``sevennet``; see `write_trainer_config`.
    fine_tuning
        The model that the trainer fine-tunes; by default, it trains a new model.
    weights
        Weights in the loss by the kind or label of the rows.
    labels
        The labels of the files and configs, if rows have several; see `choose_labels`. By default, these are the
        current labels.
    random_seed
        Random seed for the assignment of groups to sets.
    overwrite
        Whether to replace existing files.

    Raises
    ------
    AutopipeError
        If the settings are invalid, a row lacks the chosen labels, a trainer cannot read the format or has no
        validation set, or a file exists. Also as in `split_rows`.
    """
    target = output or file
    check_request(trainers, fine_tuning)
    if weights and not trainers:
        raise AutopipeError(Code.VALUES_INCOMPLETE, '--weight requires --trainer: weights are part of its config')
    configs = {name: target.with_name(f'{target.stem}-{name}.yaml') for name in trainers}
    if configs and target.suffix not in ('.extxyz', '.xyz'):
        raise AutopipeError(Code.FILE_SUFFIX, f'trainers read extended XYZ: --output must end in .extxyz; got {target}')
    for path in configs.values():
        refuse_existing(path, overwrite)
    with Dataset(file) as dataset:
        rows = list(dataset.query())
    if labels is not None:
        rows = choose_labels(rows, labels)
    values, notes = complete_settings(settings or {}, rows, needs_valid=bool(trainers))
    result = split_rows(rows, _validate(values), random_seed=random_seed)
    if trainers and 'valid' not in result.splits:
        raise AutopipeError(
            Code.SPLIT_EMPTY,
            f'valid_fraction must be above 0 for a config for {", ".join(trainers)}: without a validation set, a '
            'trainer would validate on random rows of the training set',
        )
    paths = set_paths(target, result.splits, overwrite=overwrite)
    # First the configs, so that no sets remain if one of them cannot be made.
    lacking: list[str] = []
    for name, path in configs.items():
        lacking += write_trainer_config(
            path,
            name,
            paths,
            rows,
            result.splits,
            random_seed=random_seed,
            fine_tuning=fine_tuning,
            weights=weights,
            overwrite=overwrite,
        )
    _, remarks = export_splits(target, rows, result.splits, overwrite=overwrite)
    notes += _warn_of_levels(rows)
    report = result.report | {'warnings': [*notes, *result.report['warnings']]}
    sets = tuple(
        WrittenSet(split, path, report['n_rows'][split], report['n_groups'][split]) for split, path in paths.items()
    )
    return SplitDataset(sets, configs, tuple(lacking), remarks, report)


def _warn_of_levels(rows: Sequence[Row]) -> list[str]:
    levels = {row.level_hash: row.level for row in rows}
    if len(levels) < 2:
        return []
    first, second, *_ = levels.values()
    return [
        f'the rows have {len(levels)} levels of theory, so no model can be trained on all of them: '
        f'{describe_difference(first, second)}'
    ]


def _validate(settings: Mapping[str, Any]) -> SplitSettings:
    try:
        return SplitSettings(**settings)
    except ValidationError as error:
        raise combine_faults(error, SplitSettings) from None
