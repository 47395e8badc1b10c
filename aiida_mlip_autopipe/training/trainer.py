"""The base classes of trainers, which turn the sets of a dataset into a model."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field

from aiida_mlip_autopipe.calculators import CALCULATORS, CalculatorSettings
from aiida_mlip_autopipe.core.fields import InputModel, OneLine
from aiida_mlip_autopipe.core.registry import Registry, variants_in
from aiida_mlip_autopipe.core.settings import Settings
from aiida_mlip_autopipe.jobs.resources import JobResources
from aiida_mlip_autopipe.storage.sets.split import SplitSettings
from aiida_mlip_autopipe.structures.rows.row import Row
from aiida_mlip_autopipe.training.base import Config, FineTuning, TrainingData
from aiida_mlip_autopipe.training.contract import Epoch
from aiida_mlip_autopipe.training.offsets import Offsets

OF_THE_MODEL = {'model', 'model_sha256', 'store_model', 'device'}
"""Settings of the model, which is a separate input of a job."""
OF_THE_RUN = {'code', 'resources', 'max_jobs', 'sets', 'random_seed'}
"""Settings that decide where a training job runs and which rows it uses, but not how it trains."""


class TrainerSettings(Settings):
    """The fields of all ``training`` sections."""

    kind: str
    """The trainer, which is also the kind of calculator that uses the model."""
    recipe: Literal['naive'] = 'naive'
    """How the model is trained. ``naive`` fine-tunes all its weights on the rows of the dataset alone."""
    model: InputModel
    """The model to fine-tune: a file, or the name of a model that the package of the trainer ships."""
    model_sha256: str | None = Field(default=None, pattern='^[0-9a-f]{64}$')
    """sha256 of the model file. A job refuses any other file. The default is the sha256 of the submitted file."""
    store_model: bool = True
    """Whether AiiDA stores the content of the initial model. Shipped models are never stored."""
    device: Literal['auto', 'cpu', 'cuda'] = 'auto'
    """Device on which the model is trained. ``auto`` selects a GPU if one is available."""
    n_epochs: int = Field(default=40, ge=1)
    """Number of passes over the training set."""
    batch_size: int | None = Field(default=None, ge=1)
    """Number of structures in a batch. By default, it is 4 for up to 500 training rows, 8 for up to 5000, otherwise 16,
    and at most a quarter of the training rows."""
    learning_rate: float = Field(default=0.001, gt=0)
    """Learning rate of the first epoch."""
    sets: SplitSettings | None = None
    """How the rows are divided into sets for training, validation and testing. By default, these are the sets that are
    stored in the rows; without stored sets, a tenth of the rows, in whole groups, is used for validation and nothing is
    held out for testing."""
    random_seed: int = Field(default=0, ge=0)
    """Random seed of the sets, of the order of the rows and of the trainer."""
    code: OneLine | None = None
    """AiiDA code, written as ``label@computer``; by default, the code that ``mlip-autopipe setup`` created for the
    calculator."""
    resources: JobResources | None = None
    """Resources of the job; by default, those of ``execution``."""
    max_jobs: int = Field(default=10, ge=1)
    """Maximum number of jobs, each of which continues the training after the wall time of the previous one."""

    def calculator(self) -> CalculatorSettings:
        """Return the settings of the calculator that uses the model."""
        given = self.model_dump(include={'kind', *OF_THE_MODEL}, exclude_none=True)
        return CALCULATORS.load(self.kind).settings_class.model_validate(given)

    def recipe_settings(self) -> dict[str, Any]:
        """Return the settings that change the trained model, as JSON."""
        return self.model_dump(mode='json', exclude=OF_THE_MODEL | OF_THE_RUN)


@dataclass(frozen=True)
class Leg:
    """What one process of a trainer does.

    Attributes
    ----------
    folder
        The work folder, in which the trainer is started.
    number
        Number of the leg, from 1.
    n_done
        Number of epochs that earlier legs have finished.
    data
        The sets; their files are relative to ``folder``.
    device
        ``cpu`` or ``cuda``.
    """

    folder: Path
    number: int
    n_done: int
    data: TrainingData
    device: str


class Trainer(ABC):
    """Base class of trainers.

    Parameters
    ----------
    settings
        An instance of the class's ``settings_class``.
    """

    settings_class: ClassVar[type[TrainerSettings]]
    command: ClassVar[str]
    """The command that reads an exported config."""
    known_models: ClassVar[tuple[str, ...]]
    """Names of models that the trainer can fine-tune besides files."""
    suffix: ClassVar[str]
    """Suffix of a model file."""

    def __init__(self, settings: Any):
        self.settings = settings

    @staticmethod
    @abstractmethod
    def export_config(data: TrainingData, rows: Sequence[Row], fine_tuning: FineTuning | None) -> Config:
        """Return the config of a training run that the user starts; see `write_trainer_config`."""

    @abstractmethod
    def write_start(self, model: Path, offsets: Offsets, folder: Path) -> None:
        """Write the initial model with the offsets added to the energies of its elements to the work folder.

        Raises
        ------
        AutopipeError
            If the trainer cannot continue this model.
        """

    @abstractmethod
    def write_leg(self, leg: Leg) -> tuple[list[str], dict[str, Any]]:
        """Write the config of a leg. Return the command that runs it in the work folder, and the config."""

    @abstractmethod
    def collect(self, folder: Path, n_known: int) -> list[Epoch]:
        """Return the epochs after the first ``n_known`` that are finished, once their checkpoints are complete."""

    @abstractmethod
    def keep(self, folder: Path, best_epoch: int, last_epoch: int) -> list[Path]:
        """Remove checkpoints that are not needed, and return the files that a following leg needs."""

    @abstractmethod
    def write_model(self, folder: Path, best_epoch: int, target: Path) -> None:
        """Write the model after an epoch. Identical training runs give identical files."""


TRAINERS: Registry[Trainer] = Registry(
    'aiida_mlip_autopipe.trainers', variants_in('aiida_mlip_autopipe.training.trainers')
)
