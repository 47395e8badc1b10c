"""Train a model on a dataset: the plan, the submission, the state of a training run, and its model."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiida import orm

from aiida_mlip_autopipe.campaigns.submission import Announce, Submitted, submit_and_announce
from aiida_mlip_autopipe.config.training import TrainingConfig
from aiida_mlip_autopipe.core.atomic_write import atomic_write
from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.data.dataset import DatasetData
from aiida_mlip_autopipe.data.model import ModelData
from aiida_mlip_autopipe.installation.profile import ensure_daemon
from aiida_mlip_autopipe.storage.dataset import check_dataset_file
from aiida_mlip_autopipe.structures.rows.splits import SPLITS
from aiida_mlip_autopipe.training.contract import Training
from aiida_mlip_autopipe.workflows.graph import ROUNDS, TRAINING, input_of, load_campaign, output_of
from aiida_mlip_autopipe.workflows.inputs.environments import Environments
from aiida_mlip_autopipe.workflows.inputs.models import place_models
from aiida_mlip_autopipe.workflows.inputs.training import TrainingInputs, training_inputs
from aiida_mlip_autopipe.workflows.training import TrainingWorkChain


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


def plan_training(config: TrainingConfig, file: Path) -> TrainingPlan:
    """Return what a training run would do. Nothing is submitted.

    Raises
    ------
    AutopipeError
        If the dataset, a code or the model cannot be used.
    """
    inputs = training_inputs(config.training, config.execution, _read_dataset(file), Environments())
    model = inputs.job_code.model
    return TrainingPlan(
        code=inputs.job_code.code.full_label,
        model='a new model' if model is None else model.name,
        n_rows=dict(inputs.sets.report['n_rows']),
        n_groups=dict(inputs.sets.report['n_groups']),
        n_epochs=inputs.inputs['job']['training']['n_epochs'],
        warnings=(*inputs.notes, *inputs.sets.report['warnings']),
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
    for warning in (*found.notes, *found.sets.report['warnings']):
        notify(warning)
    place_models([found.job_code], notify)
    # The run must not hide the campaign that wrote the dataset, which may have the name of the file.
    name = f'{file.stem}-{config.training.kind}'
    return submit_and_announce(announce, name, file, TrainingWorkChain, **found.inputs, metadata={'label': name})


def load_training_run(identifier: str, *, or_rounds: bool = False) -> orm.WorkChainNode:
    """Return a training run by its pk, its uuid or its name; see `load_campaign`.

    Parameters
    ----------
    identifier
        The training run.
    or_rounds
        Whether a campaign with rounds may be named, too.

    Raises
    ------
    AutopipeError
        If it does not exist, or is not a training run.
    """
    node = load_campaign(identifier)
    if node.process_type != TRAINING and not (or_rounds and node.process_type == ROUNDS):
        raise AutopipeError(
            Code.CAMPAIGN_MISSING, f"{identifier!r} is not a training run; 'mlip-autopipe status' lists all runs"
        )
    return node


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
    """Write the model of a finished training run, or of a campaign with rounds, to a file, and return its node.

    Raises
    ------
    AutopipeError
        If it has no model yet, no new model of the campaign met all conditions, or the file exists and ``force`` is
        false.
    """
    has_rounds = node.process_type == ROUNDS
    model: ModelData | None = output_of(node, 'model' if has_rounds else 'trained')
    if model is None:
        what = 'campaign' if has_rounds else 'training run'
        raise AutopipeError(Code.MODEL_MISSING, f'{what} {node.pk} has no model: {_why_unfinished(node)}')
    starting = input_of(node, 'training__model') if has_rounds else None
    if starting is not None and model.sha256 == starting.sha256:
        raise AutopipeError(
            Code.MODEL_MISSING,
            f"no new model of campaign {node.pk} met all conditions; 'mlip-autopipe status {node.pk}' shows why",
        )
    with atomic_write(path, overwrite=force) as unfinished:
        shutil.move(model.write(unfinished.parent), unfinished)
    return model


def _why_unfinished(node: orm.WorkChainNode) -> str:
    return node.exit_message or f'it is {node.process_state.value}'


def _read_dataset(file: Path) -> DatasetData:
    check_dataset_file(file)
    return DatasetData.from_file(file)


def errors_table(report: Training) -> list[list[Any]]:
    """Return a line for each set: its name, the number of frames, and the initial and final errors.

    The errors are those of the energy in meV per atom, of the forces in eV/Å and of the stress in GPa. The initial ones
    are None for a new model, and those of the stress if no label has one.
    """
    lines = []
    for split in SPLITS:
        if split not in report.final_errors:
            continue
        before, after = report.initial_errors.get(split), report.final_errors[split]
        line: list[Any] = [split, after.n_frames]
        for name, factor in (('energy_rmse_eV_atom', 1000.0), ('force_rmse_eV_A', 1.0), ('stress_rmse_GPa', 1.0)):
            pair = (getattr(before, name, None), getattr(after, name))
            line.append(tuple(None if value is None else factor * value for value in pair))
        lines.append(line)
    return lines
