"""The processes of campaigns and the results of their jobs, read with one query per level, without loading nodes."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Any

from aiida import orm
from aiida.engine import ProcessState

from aiida_mlip_autopipe.campaigns.history.exit_statuses import find_label
from aiida_mlip_autopipe.campaigns.progress import STAGES
from aiida_mlip_autopipe.workflows.graph import EXPLORATION, LABELLING, SEED_LINK
from aiida_mlip_autopipe.workflows.paused import ENDED

EXPLORATION_CLASS = 'ExplorationWorkChain'
"""The name of the work chain that explores a seed."""
PLUGIN_CLASS = 'ProcessLabellingWorkChain'
"""The name of the work chain that labels a structure with a process of another plugin."""

STAGE_OF = {
    'generate_seeds': 'generation',
    'describe_reference': 'exploration',
    EXPLORATION_CLASS: 'exploration',
    'ExplorationCalculation': 'exploration',
    'RecoverCalculation': 'exploration',
    'StashCalculation': 'exploration',
    'EvaluationCalculation': 'committee',
    'DescriptorsCalculation': 'sampling',
    'TrainingWorkChain': 'training',
    'TrainingCalculation': 'training',
    'AssessmentCalculation': 'assessment',
    'fit_environments': 'sampling',
    **STAGES,
}
"""The stage of each process. The processes below a process that is not listed belong to the stage of their caller."""

EXPLORING = ('ExplorationCalculation', 'RecoverCalculation')
"""The jobs that produce the legs of an exploration."""

CACHED_FROM = '_aiida_cached_from'
RESULT_FIELDS = (
    'outcome',
    'message',
    'events',
    'n_frames',
    'first_step',
    'last_step',
    'force_calls',
    'loop_s',
    'load_s',
    'threads',
    'device',
    'calculator_name',
    'model_name',
    'model_sha256',
    'versions',
    'statistics',
)
_PROCESS_FIELDS = (
    'id',
    'uuid',
    'node_type',
    'ctime',
    'mtime',
    'attributes.process_label',
    'attributes.process_state',
    'attributes.exit_status',
    'attributes.exit_message',
    'attributes.exception',
    'attributes.process_status',
    f'extras.{CACHED_FROM}',
)


@dataclass(frozen=True)
class ProcessRecord:
    """A process of a campaign.

    Attributes
    ----------
    campaign, caller
        The pk of the campaign, and of the process that called this one.
    link
        The label of the link from the caller.
    pk, uuid
        The process.
    is_job
        Whether it is a job.
    started, changed
        When its node was created, and when it changed last. After the end of the process, this is the time of its end.
    process
        The name of its class or function.
    state, exit_status, exit_message
        Its state in AiiDA, and its exit code.
    exception
        The last line of the exception that ended it; None otherwise.
    process_status
        What AiiDA notes about it, for example why it was killed or paused.
    cached_from
        The uuid of the calculation whose results it was given; None if it ran.
    stage
        The stage of the pipeline to which it belongs.
    """

    campaign: int
    caller: int
    link: str
    pk: int
    uuid: str
    is_job: bool
    started: datetime
    changed: datetime
    process: str
    state: str
    exit_status: int | None
    exit_message: str | None
    exception: str | None
    process_status: str | None
    cached_from: str | None
    stage: str

    @property
    def ended(self) -> bool:
        """Whether it has ended, successfully or not."""
        return self.state in ENDED

    @property
    def failed(self) -> bool:
        """Whether it has ended without success."""
        return self.ended and (self.state != ProcessState.FINISHED.value or bool(self.exit_status))

    @property
    def exit_label(self) -> str | None:
        """The label of its exit code; None if it succeeded, or if the exit code is not one of this package."""
        return find_label(self.process, self.exit_status)

    @property
    def reason(self) -> str:
        """Why it ended, as one line."""
        return self.exit_message or self.exception or self.process_status or self.state


def read_processes(campaigns: Collection[int]) -> list[ProcessRecord]:
    """Return all processes that campaigns called, directly or not, in order of their pks.

    Parameters
    ----------
    campaigns
        The pks of the campaigns.
    """
    found: list[ProcessRecord] = []
    stages = _stages(campaigns)
    depth, known = 0, True
    while known:
        known = False
        query = _chains(campaigns, depth)
        query.append(orm.ProcessNode, with_incoming='caller', project=list(_PROCESS_FIELDS), edge_project=['label'])
        for campaign, *rest in query.iterall():
            caller = rest.pop(0) if depth else campaign
            pk, uuid, node_type, *about, link = rest
            started, changed, process, state, status, message, exception, process_status, cached_from = about
            stage = STAGE_OF.get(process) if stages[caller] != 'labelling' else None
            stages[pk] = stage or stages[caller]
            found.append(
                ProcessRecord(
                    campaign=campaign,
                    caller=caller,
                    link=link,
                    pk=pk,
                    uuid=uuid,
                    is_job=node_type.startswith(orm.CalcJobNode.class_node_type),
                    started=started,
                    changed=changed,
                    process=process,
                    state=state or ProcessState.CREATED.value,
                    exit_status=status,
                    exit_message=message,
                    exception=exception,
                    process_status=process_status,
                    cached_from=cached_from,
                    stage=stages[pk],
                )
            )
            known = known or node_type.startswith(orm.WorkChainNode.class_node_type)
        depth += 1
    return sorted(found, key=lambda one: one.pk)


def read_results(campaigns: Collection[int], depths: Iterable[int] = (0, 1, 2)) -> dict[int, dict[str, Any]]:
    """Return the fields `RESULT_FIELDS` of the results of the jobs of campaigns, by the pk of the job.

    Parameters
    ----------
    campaigns
        The pks of the campaigns.
    depths
        The numbers of work chains between a campaign and a job; by default, also those of a campaign with rounds.
    """
    found = {}
    for depth in depths:
        query = _chains(campaigns, depth)
        query.append(orm.CalcJobNode, with_incoming='caller', project='id', tag='job')
        query.append(
            orm.Dict,
            with_incoming='job',
            edge_filters={'label': 'result'},
            project=[f'attributes.{name}' for name in RESULT_FIELDS],
        )
        for row in query.iterall():
            pk, *values = row[1 + bool(depth) :]
            found[pk] = dict(zip(RESULT_FIELDS, values, strict=True))
    return found


def read_costs(
    processes: Iterable[ProcessRecord], results: Mapping[int, Mapping[str, Any]]
) -> dict[int, Mapping[str, Any]]:
    """Return what is known about the cost of jobs, by the pk of the job, as fields of a result.

    A job of another plugin has no result. If it computed a label, its cost is that of an attempt in the record of the
    label.

    Parameters
    ----------
    processes
        The processes of campaigns.
    results
        The results of their jobs, from `read_results`.
    """
    found = dict(results)
    callers = {one.pk: one.caller for one in processes}
    jobs: dict[int, list[int]] = {one.pk: [] for one in processes if one.process == PLUGIN_CLASS}
    for one in processes:
        caller = one.caller if one.is_job else None
        while caller is not None and caller not in jobs:
            caller = callers.get(caller)
        if caller is not None:
            jobs[caller].append(one.pk)
    query = orm.QueryBuilder().append(orm.WorkChainNode, filters={'id': {'in': list(jobs)}}, project='id', tag='chain')
    query.append(orm.CalcFunctionNode, with_incoming='chain', tag='collect')
    fields = ['attributes.attempts', 'attributes.threads']
    query.append(orm.Dict, with_outgoing='collect', edge_filters={'label': 'record'}, project=fields)
    for chain, attempts, threads in query.iterall() if jobs else ():
        for pk, attempt in zip(jobs[chain], attempts, strict=False):  # a job that was killed has no attempt
            found[pk] = {'force_calls': 1, 'loop_s': attempt['seconds'], 'load_s': None, 'threads': threads}
    return found


def read_seed_ids(campaigns: Collection[int]) -> dict[int, str]:
    """Return the seed of each exploration of campaigns, by the pk of the exploration."""
    found: dict[int, str] = {}
    for depth in (0, 1):  # a round calls the explorations of a campaign with rounds
        query = _chains(campaigns, depth)
        query.append(
            orm.WorkChainNode,
            with_incoming='caller',
            filters={'process_type': EXPLORATION},
            project='id',
            tag='exploration',
        )
        of_seed = {'label': SEED_LINK}
        query.append(orm.Data, with_outgoing='exploration', edge_filters=of_seed, project='attributes.seed_id')
        found |= {pk: seed_id for *_, pk, seed_id in query.iterall()}
    return found


def find_retried(processes: Iterable[ProcessRecord]) -> list[ProcessRecord]:
    """Return the processes that were followed by another one for the same work, in order of their pks."""
    last: dict[tuple[int, str, str], ProcessRecord] = {}
    found = []
    for one in processes:
        # A work chain that restarts numbers its jobs; the others append a number to the label of the link.
        work = 'leg' if one.process in EXPLORING else re.sub(r'^(iteration)_\d+$|_again_\d+$', r'\1', one.link)
        key = one.caller, EXPLORING[0] if one.process in EXPLORING else one.process, work
        # A work chain may call a function several times, each time with other inputs.
        if key in last and (last[key].is_job or last[key].failed):
            found.append(last[key])
        last[key] = one
    return found


def _stages(campaigns: Collection[int]) -> dict[int, str]:
    """Return the stage of the processes that each campaign calls and `STAGE_OF` does not list."""
    query = orm.QueryBuilder().append(
        orm.WorkChainNode, filters={'id': {'in': list(campaigns)}}, project=['id', 'process_type']
    )
    return {pk: 'labelling' if process_type == LABELLING else '' for pk, process_type in query.iterall()}


def _chains(campaigns: Collection[int], depth: int) -> orm.QueryBuilder:
    """Return a query for the work chains at a depth below campaigns, with the tag ``caller``.

    It projects the pk of the campaign and, at a depth greater than 0, that of the work chain.
    """
    tags = ['campaign', *(f'chain_{level}' for level in range(1, depth + 1))]
    tags[-1] = 'caller'
    query = orm.QueryBuilder().append(
        orm.WorkChainNode, filters={'id': {'in': list(campaigns)}}, tag=tags[0], project='id'
    )
    for level, (outer, inner) in enumerate(pairwise(tags), start=1):
        query.append(orm.WorkChainNode, with_incoming=outer, tag=inner, project='id' if level == depth else None)
    return query
