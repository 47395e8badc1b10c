"""MACE: config files for the user (a new model, fine-tuning, and fine-tuning with replay), and fine-tuning in a job."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

from ase.data import atomic_numbers
from pydantic import Field

from aiida_mlip_autopipe.structures.rows.row import Row
from aiida_mlip_autopipe.training.base import Config, FineTuning, TrainingData
from aiida_mlip_autopipe.training.contract import Epoch
from aiida_mlip_autopipe.training.formats import mace as mace_files
from aiida_mlip_autopipe.training.formats.mace_config import (
    BATCH_SIZES,
    FOUNDATION_MODELS,
    common_settings,
    mace_config,
    model_size,
)
from aiida_mlip_autopipe.training.offsets import Offsets
from aiida_mlip_autopipe.training.trainer import Leg, Trainer, TrainerSettings


class MACETrainingSettings(TrainerSettings):
    """MACE."""

    kind: Literal['mace'] = 'mace'
    """MACE."""
    energy_weight: float = Field(default=10.0, ge=0)
    """Weight of the energies in the loss."""
    force_weight: float = Field(default=10.0, ge=0)
    """Weight of the forces in the loss."""
    stress_weight: float = Field(default=10.0, ge=0)
    """Weight of the stresses in the loss, if any training row has one."""
    ema_decay: float = Field(default=0.999, gt=0, lt=1)
    """Decay of the exponential moving average of the weights. The trained model has the averaged weights."""
    clip_grad: float = Field(default=1.0, gt=0)
    """Maximum norm of the gradients; larger gradients are clipped."""
    dtype: Literal['float32', 'float64'] = 'float64'
    """Floating-point type of the training."""

    learning_rates: ClassVar = {'naive': 0.001, 'replay': 0.0001, 'scratch': 0.01}


class MACETrainer(Trainer):
    """Trains with ``mace_run_train``.

    MACE stores neither the state of its random number generator nor the weights before averaging, from which it would
    have to continue. A training run that was interrupted therefore differs slightly from an uninterrupted one.
    """

    settings_class = MACETrainingSettings
    settings: MACETrainingSettings
    command = 'mace_run_train --config'
    known_models = FOUNDATION_MODELS
    suffix = '.model'
    uses_isolated_atoms = True

    def __init__(self, settings: Any):
        super().__init__(settings)
        self._log: mace_files.ResultsLog | None = None

    @staticmethod
    def export_config(data: TrainingData, rows: Sequence[Row], fine_tuning: FineTuning | None) -> Config:
        """Return the config of a training run that the user starts."""
        return mace_config(data, rows, fine_tuning)

    def write_start(self, model: Path, offsets: Offsets, folder: Path) -> None:
        """Write the model with the offsets added to its E0s."""
        mace_files.write_shifted(model, offsets.energies_eV, folder / mace_files.START)

    def write_leg(self, leg: Leg) -> tuple[list[str], dict[str, Any]]:
        """Write ``leg_N.yaml``. A later leg continues from the checkpoint in its folder."""
        settings = self.settings
        config = {
            'name': mace_files.NAME,
            'seed': leg.data.random_seed,
            'work_dir': f'leg_{leg.number}',
            **self._model(leg),
            **{f'{split}_file': mace_files.relative(path, leg.folder) for split, path in leg.data.files.items()},
            'energy_key': 'REF_energy',
            'forces_key': 'REF_forces',
            'stress_key': 'REF_stress',
            'lr': self.learning_rate,
            'energy_weight': settings.energy_weight,
            'forces_weight': settings.force_weight,
            'stress_weight': settings.stress_weight,
            'weight_decay': 0.0,
            'clip_grad': settings.clip_grad,
            'ema': True,
            'ema_decay': settings.ema_decay,
            'max_num_epochs': self.n_epochs,
            'eval_interval': 1,
            'scheduler': 'ExponentialLR',
            # In fine-tuning, the learning rate is constant; that of a new model ends at a hundredth of its value.
            'lr_scheduler_gamma': round(0.01 ** (1 / self.n_epochs), 6) if settings.recipe == 'scratch' else 1.0,
            'patience': self.n_epochs + 1,
            'save_all_checkpoints': True,
            'restart_latest': leg.n_done > 0,
            'default_dtype': settings.dtype,
            **common_settings(leg.data),
            # With several heads, MACE always uses this loss, which needs stresses.
            **({} if leg.data.replay is None else {'loss': 'universal', 'compute_stress': True}),
            'device': leg.device,
            **({} if settings.batch_size is None else dict.fromkeys(BATCH_SIZES, settings.batch_size)),
        }
        return mace_files.write_leg(leg, config), config

    def _model(self, leg: Leg) -> dict[str, Any]:
        """Return the part of the config about the model and its E0s."""
        if self.settings.recipe == 'scratch':
            channels, max_l = model_size(leg.data.n_train)
            energies = {atomic_numbers[symbol]: energy for symbol, energy in leg.energies_eV.items()}
            return {
                'E0s': str(energies),
                'atomic_numbers': str(list(leg.data.numbers)),
                'model': 'MACE',
                'r_max': self.settings.cutoff_A,
                'num_channels': self.settings.n_channels or channels,
                'max_L': max_l if self.settings.max_l is None else self.settings.max_l,
            }
        model = {
            'foundation_model': mace_files.START,
            # Otherwise, the model would lose all elements that the dataset does not contain.
            'foundation_model_elements': True,
            # The offsets are part of the model.
            'E0s': 'foundation',
            'multiheads_finetuning': leg.data.replay is not None,
        }
        if leg.data.replay is None:
            return model
        path = mace_files.relative(leg.data.replay, leg.folder)
        # A second head keeps what the initial model knows. Without a validation file, MACE would draw validation frames
        # from these at random; only the errors of the new frames decide which checkpoint is kept. Without the last key,
        # MACE ignores the learning rate and the decay of the average.
        return {**model, 'pt_train_file': path, 'pt_valid_file': path, 'force_mh_ft_lr': True}

    def collect(self, folder: Path, n_known: int) -> list[Epoch]:
        """Return the new epochs of the last leg, and move their checkpoints to the work folder."""
        path = mace_files.find_log(folder)
        if path is None:
            return []
        if self._log is None or self._log.path != path:
            self._log = mace_files.ResultsLog(path)
        return [epoch for epoch in self._log.collect(folder) if epoch.epoch > n_known]

    def keep(self, folder: Path, best_epoch: int, last_epoch: int) -> list[Path]:
        """Remove all checkpoints but those of the best and the last epoch."""
        return mace_files.keep(folder, {best_epoch, last_epoch})

    def write_model(self, folder: Path, best_epoch: int, target: Path) -> None:
        """Write the model after an epoch."""
        mace_files.write_model(folder, best_epoch, target)


VARIANT = MACETrainer
