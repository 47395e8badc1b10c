"""Train a model on a dataset: the plan, the submission, the state of a training run, and its model."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiida import orm
from pydantic import ValidationError

from aiida_mlip_autopipe.campaigns.submission import Announce, Submitted, submit_and_announce
from aiida_mlip_autopipe.config.training import TrainingConfig
from aiida_mlip_autopipe.core.atomic_write import atomic_write
from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.data.dataset import DatasetData
from aiida_mlip_autopipe.data.model import ModelData
from aiida_mlip_autopipe.installation.profile import ensure_daemon
from aiida_mlip_autopipe.structures.rows.splits import SPLITS
from aiida_mlip_autopipe.training.contract import WORK_FOLDER, Epoch, Training
from aiida_mlip_autopipe.training.work_folder import read_state
from aiida_mlip_autopipe.workflows.inputs.environments import Environments
from aiida_mlip_autopipe.workflows.inputs.models import place_models
from aiida_mlip_autopipe.workflows.inputs.training import TrainingInputs, training_inputs
from aiida_mlip_autopipe.workflows.training import TrainingWorkChain

TRAINING = 'aiida.workflows:mlip_autopipe.training'
"""The process type of a training run."""
POLL_S = 1.0


@dataclass(frozen=True)
class TrainingPlan:
    """What a training run would do.

    Attributes
    ----------
    code, model
        The code of the jobs, and the name of the initial model.
    n_rows, n_groups
        Number of rows and of groups in each set.
    n_epochs
        Number of passes over the training set.
    warnings
        What the user should know about the sets.
    """

    code: str
    model: str
    n_rows: dict[str, int]
    n_groups: dict[str, int]
    n_epochs: int
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class TrainingProgress:
    """The state of a training run.

    Attributes
    ----------
    pk
        The training.
    state
        ``created``, ``waiting``, ``running``, ``finished``, ``excepted`` or ``killed``.
    n_epochs
        Number of epochs that it will have.
    last
        The last finished epoch; on other computers, that of the jobs that have ended. None before the first one.
    failure
        Why it failed; None if it did not.
    """

    pk: int
    state: str
    n_epochs: int
    last: Epoch | None
    failure: str | None


def plan_training(config: TrainingConfig, file: Path) -> TrainingPlan:
    """Return what a training run would do. Nothing is submitted.

    Raises
    ------
    AutopipeError
        If the dataset, a code or the model cannot be used.
    """
    inputs = training_inputs(config.training, config.execution, _read_dataset(file), Environments())
    assert inputs.job_code.model is not None
    return TrainingPlan(
        code=inputs.job_code.code.full_label,
        model=inputs.job_code.model.name,
        n_rows=dict(inputs.sets.report['n_rows']),
        n_groups=dict(inputs.sets.report['n_groups']),
        n_epochs=config.training.n_epochs,
        warnings=tuple(inputs.sets.report['warnings']),
    )


def submit_training(
    config: TrainingConfig,
    file: Path,
    notify: Callable[[str], None],
    announce: Announce = lambda submitted: None,
) -> Submitted:
    """Check a training run, copy its model to the computer, and submit it. Start the daemon if needed.

    Parameters
    ----------
    config
        How the model is trained.
    file
        The dataset, a database of this program.
    notify
        Called with each warning, and with a message if the daemon was started or the model was copied to a computer.
    announce
        Called with the submitted training run. Ctrl-C takes effect only afterwards, so every run is announced.

    Raises
    ------
    AutopipeError
        If the dataset, a code or the model cannot be used, or the daemon does not start. In that case, nothing is
        submitted.
    """
    dataset = _read_dataset(file)
    # First, because copying a model to another machine needs the broker, which the daemon starts.
    if ensure_daemon():
        notify('daemon started')
    found: TrainingInputs = training_inputs(config.training, config.execution, dataset, Environments(notify))
    for warning in found.sets.report['warnings']:
        notify(warning)
    place_models([found.job_code], notify)
    return submit_and_announce(
        announce, file.stem, file, TrainingWorkChain, **found.inputs, metadata={'label': file.stem}
    )


def load_training_run(identifier: str) -> orm.WorkChainNode:
    """Return a training run by its pk or uuid.

    Raises
    ------
    AutopipeError
        If it does not exist.
    """
    try:
        node = orm.load_node(identifier)
    except Exception:  # missing, ambiguous or malformed identifiers are the same to the user
        node = None
    if node is None or node.process_type != TRAINING:
        known = orm.QueryBuilder().append(orm.WorkChainNode, filters={'process_type': TRAINING}, project='id')
        listed = ', '.join(map(str, sorted(known.all(flat=True)))) or 'none'
        raise AutopipeError(
            Code.CAMPAIGN_MISSING, f'no training run matches {identifier!r}; existing training runs: {listed}'
        )
    return node


def read_training(node: orm.WorkChainNode) -> TrainingProgress:
    """Return the state of a training run at any time."""
    epochs = _epochs(node)
    failure = node.exit_message or node.process_status or node.process_state.value
    return TrainingProgress(
        pk=node.pk,
        state=node.process_state.value,
        n_epochs=node.inputs.job.training['n_epochs'],
        last=epochs[-1] if epochs else None,
        failure=failure if node.is_terminated and not node.is_finished_ok else None,
    )


def watch_training(node: orm.WorkChainNode) -> Iterator[TrainingProgress]:
    """Yield the state of a training run until it ends."""
    while True:
        node = orm.load_node(node.pk)
        progress = read_training(node)
        yield progress
        if node.is_terminated:
            return
        time.sleep(POLL_S)


def read_report(node: orm.WorkChainNode) -> Training:
    """Return the report of a finished training run.

    Raises
    ------
    AutopipeError
        If it has none yet.
    """
    if 'report' not in node.outputs:
        raise AutopipeError(Code.MODEL_MISSING, f'training run {node.pk} has no model: {_why_unfinished(node)}')
    return Training.model_validate(node.outputs.report.get_dict())


def write_trained_model(node: orm.WorkChainNode, path: Path, *, force: bool = False) -> ModelData:
    """Write the model of a finished training run to a file, and return its node.

    Raises
    ------
    AutopipeError
        If it has no model yet, or the file exists and ``force`` is false.
    """
    if 'trained' not in node.outputs:
        raise AutopipeError(Code.MODEL_MISSING, f'training run {node.pk} has no model: {_why_unfinished(node)}')
    model: ModelData = node.outputs.trained
    with atomic_write(path, overwrite=force) as unfinished:
        shutil.move(model.write(unfinished.parent), unfinished)
    return model


def _why_unfinished(node: orm.WorkChainNode) -> str:
    return node.exit_message or f'it is {node.process_state.value}'


def _read_dataset(file: Path) -> DatasetData:
    if file.suffix != '.db':
        raise AutopipeError(
            Code.FILE_SUFFIX,
            f"{file} is not a database with the suffix .db; import it with 'mlip-autopipe dataset import'",
        )
    return DatasetData.from_file(file)


def _epochs(node: orm.WorkChainNode) -> tuple[Epoch, ...]:
    """Return the epochs that a training run has finished, as far as this machine knows them."""
    if 'report' in node.outputs:
        return Training.model_validate(node.outputs.report.get_dict()).epochs
    jobs = [job for job in node.called if isinstance(job, orm.CalcJobNode)]
    last = max(jobs, key=lambda job: job.pk, default=None)
    if last is None or last.computer.transport_type != 'core.local' or last.get_remote_workdir() is None:
        return ()
    try:
        state = read_state(Path(last.get_remote_workdir(), WORK_FOLDER))
    except (OSError, ValidationError):
        return ()
    return () if state is None else state.epochs


def errors_table(report: Training) -> list[list[Any]]:
    """Return a line for each set: its name, the number of frames, and the initial and final errors."""
    lines = []
    for split in SPLITS:
        if split not in report.initial_errors:
            continue
        before, after = report.initial_errors[split], report.final_errors[split]
        stress = [None if one.stress_rmse_GPa is None else one.stress_rmse_GPa for one in (before, after)]
        lines.append(
            [
                split,
                before.n_frames,
                (1000 * before.energy_rmse_eV_atom, 1000 * after.energy_rmse_eV_atom),
                (before.force_rmse_eV_A, after.force_rmse_eV_A),
                tuple(stress),
            ]
        )
    return lines
