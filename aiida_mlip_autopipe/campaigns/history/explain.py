"""What happened to a campaign: its failures, what was retried, reused and left out, and how it went."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from aiida import orm
from aiida.common import LinkType

from aiida_mlip_autopipe.campaigns.history.costs import StageCost, measure_stages
from aiida_mlip_autopipe.campaigns.history.events import Events, collect_events
from aiida_mlip_autopipe.campaigns.history.exit_statuses import explain_ending, find_label
from aiida_mlip_autopipe.campaigns.history.extension import ReusedSteps, count_reused_steps
from aiida_mlip_autopipe.campaigns.history.failures import FailureGroup, find_failures
from aiida_mlip_autopipe.campaigns.history.logs import LogExcerpt, read_logs
from aiida_mlip_autopipe.campaigns.history.processes import (
    EXPLORATION_CLASS,
    EXPLORING,
    ProcessRecord,
    find_retried,
    read_costs,
    read_processes,
    read_results,
    read_seed_ids,
)
from aiida_mlip_autopipe.campaigns.labelling.progress import labelling_run, read_records
from aiida_mlip_autopipe.campaigns.progress import (
    Progress,
    generation_reports,
    read_progress,
)
from aiida_mlip_autopipe.generation import merge_reports
from aiida_mlip_autopipe.workflows.graph import find_output, find_parts

ACTIONS = {
    'ERROR_OUT_OF_WALLTIME': 'continued from the checkpoint',
    'ERROR_KILLED': 'continued from the checkpoint',
    'ERROR_SCHEDULER_OUT_OF_WALLTIME': 'continued from the checkpoint',
    'ERROR_SCHEDULER_OUT_OF_MEMORY': 'submitted again with more memory',
    'ERROR_UNSTABLE': 'continued from the last good frame, at a lower temperature and with a smaller time step',
}
"""What followed an exploration job, by the label of its exit code. All other jobs are submitted again."""


@dataclass(frozen=True)
class Redrawn:
    """The draws of seeds that one rule rejected.

    Attributes
    ----------
    rule
        The rule.
    n_draws
        Number of rejected draws.
    value, limit, message
        The value, the limit and the message of the draw that was farthest beyond the limit.
    """

    rule: str
    n_draws: int
    value: float
    limit: float
    message: str


@dataclass(frozen=True)
class Retried:
    """Jobs that were repeated or continued by another job, all for the same reason.

    Attributes
    ----------
    process, exit_status, exit_label
        The class of the jobs and their exit code.
    n_jobs, n_seeds
        Number of jobs, and of the seeds to which they belong; 0 if they belong to no seed.
    action
        What was done.
    """

    process: str
    exit_status: int | None
    exit_label: str | None
    n_jobs: int
    n_seeds: int
    action: str


@dataclass(frozen=True)
class Reused:
    """Results that were not computed again.

    Attributes
    ----------
    process
        The class or function whose results were reused.
    n_reused
        Number of its calculations, or of the labels.
    source
        ``cache``, ``earlier exploration`` or ``labels in the profile``.
    """

    process: str
    n_reused: int
    source: str


@dataclass(frozen=True)
class FrameCounts:
    """What the selection did with the frames.

    Attributes
    ----------
    n_explored, n_candidates, n_selected
        Frames that were stored, that could be selected, and that were selected.
    n_discarded_by_reason
        Number of discarded frames, by reason.
    """

    n_explored: int
    n_candidates: int
    n_selected: int
    n_discarded_by_reason: dict[str, int]


@dataclass(frozen=True)
class CampaignExplanation:
    """What happened to a campaign or a labelling run.

    Attributes
    ----------
    progress
        Its state, its warnings, its paused jobs, and why it failed.
    state, exit_status, exit_label
        The state of its process in AiiDA, and its exit code.
    meaning, remedy
        What its failure means and what to do; None if it has not failed.
    log
        The last lines of the exception that ended it; empty without one.
    seeds
        Number of seeds by outcome: ``completed``, ``running``, ``waiting``, ``duplicate``, ``skipped``, or the exit
        code or state with which the exploration ended.
    redrawn
        The draws of seeds that were rejected.
    failures
        The processes that failed, with similar failures grouped, the largest groups first.
    retried
        The jobs that were repeated or continued by another one.
    reused
        The results that were not computed again.
    reused_steps
        The seeds and steps of explorations that earlier campaigns computed.
    events
        What exploration jobs reported, except crashes.
    committee_events
        Why a committee did not evaluate frames.
    label_failures
        Why rows have no label, by rule. Before the end of the labelling, why structures have none.
    frames
        What the selection did with the frames; None before the selection.
    stages
        The cost of each stage that has started.
    """

    progress: Progress
    state: str
    exit_status: int | None
    exit_label: str | None
    meaning: str | None
    remedy: str | None
    log: tuple[LogExcerpt, ...]
    seeds: dict[str, int]
    redrawn: tuple[Redrawn, ...]
    failures: tuple[FailureGroup, ...]
    retried: tuple[Retried, ...]
    reused: tuple[Reused, ...]
    reused_steps: ReusedSteps
    events: tuple[Events, ...]
    committee_events: tuple[Events, ...]
    label_failures: tuple[Events, ...]
    frames: FrameCounts | None
    stages: tuple[StageCost, ...]


def explain_campaign(campaign: orm.WorkChainNode) -> CampaignExplanation:
    """Return what happened to a campaign or a labelling run, at any time.

    Parameters
    ----------
    campaign
        The campaign.
    """
    progress = read_progress(campaign)
    processes = read_processes([campaign.pk])
    results = read_results([campaign.pk])
    seed_ids = read_seed_ids([campaign.pk])
    # All rounds generate the same seeds.
    parts = find_parts(campaign)
    legs = [leg for part in parts for leg in _legs(part)]
    retried = find_retried(processes)
    generated = merge_reports([report for part in parts[-1:] for report in generation_reports(part)])
    state = campaign.process_state.value
    ending = explain_ending(campaign.process_label, state, campaign.exit_status)

    def results_of(*names: str) -> list[Mapping[str, Any]]:
        return [results[one.pk] for one in processes if one.process in names and one.pk in results]

    return CampaignExplanation(
        progress=progress,
        state=state,
        exit_status=campaign.exit_status,
        exit_label=find_label(campaign.process_label, campaign.exit_status),
        meaning=ending.meaning if ending else None,
        remedy=ending.remedy.replace('PK', str(campaign.pk)) if ending else None,
        log=read_logs(campaign.pk) if campaign.is_excepted else (),
        seeds=_count_seeds(processes, progress, generated),
        redrawn=tuple(Redrawn(rule, broken['count'], **broken['worst']) for rule, broken in generated['rules'].items()),
        failures=tuple(find_failures(processes, retried, results, seed_ids)),
        retried=_count_retried(retried, seed_ids),
        reused=_count_reused(legs, processes, progress),
        reused_steps=count_reused_steps(legs, processes),
        events=collect_events(results_of(*EXPLORING)),
        committee_events=collect_events(results_of('EvaluationCalculation')),
        label_failures=_label_failures(parts),
        frames=_count_frames(parts),
        stages=tuple(measure_stages(processes, read_costs(processes, results))),
    )


def _count_seeds(
    processes: Iterable[ProcessRecord], progress: Progress, generated: Mapping[str, Any]
) -> dict[str, int]:
    outcomes: Counter[str] = Counter()
    for one in processes:
        if one.process == EXPLORATION_CLASS:
            outcomes['running' if not one.ended else _outcome(one) if one.failed else 'completed'] += 1
    known = dict(outcomes.most_common())
    counts = {
        'completed': known.pop('completed', 0),
        **known,
        'waiting': progress.n_waiting,
        'duplicate': generated['duplicates'],
        'skipped': generated['skipped'],
    }
    return {outcome: n for outcome, n in counts.items() if n}


def _outcome(exploration: ProcessRecord) -> str:
    return exploration.exit_label or exploration.state


def _count_retried(retried: Iterable[ProcessRecord], seed_ids: Mapping[int, str]) -> tuple[Retried, ...]:
    groups: dict[tuple[str, int | None], list[ProcessRecord]] = {}
    for one in retried:
        groups.setdefault((one.process, one.exit_status), []).append(one)
    return tuple(
        Retried(
            process=process,
            exit_status=status,
            exit_label=jobs[0].exit_label,
            n_jobs=len(jobs),
            n_seeds=len({seed_ids[one.caller] for one in jobs if one.caller in seed_ids}),
            action=_action(jobs[0]),
        )
        for (process, status), jobs in sorted(groups.items(), key=lambda group: -len(group[1]))
    )


def _action(job: ProcessRecord) -> str:
    if job.process in EXPLORING:
        return ACTIONS.get(job.exit_label or '', 'submitted again')
    return 'another job was submitted for the missing results'


def _count_reused(
    legs: Iterable[tuple[int, int]], processes: Iterable[ProcessRecord], progress: Progress
) -> tuple[Reused, ...]:
    found = Counter(one.process for one in processes if one.cached_from is not None)
    reused = [Reused(process, n, 'cache') for process, n in found.items()]
    jobs = {one.pk for one in processes if one.is_job}
    if n_continued := len({pk for pk, job in legs if job not in jobs}):
        reused.append(Reused(EXPLORATION_CLASS, n_continued, 'earlier exploration'))
    if progress.labels is not None and progress.labels.n_known:
        reused.append(Reused('LabellingWorkChain', progress.labels.n_known, 'labels in the profile'))
    return tuple(reused)


def _legs(campaign: orm.WorkChainNode) -> list[tuple[int, int]]:
    """Return the exploration and the job of each leg of a campaign."""
    query = orm.QueryBuilder().append(orm.WorkChainNode, filters={'id': campaign.pk}, tag='campaign')
    query.append(orm.WorkChainNode, with_incoming='campaign', project='id', tag='exploration')
    query.append(
        orm.TrajectoryData, with_incoming='exploration', edge_filters={'type': LinkType.RETURN.value}, tag='leg'
    )
    query.append(orm.CalcJobNode, with_outgoing='leg', edge_filters={'type': LinkType.CREATE.value}, project='id')
    return [(exploration, job) for exploration, job in query.iterall()]


def _label_failures(parts: Iterable[orm.WorkChainNode]) -> tuple[Events, ...]:
    reasons: dict[str, list[str]] = {}
    for run in filter(None, map(labelling_run, parts)):
        report = find_output(run, 'report')
        for one in read_records(run) if report is None else report['dropped']:
            if 'rule' in one:
                reasons.setdefault(one['rule'], []).append(one['reason'])
    return tuple(Events(rule, len(found), found[0]) for rule, found in reasons.items())


def _count_frames(parts: Iterable[orm.WorkChainNode]) -> FrameCounts | None:
    reports = [report for part in parts if (report := find_output(part, 'selection_report')) is not None]
    if not reports:
        return None
    discarded: Counter[str] = Counter()
    for report in reports:
        discarded.update({reason: n for reason, n in report['discarded'].items() if n})
    return FrameCounts(
        n_explored=sum(report['n_frames'] for report in reports),
        n_candidates=sum(report['n_candidates'] for report in reports),
        n_selected=sum(report['n_selected'] for report in reports),
        n_discarded_by_reason=dict(discarded),
    )
