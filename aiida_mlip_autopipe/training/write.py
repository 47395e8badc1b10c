"""Write config files for trainers, which can use them unchanged."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import yaml

from aiida_mlip_autopipe.core.atomic_write import atomic_write
from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.core.wording import one_of
from aiida_mlip_autopipe.storage.formats.extxyz import config_type
from aiida_mlip_autopipe.storage.formats.one_level import require_one_level
from aiida_mlip_autopipe.structures.rows.row import ISOLATED_ATOMS, Row, isolated_atom_energies
from aiida_mlip_autopipe.structures.rows.splits import Split
from aiida_mlip_autopipe.training.base import FineTuning, TrainingData, find_model
from aiida_mlip_autopipe.training.formats.mace_config import REPLAY_DATA
from aiida_mlip_autopipe.training.trainer import TRAINERS


def check_request(trainers: Sequence[str], fine_tuning: FineTuning | None) -> None:
    """Refuse requests for which no config can be written, before any file is written.

    Raises
    ------
    AutopipeError
        If a trainer is unknown, a model to fine-tune does not have exactly one trainer, replay is not possible, or the
        model or the frames for replay cannot be found.
    """
    if unknown := [name for name in trainers if name not in TRAINERS]:
        raise AutopipeError(
            Code.CHOICE_UNKNOWN,
            f'no config can be written for the trainer {unknown[0]}; use one of {", ".join(TRAINERS)}',
        )
    if fine_tuning is None:
        return
    if len(set(trainers)) != 1:
        raise AutopipeError(
            Code.VALUES_INCOMPLETE if not trainers else Code.VALUES_EXCLUDE,
            f'--fine-tune {fine_tuning.model} needs exactly one --trainer, to which the model belongs; '
            f'got {" and ".join(trainers) or "none"}',
        )
    find_model(fine_tuning.model, TRAINERS.load(trainers[0]).known_models, '--fine-tune')
    if fine_tuning.replay is not None:
        if 'mace' not in trainers:
            raise AutopipeError(
                Code.VALUES_EXCLUDE,
                f'--replay {fine_tuning.replay} requires --trainer mace; got --trainer {trainers[0]}',
            )
        find_model(fine_tuning.replay, REPLAY_DATA, '--replay')


def write_trainer_config(
    path: Path,
    trainer: str,
    files: Mapping[Split, Path],
    rows: Sequence[Row],
    splits: Sequence[Split],
    *,
    random_seed: int,
    fine_tuning: FineTuning | None = None,
    weights: Mapping[str, float] | None = None,
    overwrite: bool = False,
) -> tuple[str, ...]:
    """Write the config file of a trainer.

    Parameters
    ----------
    path
        The file to write, in the folder of the data.
    trainer
        ``mace``, for ``mace_run_train --config FILE``, or ``sevennet``, for ``sevenn train FILE``.
    files
        The extended XYZ files of the sets, in the folder of ``path``. The trainer must be started in this folder.
    rows, splits
        All rows, and the set of each row.
    random_seed
        Random seed of the trainer.
    fine_tuning
        The model from which the training starts; by default, a new model is trained.
    weights
        Weights in the loss by the kind or label of the rows; the weight of other rows is 1.
    overwrite
        Whether to replace an existing file.

    Returns
    -------
    tuple of str
        Sentences for the user: what the config lacks, and how to get it.

    Raises
    ------
    AutopipeError
        If the trainer is unknown, the training set is empty, the levels of theory of the rows differ, a weight belongs
        to no row, or the model cannot be found or read.
    """
    check_request([trainer], fine_tuning)
    training = [row for row, split in zip(rows, splits, strict=True) if split == 'train']
    if 'train' not in files or not training:
        raise AutopipeError(Code.SPLIT_EMPTY, 'the training set is empty')
    data = _describe(path, files, rows, training, splits, random_seed, weights or {})
    chosen = TRAINERS.load(trainer)
    config = chosen.export_config(data, training, fine_tuning)
    text = yaml.safe_dump(config.values, sort_keys=False, allow_unicode=True, width=110)
    comments = [f'{chosen.command} {path.name}', *config.comments]
    with atomic_write(path, overwrite=overwrite) as unfinished:
        unfinished.write_text(''.join(f'# {line}\n' for line in comments) + text)
    return config.notes


def _describe(
    path: Path,
    files: Mapping[Split, Path],
    rows: Sequence[Row],
    training: Sequence[Row],
    splits: Sequence[Split],
    random_seed: int,
    weights: Mapping[str, float],
) -> TrainingData:
    # Each file has one level, but those of two files may differ.
    *_, last = require_one_level(rows)
    level = last.level
    types = tuple(sorted({config_type(row) for row in training}))
    if unknown := sorted(set(weights) - set(types)):
        raise AutopipeError(
            Code.CHOICE_UNKNOWN,
            f'--weight {unknown[0]}: no training row has this kind or label; use {one_of(types)}',
        )
    if all(weights.get(name) == 0 for name in types):
        raise AutopipeError(Code.VALUE_INVALID, f'--weight: the weight of all training rows is 0 ({", ".join(types)})')
    return TrainingData(
        name=path.stem,
        folder=path.parent,
        files=files,
        n_train=len(training),
        n_valid=list(splits).count('valid'),
        has_stress=any('stress' in row.labels for row in training),
        # From the rows of all sets, because the model must support every element.
        numbers=tuple(sorted({int(number) for row in rows for number in row.atoms.numbers})),
        isolated_atoms=isolated_atom_energies(rows),
        unknown_atoms=_unknown_atoms(rows),
        is_mlip=level is not None and level.method == 'mlip',
        config_types=types,
        weights=dict(weights),
        random_seed=random_seed,
    )


def _unknown_atoms(rows: Iterable[Row]) -> tuple[str, ...]:
    present: set[str] = set()
    known: set[str] = set()
    for row in rows:
        present |= set(row.atoms.get_chemical_symbols())
        known |= set(row.data.get(ISOLATED_ATOMS, {}))
    return tuple(sorted(present - known))
