"""Label the structures of a dataset without a campaign: the plan, the submission, and the state of a labelling run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiida import orm

from aiida_mlip_autopipe.calculations.labelling.decisions import screen_rows
from aiida_mlip_autopipe.campaigns.submission import Announce, Submitted, submit_and_announce
from aiida_mlip_autopipe.config.checks.labelling import warn_of_labels
from aiida_mlip_autopipe.config.execution import ExecutionSettings
from aiida_mlip_autopipe.config.labelling import LabellingConfig
from aiida_mlip_autopipe.data.dataset import DatasetData
from aiida_mlip_autopipe.data.labels import find_failures, find_isolated_atoms, find_labels
from aiida_mlip_autopipe.installation.profile import ensure_daemon
from aiida_mlip_autopipe.labelling import label_key
from aiida_mlip_autopipe.labelling.cost import RULE_BUDGET, Cost
from aiida_mlip_autopipe.labelling.suitability import Explorer
from aiida_mlip_autopipe.storage import Row
from aiida_mlip_autopipe.storage.dataset import check_dataset_file
from aiida_mlip_autopipe.structures.rows.labels import other_labels, present_labels
from aiida_mlip_autopipe.structures.rows.level import LevelOfTheory
from aiida_mlip_autopipe.structures.rows.provenance import mlip_label_source
from aiida_mlip_autopipe.workflows.inputs.codes import computer_limit
from aiida_mlip_autopipe.workflows.inputs.environments import Environments
from aiida_mlip_autopipe.workflows.inputs.labelling import LabellerInputs, labelling_inputs
from aiida_mlip_autopipe.workflows.inputs.models import place_models
from aiida_mlip_autopipe.workflows.labelling import LabellingWorkChain


@dataclass(frozen=True)
class LabellingPlan:
    """What a labelling run would do.

    Attributes
    ----------
    level
        The level of theory of the labels.
    code
        The code of the jobs.
    n_rows
        Number of rows of the dataset.
    n_dropped_by_rule
        Number of rows that are not labelled, by rule.
    n_structures, n_known, n_failed_before
        Number of different structures to label, how many of them have a label in the profile, and how many failed in an
        earlier run and are not computed again.
    n_jobs, concurrent_jobs
        Number of jobs for the structures, and how many of them run at the same time.
    cost
        Predicted cost of the structures and isolated atoms that the jobs compute; None if it cannot be predicted.
    warnings
        How the labels would differ from the training data of the MLIP, and which labels would have no stress.
    """

    level: LevelOfTheory
    code: str
    n_rows: int
    n_dropped_by_rule: dict[str, int]
    n_structures: int
    n_known: int
    n_failed_before: int
    n_jobs: int
    concurrent_jobs: int
    cost: Cost | None
    warnings: tuple[str, ...]


def plan_labelling(config: LabellingConfig, file: Path) -> LabellingPlan:
    """Return what a labelling run would do. Nothing is submitted.

    Raises
    ------
    AutopipeError
        If the dataset or a code cannot be used.
    """
    dataset = _read_dataset(file)
    rows = dataset.rows()
    labeller = labelling_inputs(config.labelling, config.execution, [row.atoms for row in rows], Environments())
    level, version = labeller.level, labeller.method_version
    screened = screen_rows(rows, config.labelling)
    keys = {label_key(rows[index].atoms, level.hash): index for index in screened.kept}
    known, failed = {}, {}
    if config.execution.reuse_finished:
        known = find_labels(keys, level.hash, version)
        retry = config.labelling.retry_failed
        failed = {} if retry else find_failures(keys.keys() - known.keys(), level.hash, version)
    missing = [rows[index].atoms for key, index in keys.items() if key not in known and key not in failed]
    symbols = {symbol for index in screened.kept for symbol in rows[index].atoms.symbols}
    symbols = symbols if config.labelling.isolated_atoms else set()
    if config.execution.reuse_finished:
        symbols -= find_isolated_atoms(symbols, level.hash, version).keys()
    prediction = labeller.predict(missing, symbols, config.labelling.budget_core_hours)
    n_affordable = len(missing) if prediction is None else len(prediction.screening.kept)
    rules = [one.rule for one in screened.dropped] + [RULE_BUDGET] * (len(missing) - n_affordable)
    return LabellingPlan(
        level=level,
        code=labeller.code.full_label,
        n_rows=len(rows),
        n_dropped_by_rule={rule: rules.count(rule) for rule in dict.fromkeys(rules)},
        n_structures=len(keys),
        n_known=len(known),
        n_failed_before=len(failed),
        n_jobs=-(-n_affordable // config.labelling.structures_per_job),
        concurrent_jobs=_max_concurrent_jobs(config.execution, labeller),
        cost=None if prediction is None else labeller.cost_of(prediction.core_s),
        warnings=tuple(warnings_of_rows(config, [rows[index] for index in screened.kept])),
    )


def submit_labelling(
    config: LabellingConfig,
    file: Path,
    output: Path,
    notify: Callable[[str], None],
    announce: Announce = lambda submitted: None,
) -> Submitted:
    """Check a labelling run, copy its model to the computer, and submit it. Start the daemon if needed.

    Parameters
    ----------
    config
        How the structures are labelled.
    file
        The dataset, a database of this program.
    output
        The file for the labelled dataset. The run is named after it, so that it does not hide the campaign that wrote
        `file`.
    notify
        Called with each warning, and with a message if the daemon was started, if the environment of the code has
        changed, or if a model was copied to a computer.
    announce
        Called with the submitted run. Ctrl-C takes effect only afterwards, so every run is announced.

    Raises
    ------
    AutopipeError
        If the dataset or a code cannot be used, or the daemon does not start. In that case, nothing is submitted.
    """
    dataset = _read_dataset(file)
    # First, because copying a model to another machine needs the broker, which the daemon starts.
    if ensure_daemon():
        notify('daemon started')
    rows = dataset.rows()
    labeller = labelling_inputs(config.labelling, config.execution, [row.atoms for row in rows], Environments(notify))
    for warning in warnings_of_rows(config, rows):
        notify(warning)
    if labeller.job_code is not None:
        place_models([labeller.job_code], notify)
    return submit_and_announce(
        announce,
        output.stem,
        output,
        LabellingWorkChain,
        **labeller.inputs,
        dataset=dataset,
        max_concurrent_jobs=_max_concurrent_jobs(config.execution, labeller),
        reuse_finished=config.execution.reuse_finished,
        metadata={'label': output.stem},
    )


def read_report(node: orm.WorkChainNode) -> dict[str, Any]:
    """Return the report of a finished labelling run: the numbers of labels, suspicious ones, and rows left out."""
    report: dict[str, Any] = node.outputs.report.get_dict()
    return report


def _read_dataset(file: Path) -> DatasetData:
    check_dataset_file(file)
    return DatasetData.from_file(file)


def warnings_of_rows(config: LabellingConfig, rows: Sequence[Row]) -> list[str]:
    """Return how labels would differ from the training data of the MLIP, and which labels would have no stress.

    Parameters
    ----------
    config
        How the structures are labelled.
    rows
        The rows of the dataset.
    """
    return warn_of_labels(config.labelling, [row.atoms for row in rows], _explorers(rows))


def _explorers(rows: Sequence[Row]) -> list[Explorer]:
    """Return the MLIPs whose labels the rows have or had."""
    found: dict[str, Explorer] = {}
    for row in rows:
        for labels in (present_labels(row), *other_labels(row).values()):
            if labels is not None and labels.level.method == 'mlip':
                level = labels.level
                model = level.name.removeprefix(mlip_label_source(level.code, '')).removeprefix(':')
                found[level.hash] = Explorer(level.code, model or None, level.parameters.get('modal'))
    return list(found.values())


def _max_concurrent_jobs(execution: ExecutionSettings, labeller: LabellerInputs) -> int:
    return execution.max_concurrent_jobs or computer_limit(labeller.code, labeller.resources)
