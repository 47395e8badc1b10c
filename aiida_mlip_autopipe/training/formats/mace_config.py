"""Config files of MACE for the user: a new model, fine-tuning, and fine-tuning with replay."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ase.data import atomic_numbers

from aiida_mlip_autopipe.structures.rows.row import Row
from aiida_mlip_autopipe.training.base import CUTOFF_A, Config, FineTuning, TrainingData, find_model

# The names of foundation models in mace-torch 0.3.16, and of its replay data. MACE downloads them.
FOUNDATION_MODELS = (
    *('small', 'medium', 'large', 'small-0b', 'medium-0b', 'small-0b2', 'medium-0b2', 'large-0b2', 'medium-0b3'),
    *('medium-mpa-0', 'small-omat-0', 'medium-omat-0', 'mace-matpes-pbe-0', 'mace-matpes-r2scan-0', 'mh-0', 'mh-1'),
    *('small_off', 'medium_off', 'large_off', 'mace_omol'),
)
REPLAY_DATA = ('mp', 'matpes_pbe', 'matpes_r2scan', 'omat')
# MACE evaluates the validation set this many times, and keeps the best checkpoint.
N_VALIDATIONS = 50
BATCH_SIZES = ('batch_size', 'valid_batch_size')


def mace_config(data: TrainingData, rows: Sequence[Row], fine_tuning: FineTuning | None) -> Config:
    """Return the config of ``mace_run_train``.

    Parameters
    ----------
    data
        The sets.
    rows
        Not used, since MACE reads the rows from the file.
    fine_tuning
        The model to fine-tune and, for replay, frames of its training data; None for a new model.

    Raises
    ------
    AutopipeError
        If the model or the frames for replay cannot be found.
    """
    files, comments = _files(data)
    if fine_tuning is not None and fine_tuning.replay is None:
        comments.append('MACE 0.3.16 ignores these E0s if the model has exactly as many elements as this dataset.')
    if fine_tuning is None:
        training, notes = _new_model(data)
    elif fine_tuning.replay is None:
        training, notes = _naive(data, fine_tuning.model)
    else:
        training, notes = _replay(data, fine_tuning.model, fine_tuning.replay)
    return Config({**files, **training, **common_settings(data), 'device': 'cpu'}, tuple(comments), tuple(notes))


def common_settings(data: TrainingData) -> dict[str, Any]:
    """Return the loss, the table of errors and the batch sizes, which all configs contain."""
    return {
        # This loss combines energy per atom, forces and stress.
        **({'loss': 'universal', 'compute_stress': True} if data.has_stress else {'loss': 'weighted'}),
        'error_table': 'PerAtomRMSEstressvirials' if data.has_stress else 'PerAtomRMSE',
        **dict.fromkeys(BATCH_SIZES, data.batch_size),
    }


def _files(data: TrainingData) -> tuple[dict[str, Any], list[str]]:
    comments = []
    # Without a validation file, MACE draws validation frames from the training set at random, and similar frames remain
    # in it.
    valid = data.files.get('valid')
    if valid is None:
        valid = data.files['train']
        comments.append('The validation errors are those of the training set, because no validation set exists.')
    files: dict[str, Any] = {
        'name': data.name,
        'seed': data.random_seed,
        'work_dir': data.name,
        'train_file': data.files['train'].name,
        'valid_file': valid.name,
        **({'test_file': data.files['test'].name} if 'test' in data.files else {}),
        'energy_key': 'REF_energy',
        'forces_key': 'REF_forces',
        'stress_key': 'REF_stress',
        # Without this list, the model would lack elements that occur only in the test set.
        'atomic_numbers': str(list(data.numbers)),
    }
    if data.weights:
        files['config_type_weights'] = str({name: data.weights.get(name, 1.0) for name in data.config_types})
    return files, comments


def _new_model(data: TrainingData) -> tuple[dict[str, Any], list[str]]:
    notes = []
    e0s = _dictionary(data)
    if e0s is None:
        e0s = 'average'
        notes.append(
            f'{data.name}: the energies of isolated atoms of {", ".join(data.unknown_atoms)} are unknown, so MACE fits '
            f'average energies of the elements (E0s: average), and the energy of separated atoms is arbitrary; '
            f'{_how_to_get(data)}'
        )
    channels, max_l = model_size(data.n_train)
    return {
        'E0s': e0s,
        'model': 'MACE',
        'r_max': CUTOFF_A,
        'num_channels': channels,
        'max_L': max_l,
        'lr': 0.01,
        'energy_weight': 10,
        'forces_weight': 10,
        'stress_weight': 10,
        **_epochs(data, data.n_steps, stage_two=True),
        'ema': True,
        'ema_decay': 0.99,
    }, notes


def _naive(data: TrainingData, model: str) -> tuple[dict[str, Any], list[str]]:
    e0s, notes = _tuned_e0s(data)
    return {
        'foundation_model': _model(data, model),
        # MACE would otherwise expect frames for replay.
        'multiheads_finetuning': False,
        'E0s': e0s,
        'lr': 0.001,
        'energy_weight': 10,
        'forces_weight': 10,
        'stress_weight': 10,
        'weight_decay': 0.0,
        'clip_grad': 1.0,
        **_epochs(data, data.n_steps // 2, stage_two=False),
        'ema': True,
        'ema_decay': 0.999,
    }, notes


def _replay(data: TrainingData, model: str, replay: str) -> tuple[dict[str, Any], list[str]]:
    e0s, notes = _tuned_e0s(data)
    file = find_model(replay, REPLAY_DATA, '--replay')
    frames = {'pt_train_file': replay}
    if file is not None:
        # MACE would draw validation frames from the file at random, and only the errors of the new frames decide which
        # checkpoint is kept.
        path = data.relative(replay)
        frames = {'pt_train_file': path, 'pt_valid_file': path}
    return {
        'foundation_model': _model(data, model),
        'multiheads_finetuning': True,
        **frames,
        'E0s': e0s,
        # Without this key, MACE ignores the next three values, and uses its own.
        'force_mh_ft_lr': True,
        'lr': 0.0001,
        'ema': True,
        'ema_decay': 0.99999,
        'weight_decay': 0.0,
        'clip_grad': 1.0,
        'energy_weight': 10,
        'forces_weight': 10,
        'stress_weight': 10,
        **_epochs(data, data.n_steps, stage_two=False),
    }, notes


def _epochs(data: TrainingData, n_steps: int, *, stage_two: bool) -> dict[str, Any]:
    # MACE omits an incomplete last batch.
    n_epochs = max(2, -(-n_steps // (data.n_train // data.batch_size)))
    interval = max(1, n_epochs // N_VALIDATIONS)
    # The last epoch must be one that MACE validates, since it keeps no other checkpoint.
    n_epochs = -(-(n_epochs - 1) // interval) * interval + 1
    first = n_epochs * 3 // 4 if stage_two else n_epochs
    schedule: dict[str, Any] = {
        'max_num_epochs': n_epochs,
        'eval_interval': interval,
        'scheduler': 'ExponentialLR',
        'lr_scheduler_gamma': round(0.1 ** (1 / first), 6),
    }
    if stage_two:
        schedule |= {
            'swa': True,
            'start_swa': first,
            'swa_lr': 0.001,
            'swa_energy_weight': 1000,
            'swa_forces_weight': 100,
            'swa_stress_weight': 100,
        }
    return schedule


def _dictionary(data: TrainingData) -> str | None:
    atoms = data.isolated_atoms
    return None if atoms is None else str({atomic_numbers[symbol]: energy for symbol, energy in atoms.items()})


def _tuned_e0s(data: TrainingData) -> tuple[str, list[str]]:
    dictionary = _dictionary(data)
    if dictionary is not None and not data.is_mlip:
        return dictionary, []
    # A potential extrapolates to isolated atoms, so its E0s would not fit the interaction energies of another one.
    if data.is_mlip:
        return 'estimated', []
    return 'estimated', [
        f'{data.name}: the energies of isolated atoms of {", ".join(data.unknown_atoms)} are unknown, so MACE '
        f'estimates E0s from the errors of the model that is fine-tuned (E0s: estimated); {_how_to_get(data)}'
    ]


def _how_to_get(data: TrainingData) -> str:
    if data.is_mlip:
        return 'explore with a calculator that can evaluate isolated atoms, or add them to the E0s'
    return (
        "write their inputs with 'mlip-autopipe dataset dft-inputs FILE -o atoms --settings SETTINGS --isolated-atoms "
        "only', run them, and read them with 'mlip-autopipe dataset label-from atoms FILE -o OUTPUT'"
    )


def _model(data: TrainingData, model: str) -> str:
    file = find_model(model, FOUNDATION_MODELS, '--fine-tune')
    return model if file is None else data.relative(model)


def model_size(n_train: int) -> tuple[int, int]:
    """Return the number of channels and the maximum rotation order of a new model.

    A small dataset does not provide enough data for a large model, which also takes longer. On one thread, 32 channels
    of rotation order 0 cost about a quarter of 64 channels of order 1.
    """
    return (32, 0) if n_train <= 1000 else (64, 1) if n_train <= 10_000 else (128, 1)
