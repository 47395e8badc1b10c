"""Write config files for trainers. They are a starting point, but can be used unchanged."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from ase.data import atomic_numbers

from aiida_mlip_autopipe.core.atomic_write import atomic_write
from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.structures.row import Row, isolated_atom_energies
from aiida_mlip_autopipe.structures.splits import Split

# Cutoff of the model in Å, and maximum number of structures in a batch.
CUTOFF_A = 5.0
BATCH_SIZE = 8


@dataclass(frozen=True)
class _Facts:
    name: str
    files: Mapping[Split, Path]
    batch_size: int
    has_stress: bool
    numbers: list[int]
    isolated_atoms: dict[str, float] | None
    random_seed: int


def write_trainer_config(
    path: Path,
    trainer: str,
    files: Mapping[Split, Path],
    rows: Sequence[Row],
    splits: Sequence[Split],
    *,
    random_seed: int,
    overwrite: bool = False,
) -> None:
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
    overwrite
        Whether to replace an existing file.

    Raises
    ------
    AutopipeError
        If the trainer is unknown, or the training set is empty.
    """
    if trainer not in TRAINERS:
        raise AutopipeError(
            Code.CHOICE_UNKNOWN,
            f'no config can be written for the trainer {trainer}; use one of {", ".join(TRAINERS)}',
        )
    training = [row for row, split in zip(rows, splits, strict=True) if split == 'train']
    if 'train' not in files or not training:
        raise AutopipeError(Code.SPLIT_EMPTY, 'the training set is empty')
    command, make = TRAINERS[trainer]
    facts = _Facts(
        name=path.stem,
        files=files,
        # Trainers drop an incomplete last batch, so they would train on nothing if a batch were larger than the
        # training set.
        batch_size=min(BATCH_SIZE, max(1, len(training) // 4)),
        has_stress=any('stress' in row.labels for row in training),
        numbers=sorted({int(number) for row in rows for number in row.atoms.numbers}),
        # From the rows of all sets, because the model must support every element.
        isolated_atoms=isolated_atom_energies(rows),
        random_seed=random_seed,
    )
    text = yaml.safe_dump(make(facts), sort_keys=False, allow_unicode=True, width=110)
    with atomic_write(path, overwrite=overwrite) as unfinished:
        unfinished.write_text(f'# {command} {path.name}\n{text}')


def _mace(facts: _Facts) -> dict[str, Any]:
    files = {'train_file': facts.files['train'].name}
    if 'valid' in facts.files:
        files['valid_file'] = facts.files['valid'].name
    if 'test' in facts.files:
        files['test_file'] = facts.files['test'].name
    atoms = facts.isolated_atoms
    return {
        'name': facts.name,
        'seed': facts.random_seed,
        'work_dir': facts.name,
        **files,
        # Without a validation set, MACE draws one from the training set.
        **({} if 'valid' in facts.files else {'valid_fraction': 0.1}),
        'energy_key': 'REF_energy',
        'forces_key': 'REF_forces',
        'stress_key': 'REF_stress',
        # Without this list, the model would lack elements that occur only in the test set.
        'atomic_numbers': str(facts.numbers),
        'E0s': 'average' if atoms is None else str({atomic_numbers[symbol]: e for symbol, e in atoms.items()}),
        'model': 'MACE',
        'r_max': CUTOFF_A,
        'num_channels': 64,
        'max_L': 1,
        # This loss combines energy per atom, forces and stress.
        **({'loss': 'universal', 'compute_stress': True} if facts.has_stress else {'loss': 'weighted'}),
        'error_table': 'PerAtomRMSEstressvirials' if facts.has_stress else 'PerAtomRMSE',
        'batch_size': facts.batch_size,
        'valid_batch_size': facts.batch_size,
        'max_num_epochs': 200,
        'ema': True,
        'device': 'cpu',
    }


def _sevennet(facts: _Facts) -> dict[str, Any]:
    data = {f'load_{split}set_path': [path.name] for split, path in facts.files.items()}
    return {
        'model': {
            'chemical_species': 'auto',
            'cutoff': CUTOFF_A,
            'channel': 32,
            'lmax': 2,
            'num_convolution_layer': 3,
            'is_parity': False,
            'self_connection_type': 'linear',
            'conv_denominator': 'avg_num_neigh',
        },
        'train': {
            'random_seed': facts.random_seed,
            'is_train_stress': facts.has_stress,
            'epoch': 200,
            'loss': 'Huber',
            'loss_param': {'delta': 0.01},
            'optimizer': 'adam',
            'optim_param': {'lr': 0.005},
            'scheduler': 'exponentiallr',
            'scheduler_param': {'gamma': 0.99},
            'force_loss_weight': 1.0,
            'stress_loss_weight': 0.01,
            'per_epoch': 10,
            'error_record': [
                ['Energy', 'RMSE'],
                ['Force', 'RMSE'],
                *([['Stress_GPa', 'RMSE']] if facts.has_stress else []),
                ['TotalLoss', 'None'],
            ],
        },
        'data': {
            'batch_size': facts.batch_size,
            # Fitted energies of the elements. With those of isolated atoms, the model must learn cohesive energies.
            'shift': 'elemwise_reference_energies',
            'scale': 'force_rms',
            'data_format_args': {'index': ':'},
            **data,
        },
    }


TRAINERS: dict[str, tuple[str, Callable[[_Facts], dict[str, Any]]]] = {
    'mace': ('mace_run_train --config', _mace),
    'sevennet': ('sevenn train', _sevennet),
}
"""For each trainer, the command that reads the config, and the function that makes the config."""
