"""The inputs of a training run, from the section ``training`` of a config."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from aiida import orm

from aiida_mlip_autopipe.config.execution import ExecutionSettings
from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.data.dataset import DatasetData
from aiida_mlip_autopipe.jobs.version import TRAINING_VERSION
from aiida_mlip_autopipe.storage.sets.split import SplitResult
from aiida_mlip_autopipe.training.base import find_model
from aiida_mlip_autopipe.training.sets import choose_sets
from aiida_mlip_autopipe.training.trainer import TRAINERS, TrainerSettings
from aiida_mlip_autopipe.workflows.inputs.codes import job_inputs, training_code
from aiida_mlip_autopipe.workflows.inputs.environments import Environments
from aiida_mlip_autopipe.workflows.inputs.job_code import JobCode


@dataclass(frozen=True)
class TrainingInputs:
    """What a training run needs, from the section ``training``.

    Attributes
    ----------
    inputs
        The inputs of `TrainingWorkChain`.
    job_code
        The code of the jobs, with the initial model.
    sets
        The set of each row, and the number of rows in each set.
    """

    inputs: dict[str, Any]
    job_code: JobCode
    sets: SplitResult


def training_inputs(
    settings: TrainerSettings, execution: ExecutionSettings, dataset: DatasetData, environments: Environments
) -> TrainingInputs:
    """Return what a training run needs.

    Parameters
    ----------
    settings
        The section ``training``.
    execution
        The section ``execution``, with the default resources.
    dataset
        The dataset.
    environments
        The environment records of the codes.

    Raises
    ------
    AutopipeError
        If the code or the model does not exist, the model does not support an element or cannot be fine-tuned, or the
        dataset has no labels, several levels of theory, or no rows for training or validation.
    """
    trainer = TRAINERS.load(settings.kind)
    file = find_model(settings.model, trainer.known_models, 'training.model')
    sets = choose_sets(dataset.rows(), settings.sets, settings.random_seed)
    n_train = sets.splits.count('train')
    if settings.batch_size is not None and settings.batch_size > n_train:
        raise AutopipeError(
            Code.VALUE_INVALID,
            f'training.batch_size: {settings.batch_size} is larger than the number of training rows, {n_train}',
        )
    job_code = training_code(settings, execution)
    model = job_code.model
    assert model is not None
    elements = model.base.attributes.get('elements')
    if elements is not None and (missing := sorted(set(dataset.base.attributes.get('elements')) - set(elements))):
        raise AutopipeError(
            Code.ELEMENT_UNSUPPORTED,
            f'training.model: {file or model.name} does not support {", ".join(missing)}; use a model that does, or '
            "remove these rows with 'mlip-autopipe dataset convert --select'",
        )
    job = job_inputs(
        job_code,
        environments.node(job_code),
        dataset=dataset,
        splits=orm.List(list(sets.splits)),
        training=orm.Dict(settings.recipe_settings()),
        random_seed=orm.Int(settings.random_seed),
        training_version=orm.Str(TRAINING_VERSION),
    )
    inputs = {'job': job, 'max_iterations': orm.Int(settings.max_jobs), 'reuse_finished': execution.reuse_finished}
    return TrainingInputs(inputs, job_code, sets)
