"""The inputs of a training run, from the section ``training`` of a config."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from aiida import orm

from aiida_mlip_autopipe.calculations.training.replay import replay_node
from aiida_mlip_autopipe.config.execution import ExecutionSettings
from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.data.dataset import DatasetData
from aiida_mlip_autopipe.jobs.version import TRAINING_VERSION
from aiida_mlip_autopipe.storage.sets.split import SplitResult
from aiida_mlip_autopipe.training.base import find_model
from aiida_mlip_autopipe.training.replay import read_replay_file
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
    notes
        What was left out of the structures for replay.
    """

    inputs: dict[str, Any]
    job_code: JobCode
    sets: SplitResult
    notes: tuple[str, ...] = ()


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
        If the code or the model does not exist, the model does not support an element or cannot be fine-tuned, no
        structure is left for replay, or the dataset has no labels, several levels of theory, or no rows for training or
        validation.
    """
    sets = choose_sets(dataset.rows(), settings.sets, settings.random_seed)
    n_train = sets.splits.count('train')
    if settings.batch_size is not None and settings.batch_size > n_train:
        raise AutopipeError(
            Code.VALUE_INVALID,
            f'training.batch_size: {settings.batch_size} is larger than the number of training rows, {n_train}',
        )
    trainer = TRAINERS.load(settings.kind)
    file = None if settings.model is None else find_model(settings.model, trainer.known_models, 'training.model')
    job_code = training_code(settings, execution)
    elements = set(dataset.base.attributes.get('elements'))
    known = None if job_code.model is None else job_code.model.base.attributes.get('elements')
    if job_code.model is not None and known is not None and (missing := sorted(elements - set(known))):
        raise AutopipeError(
            Code.ELEMENT_UNSUPPORTED,
            f'training.model: {file or job_code.model.name} does not support {", ".join(missing)}; use a model that '
            "does, or remove these rows with 'mlip-autopipe dataset convert --select'",
        )
    job = job_inputs(
        job_code,
        environments.node(job_code),
        dataset=dataset,
        splits=orm.List(list(sets.splits)),
        training=orm.Dict(settings.recipe_settings(n_train)),
        random_seed=orm.Int(settings.random_seed),
        training_version=orm.Str(TRAINING_VERSION),
    )
    inputs = {'job': job, 'max_iterations': orm.Int(settings.max_jobs), 'reuse_finished': execution.reuse_finished}
    notes: tuple[str, ...] = ()
    if settings.recipe == 'replay':
        if settings.replay_file is None:
            inputs['n_replay'] = orm.Int(settings.n_replay)
        else:
            frames, notes = read_replay_file(settings.replay_file, elements, known)
            job['replay'] = replay_node(frames)
    return TrainingInputs(inputs, job_code, sets, notes)
