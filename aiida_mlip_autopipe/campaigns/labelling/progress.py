"""The state of a labelling run, read from the graph at any time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aiida import orm

from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.core.wording import counted
from aiida_mlip_autopipe.workflows.graph import LABELLING, LABELLING_COUNTS, LABELLING_JOB, LABELS_RECOVERY
from aiida_mlip_autopipe.workflows.paused import ENDED

if TYPE_CHECKING:
    from aiida_mlip_autopipe.labelling import Failure, Label

# The modules for labels are imported in functions, because the status of a campaign without labels needs none of them.


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
        Number of structures that the run has labelled, and of those that failed in it or in an earlier run. For jobs on
        this machine, they include those that the job has finished so far; for others, only those of jobs that have
        ended.
    n_jobs_running
        Number of jobs that have not ended.
    """

    n_structures: int | None
    n_known: int
    n_labelled: int
    n_failed: int
    n_jobs_running: int


def labelling_run(campaign: orm.WorkChainNode) -> orm.WorkChainNode | None:
    """Return the labelling run of a campaign, or the campaign itself if it is one; None if there is none."""
    if campaign.process_type == LABELLING:
        return campaign
    query = orm.QueryBuilder().append(orm.WorkChainNode, filters={'id': campaign.pk}, tag='campaign')
    query.append(orm.WorkChainNode, with_incoming='campaign', filters={'process_type': LABELLING})
    found: orm.WorkChainNode | None = query.first(flat=True)
    return found


def read_labelling(node: orm.WorkChainNode) -> LabellingProgress:
    """Return the state of a labelling run, which may be part of a campaign."""
    counts = node.base.extras.get(LABELLING_COUNTS, {})
    records = read_records(node)
    jobs = orm.QueryBuilder().append(orm.WorkChainNode, filters={'id': node.pk}, tag='run')
    jobs.append(orm.ProcessNode, with_incoming='run', filters={'attributes.process_state': {'!in': list(ENDED)}})
    n_failed_here = sum('rule' in record for record in records)
    n_labelled_now, n_failed_now = _count_unfinished(node)
    return LabellingProgress(
        n_structures=counts.get('n_structures'),
        n_known=counts.get('n_known', 0),
        n_labelled=len(records) - n_failed_here + n_labelled_now,
        n_failed=n_failed_here + n_failed_now + counts.get('n_failed_before', 0),
        n_jobs_running=jobs.count(),
    )


def _count_unfinished(node: orm.WorkChainNode) -> tuple[int, int]:
    """Return the numbers of labels and failures in the files of jobs on this machine that have not been parsed."""
    query = orm.QueryBuilder().append(orm.WorkChainNode, filters={'id': node.pk}, tag='run')
    running = {'process_type': LABELLING_JOB, 'attributes.process_state': {'!in': list(ENDED)}}
    query.append(orm.CalcJobNode, with_incoming='run', filters=running)
    outcomes: list[Label | Failure] = []
    jobs = query.all(flat=True)
    if not jobs:
        return 0, 0
    from aiida_mlip_autopipe.labelling import Failure
    from aiida_mlip_autopipe.labelling.contract import LABELS_FILE
    from aiida_mlip_autopipe.labelling.keys import is_isolated

    for job in jobs:
        folder = job.get_remote_workdir()
        is_here = job.computer.transport_type == 'core.local' and not job.inputs.request.get('variant')
        if folder is not None and is_here and 'labels' not in job.outputs:
            outcomes += [one for key, one in _read_labels(Path(folder, LABELS_FILE)).items() if not is_isolated(key)]
    n_failed = sum(isinstance(one, Failure) for one in outcomes)
    return len(outcomes) - n_failed, n_failed


def _read_labels(path: Path) -> Mapping[str, Label | Failure]:
    from aiida_mlip_autopipe.labelling.labels_file import read_labels

    try:
        return read_labels(path)
    except (OSError, AutopipeError):  # the parser will report a damaged file
        return {}


def read_records(node: orm.WorkChainNode) -> list[dict[str, Any]]:
    """Return the records of the structures that a labelling run has computed so far, see `LabelsData`.

    The record of a structure without a label has a ``rule`` and a ``reason``.
    """
    from aiida_mlip_autopipe.data.labels import LabelsData

    query = orm.QueryBuilder().append(orm.WorkChainNode, filters={'id': node.pk}, tag='run')
    # Labels that were recovered from killed jobs are known labels.
    query.append(orm.ProcessNode, with_incoming='run', filters={'process_type': {'!==': LABELS_RECOVERY}}, tag='job')
    query.append(
        LabelsData,
        with_incoming='job',
        filters={'attributes.variant': ''},
        project=['id', 'attributes.records'],
    )
    return [record for _, records in sorted(query.all(), key=lambda row: row[0]) for record in records]


def labelling_warnings(node: orm.WorkChainNode) -> list[str]:
    """Return which rows a finished labelling run left out, and which isolated atoms it lacks, with the reasons."""
    if 'report' not in node.outputs:
        return []
    report = node.outputs.report.get_dict()
    first = {one['rule']: one for one in reversed(report['dropped'])}
    found = [
        f'{n} of {counted(report["n_rows"], "row")} left out of the labelled dataset by {rule}, such as row '
        f'{first[rule]["row"]}: {first[rule]["reason"]}'
        for rule, n in report['n_dropped_by_rule'].items()
    ]
    if found:
        found.append(f"'verdi data core.dict show {node.outputs.report.pk}' lists all rows that were left out")
    return found + list(report.get('isolated_atoms_failed', {}).values())
