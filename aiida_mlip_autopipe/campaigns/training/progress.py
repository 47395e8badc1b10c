"""The state of a training run, read from the graph at any time."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from aiida import orm

from aiida_mlip_autopipe.core.errors import AutopipeError

if TYPE_CHECKING:
    from aiida_mlip_autopipe.training.contract import Epoch, Training

# The modules for training are imported in functions, because the status of a campaign needs none of them.


@dataclass(frozen=True)
class TrainingProgress:
    """The state of a training run.

    Attributes
    ----------
    n_epochs
        Number of epochs that it will have.
    last
        The last finished epoch. For jobs on other computers, it is that of ended jobs. None before the first one.
    """

    n_epochs: int
    last: Epoch | None


def read_training(node: orm.WorkChainNode) -> TrainingProgress:
    """Return the state of a training run."""
    state = _read_report(node) or _read_running(node) or _read_ended(node)
    epochs = () if state is None else state.epochs
    return TrainingProgress(n_epochs=node.inputs.job.training['n_epochs'], last=epochs[-1] if epochs else None)


def _jobs(node: orm.WorkChainNode) -> list[orm.CalcJobNode]:
    """Return the jobs of a training run, newest first."""
    jobs = [job for job in node.called if isinstance(job, orm.CalcJobNode)]
    return sorted(jobs, key=lambda job: -job.pk)


def _read_report(node: orm.WorkChainNode) -> Training | None:
    if 'report' not in node.outputs:
        return None
    from aiida_mlip_autopipe.training.contract import Training

    return Training.model_validate(node.outputs.report.get_dict())


def _read_running(node: orm.WorkChainNode) -> Training | None:
    """Return the state in the folder of the last job, if this machine has it and the job has finished an epoch."""
    job = next(iter(_jobs(node)), None)
    if job is None or job.computer.transport_type != 'core.local' or job.get_remote_workdir() is None:
        return None
    from pydantic import ValidationError

    from aiida_mlip_autopipe.training.contract import WORK_FOLDER
    from aiida_mlip_autopipe.training.work_folder import read_state

    try:
        state = read_state(Path(job.get_remote_workdir(), WORK_FOLDER))
    except (OSError, ValidationError):
        return None
    return state if state is not None and state.epochs else None


def _read_ended(node: orm.WorkChainNode) -> Training | None:
    """Return the state in the last checkpoint of the ended jobs, which the profile contains."""
    from aiida_mlip_autopipe.training.work_folder import read_checkpoint

    checkpoints = [job.outputs.checkpoint for job in _jobs(node) if 'checkpoint' in job.outputs]
    if not checkpoints:
        return None
    try:
        with checkpoints[0].as_path() as path:
            return read_checkpoint(path)
    except (OSError, AutopipeError):
        return None
