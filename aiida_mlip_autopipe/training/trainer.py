"""The base classes of trainers, which turn the sets of a dataset into a model."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator
from pydantic_core import PydanticKnownError

from aiida_mlip_autopipe.calculators import CALCULATORS, CalculatorSettings
from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.fields import InputFile, InputModel, OneLine, fault
from aiida_mlip_autopipe.core.registry import Registry, variants_in
from aiida_mlip_autopipe.core.settings import Settings
from aiida_mlip_autopipe.jobs.resources import JobResources
from aiida_mlip_autopipe.storage.sets.split import SplitSettings
from aiida_mlip_autopipe.structures.rows.row import Row
from aiida_mlip_autopipe.training.base import (
    CUTOFF_A,
    Config,
    FineTuning,
    TrainingData,
    choose_batch_size,
    choose_n_steps,
)
from aiida_mlip_autopipe.training.contract import Epoch
from aiida_mlip_autopipe.training.offsets import Offsets

Recipe = Literal['naive', 'replay', 'scratch']

OF_THE_MODEL = {'model', 'model_sha256', 'store_model', 'device'}
"""Settings of the model, which is a separate input of a job."""
OF_THE_RUN = {'code', 'resources', 'max_jobs', 'sets', 'random_seed'}
"""Settings that decide where a training job runs and which rows it uses, but not how it trains."""
OF_REPLAY = {'n_replay', 'replay_file'}
"""Settings of the structures for ``recipe: replay``, which are a separate input of a job."""
OF_SCRATCH = {'n_channels', 'max_l', 'cutoff_A'}
"""Settings of a new model, for ``recipe: scratch``."""
N_EPOCHS = 40
N_REPLAY = 50
NEW_MODEL = 'new'
"""The name of a model that has no file yet."""


class TrainerSettings(Settings):
    """The fields of all ``training`` sections."""

    kind: str
    """The trainer, which is also the kind of calculator that uses the model."""
    recipe: Recipe = 'naive'
    """How the model is trained. ``naive`` fine-tunes all its weights on the rows of the dataset alone. ``replay`` also
    uses structures of other chemical systems, with labels of the initial model, so that the model does not forget these
    systems. ``scratch`` trains a new model."""
    model: InputModel | None = Field(default=None, validate_default=True)
    """The model to fine-tune: a file, or the name of a model that the package of the trainer ships."""
    model_sha256: str | None = Field(default=None, pattern='^[0-9a-f]{64}$')
    """sha256 of the model file. A job refuses any other file. The default is the sha256 of the submitted file."""
    store_model: bool = True
    """Whether AiiDA stores the content of the initial model. Shipped models are never stored."""
    device: Literal['auto', 'cpu', 'cuda'] = 'auto'
    """Device on which the model is trained. ``auto`` selects a GPU if one is available."""
    n_epochs: int | None = Field(default=None, ge=1)
    """Number of passes over the training set. By default, it is 40; for a new model, it depends on the number of
    training rows."""
    batch_size: int | None = Field(default=None, ge=1)
    """Number of structures in a batch. By default, it is 4 for up to 500 training rows, 8 for up to 5000, otherwise 16,
    and at most a quarter of the training rows."""
    learning_rate: float | None = Field(default=None, gt=0)
    """Learning rate of the first epoch. The default depends on the trainer and the recipe."""
    n_replay: int = Field(default=N_REPLAY, ge=1)
    """Number of structures of other chemical systems that are made for ``recipe: replay``."""
    replay_file: InputFile | None = None
    """Structures for ``recipe: replay``, in any format that ASE reads, instead of those that are made. Frames from the
    training data of the initial model are best. Labels in the file are not used."""
    n_channels: int | None = Field(default=None, ge=1)
    """Number of channels of a new model. The default depends on the number of training rows."""
    max_l: int | None = Field(default=None, ge=0, le=4)
    """Maximum rotation order of the features of a new model. The default depends on the trainer and the number of
    training rows."""
    cutoff_A: float = Field(default=CUTOFF_A, gt=0)
    """Cutoff of a new model in Å."""
    sets: SplitSettings | None = None
    """How the rows are divided into sets for training, validation and testing. By default, these are the sets that are
    stored in the rows; without stored sets, a tenth of the rows, in whole groups, is used for validation and nothing is
    held out for testing."""
    random_seed: int = Field(default=0, ge=0)
    """Random seed of the sets, of the order of the rows, of the structures for replay and of the trainer."""
    code: OneLine | None = None
    """AiiDA code, written as ``label@computer``; by default, the code that ``mlip-autopipe setup`` created for the
    calculator."""
    resources: JobResources | None = None
    """Resources of the job; by default, those of ``execution``."""
    max_jobs: int = Field(default=10, ge=1)
    """Maximum number of jobs. A job that reaches its wall-time limit or is killed is continued by another one."""

    default_model: ClassVar[str | None] = None
    learning_rates: ClassVar[dict[Recipe, float]]
    steps_ratio: ClassVar[int] = 1
    """Number of steps for a new model, divided by that of `choose_n_steps`."""

    @field_validator('model')
    @classmethod
    def _choose_model(cls, model: str | None, info: ValidationInfo) -> str | None:
        if info.data.get('recipe') == 'scratch':
            if model is not None:
                raise fault(Code.VALUES_EXCLUDE, 'must be left out for recipe: scratch, which trains a new model')
            return None
        model = model or cls.default_model
        if model is None:
            raise PydanticKnownError('missing')
        return model

    @model_validator(mode='after')
    def _refuse_unused(self) -> Self:
        for recipe, names in (('replay', OF_REPLAY), ('scratch', OF_SCRATCH)):
            # A config that was written with all its values contains the defaults, too.
            if self.recipe != recipe and (unused := sorted(names & self._changed())):
                raise fault(Code.VALUES_EXCLUDE, f'{unused[0]} requires recipe: {recipe}')
        if {'n_replay', 'replay_file'} <= self._changed():
            raise fault(Code.VALUES_EXCLUDE, 'all structures of replay_file are used; remove n_replay')
        return self

    def _changed(self) -> set[str]:
        fields = type(self).model_fields.items()
        return {name for name, field in fields if getattr(self, name) != field.default}

    def calculator(self) -> CalculatorSettings:
        """Return the settings of the calculator that uses the model."""
        given = self.model_dump(include={'kind', *OF_THE_MODEL}, exclude_none=True)
        # A new model has no file yet.
        return CALCULATORS.load(self.kind).settings_class.model_validate({'model': NEW_MODEL} | given)

    def complete(self, n_train: int) -> Self:
        """Return the settings with the defaults that depend on the recipe and the number of training rows."""
        n_epochs = N_EPOCHS
        if self.recipe == 'scratch':
            batch_size = self.batch_size or choose_batch_size(n_train)
            n_epochs = max(2, -(-self.steps_ratio * choose_n_steps(n_train) // max(1, n_train // batch_size)))
        return self.model_copy(
            update={
                'n_epochs': self.n_epochs or n_epochs,
                'learning_rate': self.learning_rate or self.learning_rates[self.recipe],
            }
        )

    def recipe_settings(self, n_train: int) -> dict[str, Any]:
        """Return the settings that change the trained model, as JSON.

        Parameters
        ----------
        n_train
            Number of training rows.
        """
        unused = OF_THE_MODEL | OF_THE_RUN | OF_REPLAY | (set() if self.recipe == 'scratch' else OF_SCRATCH)
        return self.complete(n_train).model_dump(mode='json', exclude=unused)

    @classmethod
    def of_job(cls, content: Mapping[str, Any]) -> Self:
        """Return the settings from the content of `recipe_settings`."""
        return cls.model_validate(
            {**content} if content.get('recipe') == 'scratch' else {**content, 'model': 'initial'}
        )


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
    energies_eV
        Energy per atom of each element in eV, for a new model.
    """

    folder: Path
    number: int
    n_done: int
    data: TrainingData
    device: str
    energies_eV: Mapping[str, float] = field(default_factory=dict)


class Trainer(ABC):
    """Base class of trainers.

    Parameters
    ----------
    settings
        An instance of the class's ``settings_class``, from `TrainerSettings.complete`.
    """

    settings_class: ClassVar[type[TrainerSettings]]
    command: ClassVar[str]
    """The command that reads an exported config."""
    known_models: ClassVar[tuple[str, ...]]
    """Names of models that the trainer can fine-tune besides files."""
    suffix: ClassVar[str]
    """Suffix of a model file."""
    uses_isolated_atoms: ClassVar[bool] = False
    """Whether a new model takes the energies of isolated atoms, if they are known, instead of fitted energies."""

    def __init__(self, settings: Any):
        self.settings = settings

    @property
    def n_epochs(self) -> int:
        """Number of passes over the training set."""
        return int(self.settings.n_epochs)

    @property
    def learning_rate(self) -> float:
        """Learning rate of the first epoch."""
        return float(self.settings.learning_rate)

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
            If the trainer cannot start from this model.
        """

    @abstractmethod
    def write_leg(self, leg: Leg) -> tuple[list[str], dict[str, Any]]:
        """Write the config of a leg. Return the command that runs it in the work folder, and the config."""

    @abstractmethod
    def collect(self, folder: Path, n_known: int) -> list[Epoch]:
        """Return the epochs after the first ``n_known`` that are finished, once their checkpoints are complete."""

    @abstractmethod
    def keep(self, folder: Path, best_epoch: int, last_epoch: int) -> list[Path]:
        """Remove checkpoints that are not needed, and return the files that the next leg needs."""

    @abstractmethod
    def write_model(self, folder: Path, best_epoch: int, target: Path) -> None:
        """Write the model after an epoch. Identical training runs give identical files."""


TRAINERS: Registry[Trainer] = Registry(
    'aiida_mlip_autopipe.trainers', variants_in('aiida_mlip_autopipe.training.trainers')
)
