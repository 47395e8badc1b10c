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
from aiida_mlip_autopipe.storage.dataset import Dataset
from aiida_mlip_autopipe.storage.sets.split import SplitSettings, export_splits, has_stored_splits, split_rows
from aiida_mlip_autopipe.storage.settings import combine_faults
from aiida_mlip_autopipe.storage.trainers.write import write_trainer_config
from aiida_mlip_autopipe.structures.splits import Split


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
    n_groups_joined
        Number of groups that were joined because they share a structure.
    """

    sets: tuple[WrittenSet, ...]
    configs: dict[str, Path]
    n_groups_joined: int


def split_dataset(
    file: Path,
    output: Path | None = None,
    settings: Mapping[str, Any] | None = None,
    *,
    trainers: Sequence[str] = (),
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
        Fields of `SplitSettings`. By default, ``by`` is ``stored`` if every row contains the set that was drawn before
        the selection and no kind is held out; otherwise, it is ``parent``.
    trainers
        Any of ``mace`` and ``sevennet``; see `write_trainer_config`.
    random_seed
        Random seed for the assignment of groups to sets.
    overwrite
        Whether to replace existing files.

    Raises
    ------
    AutopipeError
        If the settings are invalid, a trainer cannot read the format, or a file exists. Also as in `split_rows`.
    """
    target = output or file
    configs = {name: target.with_name(f'{target.stem}-{name}.yaml') for name in trainers}
    if configs and target.suffix not in ('.extxyz', '.xyz'):
        raise AutopipeError(Code.FILE_SUFFIX, f'trainers read extended XYZ: --output must end in .extxyz; got {target}')
    for path in configs.values():
        refuse_existing(path, overwrite)
    with Dataset(file) as dataset:
        rows = list(dataset.query())
    values = dict(settings or {})
    if values.get('by') is None:
        values['by'] = 'stored' if not values.get('hold_out') and has_stored_splits(rows) else 'parent'
    result = split_rows(rows, _validate(values), random_seed=random_seed)
    paths = export_splits(target, rows, result.splits, overwrite=overwrite)
    for name, path in configs.items():
        write_trainer_config(path, name, paths, rows, result.splits, random_seed=random_seed, overwrite=overwrite)
    n_rows, n_groups = result.report['n_rows'], result.report['n_groups']
    sets = tuple(WrittenSet(split, path, n_rows[split], n_groups[split]) for split, path in paths.items())
    return SplitDataset(sets, configs, result.report['n_groups_joined'])


def _validate(settings: Mapping[str, Any]) -> SplitSettings:
    try:
        return SplitSettings(**settings)
    except ValidationError as error:
        raise combine_faults(error) from None
