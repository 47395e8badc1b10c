"""The input and output files of a training job, except ``result.json``."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from aiida_mlip_autopipe.core.settings import Settings
from aiida_mlip_autopipe.jobs.contract import AnyJob
from aiida_mlip_autopipe.structures.rows.splits import Split
from aiida_mlip_autopipe.training.errors import Errors

SETS_FILE = 'set.extxyz'
"""The files of the sets are ``set-train.extxyz``, ``set-valid.extxyz`` and, if it has rows, ``set-test.extxyz``."""
START_CHECKPOINT_FILE = 'start.tar'
CHECKPOINT_FILE = 'checkpoint.tar'
MODEL_FILE = 'trained'
"""Name of the trained model without its suffix, which depends on the trainer."""
TRAINING_FILE = 'training.json'
REPLAY_FILE = 'replay.extxyz'
"""The file of structures of other chemical systems. In the work folder, they have labels of the initial model."""
LOG_FILE = 'trainer.log'
WORK_FOLDER = 'trainer'


class TrainingJob(AnyJob):
    """``job.json`` of a training job: the trainer, the model that it starts from, and the sets."""

    training_version: str
    """The required version of the method."""
    calculator: dict[str, Any]
    """Settings of the calculator of the model, with ``kind`` and ``model_sha256``."""
    training: dict[str, Any]
    """Settings of the trainer."""
    sets: dict[Split, str]
    """The file of each set. Those for training and validation are required."""
    random_seed: int = Field(ge=0)
    """Random seed of the trainer."""
    replay: str | None = None
    """The file of structures for replay, without labels; None if there are none."""
    isolated_atom_energies_eV: dict[str, float] | None = None
    """Energies of isolated atoms in eV at the level of the labels; None if one of them is unknown."""


class Epoch(Settings):
    """The errors after an epoch, as the trainer reports them; None if it does not report a value."""

    epoch: int
    """Number of the epoch, from 1."""
    learning_rate: float | None = None
    """Learning rate of this epoch."""
    train_loss: float | None = None
    """Loss on the training set, in the units of the trainer."""
    valid_loss: float | None = None
    """Loss on the validation set. The model with the smallest one is kept."""
    train_energy_rmse_eV_atom: float | None = None
    """Error of the energy per atom on the training set during the epoch, in eV."""
    valid_energy_rmse_eV_atom: float | None = None
    """Error of the energy per atom on the validation set, in eV."""
    train_force_rmse_eV_A: float | None = None
    """Error of the force components on the training set during the epoch, in eV/Å."""
    valid_force_rmse_eV_A: float | None = None
    """Error of the force components on the validation set, in eV/Å."""
    train_stress_rmse_GPa: float | None = None
    """Error of the stress components on the training set during the epoch, in GPa."""
    valid_stress_rmse_GPa: float | None = None
    """Error of the stress components on the validation set, in GPa."""


class Training(Settings):
    """``training.json``: what a training run did. It is part of the checkpoint while the run is unfinished."""

    trainer: str
    """Kind of the trainer."""
    trainer_version: str | None = None
    """Version of its package."""
    config: dict[str, Any] = Field(default_factory=dict)
    """The trainer's own config of the last leg."""
    recipe: str = 'naive'
    """How the model is trained."""
    n_frames: dict[Split, int]
    """Number of frames of each set."""
    n_replayed: int = 0
    """Number of structures of other chemical systems that are replayed with labels of the initial model."""
    n_not_replayed: int = 0
    """Number of structures that were left out, because a force of the initial model on one of their atoms is too
    large."""
    offsets_eV: dict[str, float] = Field(default_factory=dict)
    """Energy per atom that was added to each element of the initial model, in eV; for a new model, the energy of an
    atom of each element without interactions."""
    offsets_determined: bool = True
    """Whether the compositions determine the offsets. If not, the sum of their squares is as small as possible."""
    offsets_residual_eV_atom: float | None = None
    """Root mean square of the energy differences that the offsets do not explain, in eV per atom."""
    initial_errors: dict[Split, Errors] = Field(default_factory=dict)
    """Errors of the initial model, with the offsets added to it; empty for a new model."""
    final_errors: dict[Split, Errors] = Field(default_factory=dict)
    """Errors of the trained model."""
    epochs: tuple[Epoch, ...] = ()
    """The learning curves."""
    elements: tuple[str, ...] = ()
    """Symbols of the elements that the trained model supports; empty if they are unknown."""
    cutoff_A: float | None = None
    """Cutoff of the trained model in Å; None if it is unknown."""
    best_epoch: int | None = None
    """The epoch after which the loss on the validation set was smallest; its model is the result."""
    continued_after: tuple[int, ...] = ()
    """The epochs after which the training was interrupted and continued."""
    wall_time_s: float = 0.0
    """Wall time of the trainer in seconds, over all legs."""

    @property
    def n_done(self) -> int:
        """Number of epochs that are finished."""
        return self.epochs[-1].epoch if self.epochs else 0
