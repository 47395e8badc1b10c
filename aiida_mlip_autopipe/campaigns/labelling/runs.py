"""Label the structures of a dataset without a campaign: the plan, the submission, and the state of a labelling run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiida import orm
from aiida.engine import submit
from ase import Atoms

from aiida_mlip_autopipe.calculations.labelling.decisions import screen_rows
from aiida_mlip_autopipe.campaigns.submission import Submitted
from aiida_mlip_autopipe.config.checks.labelling import warn_of_labels
from aiida_mlip_autopipe.config.execution import ExecutionSettings
from aiida_mlip_autopipe.config.labelling import LabellingConfig
from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.core.wording import counted
from aiida_mlip_autopipe.data.dataset import DatasetData
from aiida_mlip_autopipe.data.labels import LabelsData, find_failures, find_labels
from aiida_mlip_autopipe.installation.profile import ensure_daemon
from aiida_mlip_autopipe.labelling import label_key
from aiida_mlip_autopipe.labelling.cost import RULE_BUDGET, Cost, within_budget
from aiida_mlip_autopipe.labelling.suitability import Explorer
from aiida_mlip_autopipe.storage import Row
from aiida_mlip_autopipe.structures.rows.labels import other_labels, present_labels
from aiida_mlip_autopipe.structures.rows.level import LevelOfTheory
from aiida_mlip_autopipe.structures.rows.provenance import mlip_label_source
from aiida_mlip_autopipe.workflows.graph import LABELLING_COUNTS
from aiida_mlip_autopipe.workflows.inputs.codes import computer_limit
from aiida_mlip_autopipe.workflows.inputs.environments import Environments
from aiida_mlip_autopipe.workflows.inputs.labelling import LabellerInputs, labelling_inputs
from aiida_mlip_autopipe.workflows.inputs.models import place_models
from aiida_mlip_autopipe.workflows.labelling import LabellingWorkChain
from aiida_mlip_autopipe.workflows.paused import ENDED


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
        Predicted cost of the structures that the jobs compute; None if it cannot be predicted.
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


@dataclass(frozen=True)
class LabellingProgress:
    """The state of a labelling run.

    Attributes
    ----------
    n_structures
        Number of different structures to label; None before it is known.
    n_known
        Number of those whose label was in the profile.
    n_labelled, n_failed
        Number of structures that the run has labelled, and of those that failed in it or in an earlier run.
    n_jobs_running
        Number of jobs that have not ended.
    """

    n_structures: int | None
    n_known: int
    n_labelled: int
    n_failed: int
    n_jobs_running: int


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
    level = labeller.level
    screened = screen_rows(rows, config.labelling)
    keys = {label_key(rows[index].atoms, level.hash): index for index in screened.kept}
    known, failed = {}, {}
    if config.execution.reuse_finished:
        known = find_labels(keys, level.hash)
        failed = {} if config.labelling.retry_failed else find_failures(keys.keys() - known.keys(), level.hash)
    missing = [rows[index].atoms for key, index in keys.items() if key not in known and key not in failed]
    affordable = _within_budget(missing, labeller, config.labelling.budget_core_hours)
    rules = [one.rule for one in screened.dropped] + [RULE_BUDGET] * (len(missing) - len(affordable))
    return LabellingPlan(
        level=level,
        code=labeller.code.full_label,
        n_rows=len(rows),
        n_dropped_by_rule={rule: rules.count(rule) for rule in dict.fromkeys(rules)},
        n_structures=len(keys),
        n_known=len(known),
        n_failed_before=len(failed),
        n_jobs=-(-len(affordable) // config.labelling.structures_per_job),
        concurrent_jobs=_max_concurrent_jobs(config.execution, labeller),
        cost=labeller.predict_cost(affordable),
        warnings=tuple(warnings_of_rows(config, [rows[index] for index in screened.kept])),
    )


def submit_labelling(config: LabellingConfig, file: Path, output: Path, notify: Callable[[str], None]) -> Submitted:
    """Check a labelling run, copy its model to the computer, and submit it. Start the daemon if needed.

    Parameters
    ----------
    config
        How the structures are labelled.
    file
        The dataset, a database of this program.
    output
        The file for the labelled dataset. Its name is that of the run, so that the run does not hide the campaign
        that wrote `file`.
    notify
        Called with each warning, and with a message if the daemon was started, if the environment of the code has
        changed, or if a model was copied to a computer.

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
    node = submit(
        LabellingWorkChain,
        **labeller.inputs,
        dataset=dataset,
        max_concurrent_jobs=_max_concurrent_jobs(config.execution, labeller),
        reuse_finished=config.execution.reuse_finished,
        metadata={'label': output.stem},
    )
    return Submitted(node.pk, node.uuid, output.stem, output)


def read_report(node: orm.WorkChainNode) -> dict[str, Any]:
    """Return the report of a finished labelling run: the numbers of labels, suspicious ones, and rows left out."""
    report: dict[str, Any] = node.outputs.report.get_dict()
    return report


def read_labelling(node: orm.WorkChainNode) -> LabellingProgress:
    """Return the state of a labelling run, which may be part of a campaign."""
    counts = node.base.extras.get(LABELLING_COUNTS, {})
    query = orm.QueryBuilder().append(orm.WorkChainNode, filters={'id': node.pk}, tag='run')
    query.append(orm.ProcessNode, with_incoming='run', tag='job')
    query.append(LabelsData, with_incoming='job', filters={'attributes.variant': ''}, project='attributes.records')
    records = [record for records in query.all(flat=True) for record in records]
    jobs = orm.QueryBuilder().append(orm.WorkChainNode, filters={'id': node.pk}, tag='run')
    jobs.append(orm.ProcessNode, with_incoming='run', filters={'attributes.process_state': {'!in': list(ENDED)}})
    n_failed_here = sum('rule' in record for record in records)
    return LabellingProgress(
        n_structures=counts.get('n_structures'),
        n_known=counts.get('n_known', 0),
        n_labelled=len(records) - n_failed_here,
        n_failed=n_failed_here + counts.get('n_failed_before', 0),
        n_jobs_running=jobs.count(),
    )


def labelling_warnings(node: orm.WorkChainNode) -> list[str]:
    """Return which rows a finished labelling run left out, and which isolated atoms it lacks, with the reasons."""
    if 'report' not in node.outputs:
        return []
    report = node.outputs.report.get_dict()
    first = {one['rule']: one for one in reversed(report['dropped'])}
    found = [
        f'{counted(n, "row")} of {report["n_rows"]} left out of the labelled dataset by {rule}, such as row '
        f'{first[rule]["row"]}: {first[rule]["reason"]}'
        for rule, n in report['n_dropped_by_rule'].items()
    ]
    if found:
        found.append(f"'verdi data core.dict show {node.outputs.report.pk}' lists all rows that were left out")
    return found + list(report.get('isolated_atoms_failed', {}).values())


def _read_dataset(file: Path) -> DatasetData:
    if file.suffix != '.db':
        raise AutopipeError(
            Code.FILE_SUFFIX,
            f"{file} is not a database with the suffix .db; import it with 'mlip-autopipe dataset import'",
        )
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


def _within_budget(structures: Sequence[Atoms], labeller: LabellerInputs, budget: float | None) -> Sequence[Atoms]:
    """Return the structures that the budget allows."""
    if budget is None:
        return structures
    costs = [cost for atoms in structures if (cost := labeller.predict_core_s(atoms)) is not None]
    return [structures[index] for index in within_budget(costs, budget).kept]


def _max_concurrent_jobs(execution: ExecutionSettings, labeller: LabellerInputs) -> int:
    return execution.max_concurrent_jobs or computer_limit(labeller.code, labeller.resources)
