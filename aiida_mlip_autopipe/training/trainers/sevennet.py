"""SevenNet: config files for the user, and fine-tuning in a job."""

from __future__ import annotations

import csv
import math
import os
import shutil
import sys
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import yaml
from ase.data import atomic_numbers
from pydantic import Field

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.core.fields import InputModel
from aiida_mlip_autopipe.storage.formats.export import export_dataset
from aiida_mlip_autopipe.storage.formats.extxyz import config_type
from aiida_mlip_autopipe.structures.rows.row import Row
from aiida_mlip_autopipe.training.base import CUTOFF_A, Config, FineTuning, TrainingData
from aiida_mlip_autopipe.training.contract import Epoch
from aiida_mlip_autopipe.training.formats.sevennet import SHIPPED, SevenNetCheckpoint, write_slim
from aiida_mlip_autopipe.training.offsets import Offsets
from aiida_mlip_autopipe.training.trainer import Leg, Trainer, TrainerSettings

# With as few steps as for MACE, the force error of SevenNet on 60 rows is more than three times as large.
STEPS_RATIO = 3
START = 'start.pth'
SETS = ('train', 'valid')
# The columns of SevenNet's learning curve by the fields of an epoch, with factors: it reports the root mean square
# of the lengths of differences, not of their components.
COLUMNS = {
    'learning_rate': ('lr', 1.0),
    **{f'{name}_loss': (f'{name}set_TotalLoss', 1.0) for name in SETS},
    **{f'{name}_energy_rmse_eV_atom': (f'{name}set_Energy_RMSE', 1.0) for name in SETS},
    **{f'{name}_force_rmse_eV_A': (f'{name}set_Force_RMSE', 1 / math.sqrt(3)) for name in SETS},
    **{f'{name}_stress_rmse_GPa': (f'{name}set_Stress_RMSE', 1 / math.sqrt(6)) for name in SETS},
}


class SevenNetTrainingSettings(TrainerSettings):
    """SevenNet."""

    kind: Literal['sevennet'] = 'sevennet'
    """SevenNet."""
    model: InputModel | None = Field(default=None, validate_default=True)
    """The checkpoint to fine-tune: a file, or the shipped ``7net-0`` (the default) or ``7net-l3i5``. Checkpoints with
    several levels of theory cannot be fine-tuned."""
    learning_rate_factor: float | None = Field(default=None, gt=0, le=1)
    """Factor by which the learning rate is multiplied after each epoch. The default is 0.95; with the default for a new
    model, the learning rate ends at a hundredth of its initial value."""
    huber_delta: float = Field(default=0.01, gt=0)
    """Error above which the loss is linear instead of quadratic, in the units of the trainer."""
    force_weight: float = Field(default=1.0, ge=0)
    """Weight of the forces in the loss. That of the energies per atom is 1."""
    stress_weight: float = Field(default=0.01, ge=0)
    """Weight of the stresses in the loss, if any training row has one."""

    default_model: ClassVar = '7net-0'
    learning_rates: ClassVar = {'naive': 0.001, 'replay': 0.001, 'scratch': 0.005}
    steps_ratio: ClassVar = STEPS_RATIO


class SevenNetTrainer(Trainer):
    """Trains with ``sevenn train``.

    A job writes a checkpoint after every epoch and does not shuffle the rows: their order is drawn once. A training
    run that is interrupted and continued therefore gives the same weights as an uninterrupted one, except with replay,
    for which SevenNet shuffles the structures.
    """

    settings_class = SevenNetTrainingSettings
    settings: SevenNetTrainingSettings
    command = 'sevenn train'
    known_models = SHIPPED
    suffix = '.pth'

    @staticmethod
    def export_config(data: TrainingData, rows: Sequence[Row], fine_tuning: FineTuning | None) -> Config:
        """Return the config of a training run that the user starts."""
        return sevennet_config(data, rows, fine_tuning)

    def write_start(self, model: Path, offsets: Offsets, folder: Path) -> None:
        """Write the checkpoint with the offsets added to the energies of its elements."""
        SevenNetCheckpoint.read(str(model), 'training.model').write_shifted(folder / START, offsets.energies_eV)

    def write_leg(self, leg: Leg) -> tuple[list[str], dict[str, Any]]:
        """Write ``leg_N.yaml``, which starts from the shifted checkpoint or continues from the last epoch."""
        settings, is_new = self.settings, self.settings.recipe == 'scratch'
        factor = settings.learning_rate_factor or (_final_hundredth(self.n_epochs) if is_new else 0.95)
        start = leg.folder / (f'epoch_{leg.n_done}.pth' if leg.n_done else START)
        from_nothing = is_new and not leg.n_done
        sections = _sections(
            leg.data,
            self.n_epochs,
            learning_rate=self.learning_rate,
            factor=factor,
            # SevenNet sorts the elements by their symbols.
            fitted=(
                {'shift': [leg.energies_eV[s] for s in sorted(_symbols(leg.data))], 'scale': 'force_rms'}
                if from_nothing
                else {}
            ),
        )
        sections['train'] |= {
            'device': leg.device,
            'train_shuffle': False,
            'per_epoch': 1,
            'loss_param': {'delta': settings.huber_delta},
            'force_loss_weight': settings.force_weight,
            'stress_loss_weight': settings.stress_weight,
        }
        if not from_nothing:
            resets = ('reset_optimizer', 'reset_scheduler', 'reset_epoch')
            sections['train']['continue'] = {'checkpoint': start.name, **dict.fromkeys(resets, leg.n_done == 0)}
        for split, path in leg.data.files.items():
            sections['data'][f'load_{split}set_path'] = [os.path.relpath(path, leg.folder)]
        if settings.batch_size is not None:
            sections['data']['batch_size'] = settings.batch_size
        if leg.data.replay is not None:
            # After each batch of the training set, SevenNet takes a step with a batch of this file.
            sections['data'] |= {
                'rehearsal': True,
                'load_memory_path': [os.path.relpath(leg.data.replay, leg.folder)],
                'mem_batch_size': sections['data']['batch_size'],
            }
        if from_nothing:
            model = _new_model(leg.data, settings.cutoff_A, settings.n_channels, settings.max_l)
        else:
            model = SevenNetCheckpoint.read(str(start), 'training.model').model_section
        config = {'model': model, **sections}
        name = f'leg_{leg.number}'
        (leg.folder / f'{name}.yaml').write_text(yaml.safe_dump(config, sort_keys=False))
        command = [sys.executable, '-m', 'sevenn.main.sevenn', 'train', f'{name}.yaml', '--working_dir', name, '-s']
        return command, config

    def collect(self, folder: Path, n_known: int) -> list[Epoch]:
        """Return the new epochs of the last leg, and move their checkpoints to the work folder."""
        curve = max(folder.glob('leg_*/lc.csv'), key=lambda path: int(path.parent.name[4:]), default=None)
        if curve is None:
            return []
        found = []
        for epoch in read_curve(curve.read_text()):
            written = curve.with_name(f'checkpoint_{epoch.epoch}.pth')
            if epoch.epoch <= n_known:
                continue
            # An archive ends with its directory, so a file that is being written is not an archive yet.
            if not zipfile.is_zipfile(written):
                break
            os.replace(written, folder / f'epoch_{epoch.epoch}.pth')
            found.append(epoch)
        return found

    def keep(self, folder: Path, best_epoch: int, last_epoch: int) -> list[Path]:
        """Remove all checkpoints but those of the best and the last epoch."""
        kept = {folder / f'epoch_{epoch}.pth' for epoch in (best_epoch, last_epoch)}
        for path in folder.glob('epoch_*.pth'):
            if path not in kept:
                path.unlink()
        return sorted(kept)

    def write_model(self, folder: Path, best_epoch: int, target: Path) -> None:
        """Write the model after an epoch without the state of the optimiser."""
        write_slim(folder / f'epoch_{best_epoch}.pth', target)
        for leg in folder.glob('leg_*/'):
            shutil.rmtree(leg)


def read_curve(text: str) -> list[Epoch]:
    """Return the complete lines of a learning curve of SevenNet, ``lc.csv``."""
    complete = text[: text.rfind('\n') + 1]
    lines = csv.DictReader(complete.splitlines())
    return [_read_epoch({name.strip(): value for name, value in line.items()}) for line in lines]


def _read_epoch(line: Mapping[str, str]) -> Epoch:
    numbers = {
        field: factor * float(line[column])
        for field, (column, factor) in COLUMNS.items()
        if line.get(column, '').strip()
    }
    finite = {field: number for field, number in numbers.items() if math.isfinite(number)}
    return Epoch(epoch=int(line['epoch']), **finite)


def sevennet_config(data: TrainingData, rows: Sequence[Row], fine_tuning: FineTuning | None) -> Config:
    """Return the config of ``sevenn train``.

    For fine-tuning, a checkpoint is written next to the config. It differs from the given one only in the energy shifts
    of the elements, by a least-squares fit to the differences between the labels and the energies of the given model.

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
        model = {**_new_model(data, CUTOFF_A), 'chemical_species': 'auto'}
        # Fitted energies of the elements. With those of isolated atoms, the model must learn cohesive energies.
        fitted = {'shift': 'elemwise_reference_energies', 'scale': 'force_rms'}
        n_steps = STEPS_RATIO * data.n_steps
        return Config({'model': model, **_exported(data, rows, n_steps, learning_rate=0.005, fitted=fitted)})
    checkpoint = SevenNetCheckpoint.read(fine_tuning.model, '--fine-tune')
    if missing := [symbol for symbol in _symbols(data) if symbol not in checkpoint.elements]:
        raise AutopipeError(
            Code.VALUE_INVALID, f'--fine-tune: {fine_tuning.model} does not support {", ".join(missing)}'
        )
    offsets = checkpoint.fit_offsets(rows)
    start = data.folder / f'{data.name}-start.pth'
    checkpoint.write_shifted(start, offsets)
    sections = _exported(data, rows, data.n_steps // 2, learning_rate=0.001, fitted={})
    sections['train']['continue'] = {
        'checkpoint': start.name,
        'reset_optimizer': True,
        'reset_scheduler': True,
        'reset_epoch': True,
    }
    listed = ', '.join(f'{symbol} {offset:+.4f}' for symbol, offset in offsets.items())
    comment = f'{start.name} is {fine_tuning.model} with these additions to the energies of the elements, eV: {listed}'
    return Config({'model': checkpoint.model_section, **sections}, (comment,), (f'{data.name}: {comment}',))


def _new_model(
    data: TrainingData, cutoff_A: float, n_channels: int | None = None, max_l: int | None = None
) -> dict[str, Any]:
    """Return the architecture of a new model."""
    return {
        'chemical_species': sorted(_symbols(data)),
        'cutoff': cutoff_A,
        'channel': n_channels or (16 if data.n_train <= 1000 else 32),
        'lmax': 2 if max_l is None else max_l,
        'num_convolution_layer': 3,
        'is_parity': False,
        'self_connection_type': 'linear',
        'conv_denominator': 'avg_num_neigh',
    }


def _final_hundredth(n_epochs: int) -> float:
    """Return the factor with which the learning rate ends at a hundredth of its initial value."""
    return float(round(0.01 ** (1 / n_epochs), 6))


def _symbols(data: TrainingData) -> list[str]:
    return [symbol for symbol, number in atomic_numbers.items() if number in data.numbers]


def _exported(
    data: TrainingData, rows: Sequence[Row], n_steps: int, *, learning_rate: float, fitted: dict[str, Any]
) -> dict[str, Any]:
    n_epochs = max(2, -(-n_steps // -(-data.n_train // data.batch_size)))
    factor = _final_hundredth(n_epochs)
    sections = _sections(data, n_epochs, learning_rate=learning_rate, factor=factor, fitted=fitted)
    if data.weights:
        sections['data']['load_trainset_path'] = _weighted_files(data, rows)
    return sections


def _sections(
    data: TrainingData, n_epochs: int, *, learning_rate: float, factor: float, fitted: dict[str, Any]
) -> dict[str, Any]:
    paths = {f'load_{split}set_path': [path.name] for split, path in data.files.items()}
    return {
        'train': {
            'random_seed': data.random_seed,
            'is_train_stress': data.has_stress,
            'epoch': n_epochs,
            'loss': 'Huber',
            'loss_param': {'delta': 0.01},
            'optimizer': 'adam',
            'optim_param': {'lr': learning_rate},
            'scheduler': 'exponentiallr',
            'scheduler_param': {'gamma': factor},
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


VARIANT = SevenNetTrainer
