"""Config files of SevenNet: a new model, and fine-tuning."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers

from aiida_mlip_autopipe.core.atomic_write import atomic_write
from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.storage.formats.export import export_dataset
from aiida_mlip_autopipe.storage.formats.extxyz import config_type
from aiida_mlip_autopipe.storage.trainers.base import CUTOFF_A, Config, FineTuning, TrainingData, find_model
from aiida_mlip_autopipe.structures.rows.row import Row

# The checkpoints that the package ships, except MF-0, which has two levels of theory.
SHIPPED = ('7net-0', '7net-l3i5')
# This many rows determine the offsets of the elements well enough.
MAX_FITTED = 200
# With as many steps as MACE, the error of the forces of 60 rows is more than three times as large.
STEPS_RATIO = 3


def sevennet_config(data: TrainingData, rows: Sequence[Row], fine_tuning: FineTuning | None) -> Config:
    """Return the config of ``sevenn train``.

    For fine-tuning, a checkpoint is written next to the config. It differs from the given one only in the energy shift
    of each element, by the mean difference between the labels and the energies of the given model.

    Parameters
    ----------
    data
        The sets.
    rows
        The training rows.
    fine_tuning
        The checkpoint to fine-tune; None for a new model.

    Raises
    ------
    AutopipeError
        If SevenNet is not installed, or the checkpoint cannot be read or does not support the elements.
    """
    if fine_tuning is None:
        model = {
            'chemical_species': 'auto',
            'cutoff': CUTOFF_A,
            'channel': 16 if data.n_train <= 1000 else 32,
            'lmax': 2,
            'num_convolution_layer': 3,
            'is_parity': False,
            'self_connection_type': 'linear',
            'conv_denominator': 'avg_num_neigh',
        }
        # Fitted energies of the elements. With those of isolated atoms, the model must learn cohesive energies.
        fitted = {'shift': 'elemwise_reference_energies', 'scale': 'force_rms'}
        n_steps = STEPS_RATIO * data.n_steps
        return Config({'model': model, **_sections(data, rows, n_steps, lr=0.005, fitted=fitted)})
    checkpoint = _Checkpoint.read(fine_tuning.model)
    if missing := [symbol for symbol in _symbols(data) if symbol not in checkpoint.elements]:
        raise AutopipeError(
            Code.VALUE_INVALID, f'--fine-tune: {fine_tuning.model} does not support {", ".join(missing)}'
        )
    offsets = checkpoint.fit_offsets(rows)
    start = data.folder / f'{data.name}-start.pth'
    checkpoint.write_shifted(start, offsets)
    sections = _sections(data, rows, data.n_steps // 2, lr=0.001, fitted={})
    sections['train']['continue'] = {
        'checkpoint': start.name,
        'reset_optimizer': True,
        'reset_scheduler': True,
        'reset_epoch': True,
    }
    listed = ', '.join(f'{symbol} {offset:+.4f}' for symbol, offset in offsets.items())
    comment = f'{start.name} is {fine_tuning.model} with these additions to the energies of the elements, eV: {listed}'
    return Config({'model': checkpoint.model_section, **sections}, (comment,), (f'{data.name}: {comment}',))


def _symbols(data: TrainingData) -> list[str]:
    return [symbol for symbol, number in atomic_numbers.items() if number in data.numbers]


def _sections(
    data: TrainingData, rows: Sequence[Row], n_steps: int, *, lr: float, fitted: dict[str, Any]
) -> dict[str, Any]:
    n_epochs = max(2, -(-n_steps // -(-data.n_train // data.batch_size)))
    paths: dict[str, Any] = {f'load_{split}set_path': [path.name] for split, path in data.files.items()}
    if data.weights:
        paths['load_trainset_path'] = _weighted_files(data, rows)
    return {
        'train': {
            'random_seed': data.random_seed,
            'is_train_stress': data.has_stress,
            'epoch': n_epochs,
            'loss': 'Huber',
            'loss_param': {'delta': 0.01},
            'optimizer': 'adam',
            'optim_param': {'lr': lr},
            'scheduler': 'exponentiallr',
            # The learning rate ends at a hundredth of its initial value.
            'scheduler_param': {'gamma': round(0.01 ** (1 / n_epochs), 6)},
            'force_loss_weight': 1.0,
            'stress_loss_weight': 0.01,
            'per_epoch': max(1, n_epochs // 10),
            **({'use_weight': True} if data.weights else {}),
            'error_record': [
                ['Energy', 'RMSE'],
                ['Force', 'RMSE'],
                *([['Stress_GPa', 'RMSE']] if data.has_stress else []),
                ['TotalLoss', 'None'],
            ],
        },
        'data': {
            'batch_size': data.batch_size,
            **fitted,
            'data_format_args': {'index': ':', 'force_reload': True},
            **paths,
        },
    }


def _weighted_files(data: TrainingData, rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Write the training set to one file for each weight, because SevenNet assigns weights to files."""
    entries = []
    for weight in sorted({data.weights.get(name, 1.0) for name in data.config_types}):
        part = [row for row in rows if data.weights.get(config_type(row), 1.0) == weight]
        path = data.folder / f'{data.name}-train-{weight:g}.extxyz'
        export_dataset(path, part, overwrite=True)
        weights = dict.fromkeys(('energy', 'force', 'stress'), weight)
        entries.append({'data_weight': weights, 'file_list': [{'file': path.name}]})
    return entries


@dataclass(frozen=True)
class _Checkpoint:
    """A checkpoint of SevenNet with one level of theory."""

    name: str
    path: Path
    model_section: dict[str, Any]
    elements: tuple[str, ...]

    @classmethod
    def read(cls, name: str) -> _Checkpoint:
        file = find_model(name, SHIPPED, '--fine-tune')
        try:
            from sevenn.util import load_checkpoint
        except ImportError:
            raise AutopipeError(
                Code.PACKAGE_MISSING,
                'a config for fine-tuning contains the architecture of the checkpoint, which SevenNet reads: '
                'pip install "aiida-mlip-autopipe[sevennet]"',
            ) from None
        try:
            with warnings.catch_warnings():
                # SevenNet warns about its own older checkpoints, whose sections the tests use.
                warnings.simplefilter('ignore', UserWarning)
                checkpoint = load_checkpoint(str(file or name))
                config = checkpoint.config
                # Statistics and elements are not part of it: SevenNet takes them from the checkpoint.
                section = checkpoint.yaml_dict('continue')['model']
        except Exception as error:  # SevenNet and torch raise exceptions of various types
            raise AutopipeError(Code.FILE_UNREADABLE, f'--fine-tune: {name} is not a checkpoint: {error}') from error
        if config.get('use_modality'):
            raise AutopipeError(
                Code.VALUE_INVALID,
                f'--fine-tune: {name} has several levels of theory; use a checkpoint with one',
            )
        by_number = {number: symbol for symbol, number in atomic_numbers.items()}
        elements = tuple(by_number[int(number)] for number in sorted(config['_type_map'], key=config['_type_map'].get))
        return cls(name, Path(checkpoint.checkpoint_path), section, elements)

    def fit_offsets(self, rows: Sequence[Row]) -> dict[str, float]:
        """Return the energy per atom of each element by which the labels exceed the model's energies, eV.

        This is a least-squares fit. If the compositions do not determine it, it is the smallest solution.
        """
        from sevenn.calculator import SevenNetCalculator

        with warnings.catch_warnings():
            # SevenNet recommends an accelerator every time it starts.
            warnings.simplefilter('ignore', UserWarning)
            calculator = SevenNetCalculator(str(self.path), device='cpu')
        chosen = [rows[i] for i in np.unique(np.linspace(0, len(rows) - 1, min(len(rows), MAX_FITTED)).astype(int))]
        symbols = sorted({symbol for row in chosen for symbol in row.atoms.get_chemical_symbols()})
        counts = np.array([[row.atoms.get_chemical_symbols().count(symbol) for symbol in symbols] for row in chosen])
        n_atoms = counts.sum(axis=1)
        differences = [row.labels['energy'] - _energy(row.atoms, calculator) for row in chosen]
        fitted = np.linalg.lstsq(counts / n_atoms[:, None], differences / n_atoms, rcond=1e-6)[0]
        return dict(zip(symbols, map(float, fitted), strict=True))

    def write_shifted(self, path: Path, offsets: dict[str, float]) -> None:
        """Write the checkpoint with offsets added to the energies of its elements."""
        import torch

        content = torch.load(self.path, map_location='cpu', weights_only=False)
        state, config = content['model_state_dict'], content['config']
        for key, setting in (('rescale_atomic_energy.shift', 'shift'), ('rescale_atomic_energy.scale', 'scale')):
            # A model with the same shift for all elements gets one for each, so it also needs one scale for each.
            values = state[key].reshape(-1).expand(len(self.elements)).clone()
            if setting == 'shift':
                values += torch.tensor([offsets.get(symbol, 0.0) for symbol in self.elements], dtype=values.dtype)
            state[key], config[setting] = values, values.tolist()
        with atomic_write(path, overwrite=True) as unfinished:
            torch.save(content, unfinished)


def _energy(atoms: Atoms, calculator: Any) -> float:
    copied = atoms.copy()
    copied.calc = calculator
    return float(copied.get_potential_energy())
