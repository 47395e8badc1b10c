"""A summary of a finished campaign: what it rejected, how its explorations ended, and what it cost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aiida import orm

from aiida_mlip_autopipe.campaigns.history.events import Events, collect_events, count_crashes
from aiida_mlip_autopipe.campaigns.history.processes import (
    EXPLORATION_CLASS,
    EXPLORING,
    ProcessRecord,
    read_processes,
    read_results,
)
from aiida_mlip_autopipe.campaigns.progress import find_comparisons, generation_reports
from aiida_mlip_autopipe.generation import merge_reports
from aiida_mlip_autopipe.workflows.graph import Extended, find_output, read_extended

if TYPE_CHECKING:
    from aiida_mlip_autopipe.workflows.reference_environments import ReferenceComparison


@dataclass(frozen=True)
class Ending:
    """One way in which explorations of a campaign ended.

    Attributes
    ----------
    exit_status
        The exit code of the last job, or of the exploration; None if it was killed or ended with an exception.
    reason
        The meaning of the exit code; ``completed`` for 0.
    n_explorations
        Number of explorations that ended in this way.
    """

    exit_status: int | None
    reason: str
    n_explorations: int


@dataclass(frozen=True)
class CampaignAccount:
    """A summary of a finished campaign.

    Attributes
    ----------
    n_seeds_requested, n_seeds_made
        Seeds that the config requests, and seeds that were made.
    n_seeds_duplicate, n_seeds_skipped
        Seeds that were left out because they duplicate an earlier one, or because no draw was valid.
    n_redrawn_by_rule
        Number of rejected draws, by the rule that they violated.
    endings
        How the explorations ended.
    n_crashes_by_rule
        How many jobs each guard stopped, including jobs of explorations that were resumed.
    events
        Other events that the explorations reported, by rule.
    comparisons
        What the explorations were compared with, if they had a reference dataset.
    n_frames_explored, n_frames_independent
        Frames that were stored, and how many of them are statistically independent, judged by their energies; None if
        unknown.
    n_frames_discarded_by_reason
        Number of discarded frames, by reason.
    n_frames_candidate, n_frames_selected
        Frames that could be selected, and frames that were selected.
    n_jobs
        Number of jobs that ran, including those of a committee.
    n_force_calls
        Number of evaluations of the calculator of the explorations.
    labels
        The report of the labelling with a reference method; None without one.
    dynamics_s, loading_s
        Total time in seconds that the jobs spent on dynamics and on loading models.
    elapsed_s
        Time in seconds from the start of the campaign to its end.
    """

    n_seeds_requested: int
    n_seeds_made: int
    n_seeds_duplicate: int
    n_seeds_skipped: int
    n_redrawn_by_rule: dict[str, int]
    endings: tuple[Ending, ...]
    n_crashes_by_rule: dict[str, int]
    events: tuple[Events, ...]
    comparisons: tuple[ReferenceComparison, ...]
    n_frames_explored: int
    n_frames_independent: float | None
    n_frames_discarded_by_reason: dict[str, int]
    n_frames_candidate: int
    n_frames_selected: int
    n_jobs: int
    n_force_calls: int
    labels: dict[str, Any] | None
    dynamics_s: float
    loading_s: float
    elapsed_s: float


def read_account(campaign: orm.WorkChainNode) -> CampaignAccount:
    """Return the summary of a finished campaign."""
    processes = read_processes([campaign.pk])
    # The jobs of a committee are excluded, because they do not explore.
    jobs_of: dict[int, list[ProcessRecord]] = {one.pk: [] for one in processes if one.process == EXPLORATION_CLASS}
    explorations = [one for one in processes if one.pk in jobs_of]
    of_explorations = [one for one in processes if one.is_job and one.caller in jobs_of]
    for job in of_explorations:
        if job.process in EXPLORING:
            jobs_of[job.caller].append(job)
    found = read_results([campaign.pk])
    results = [found[job.pk] for jobs in jobs_of.values() for job in jobs if job.pk in found]
    generated = merge_reports(generation_reports(campaign))
    selection = find_output(campaign, 'selection_report')
    assert selection is not None  # the campaign has finished
    # The number is unknown for a run that is shorter than the correlation time of its energy.
    independent = [n for result in results if (n := result['statistics'].get('n_independent_frames')) is not None]
    return CampaignAccount(
        n_seeds_requested=generated['requested'],
        n_seeds_made=generated['made'],
        n_seeds_duplicate=generated['duplicates'],
        n_seeds_skipped=generated['skipped'],
        n_redrawn_by_rule={rule: broken['count'] for rule, broken in generated['rules'].items()},
        endings=tuple(
            Ending(*how, n) for how, n in Counter(_ending(one, jobs_of[one.pk]) for one in explorations).items()
        ),
        n_crashes_by_rule=count_crashes(results),
        events=collect_events(results),
        comparisons=find_comparisons(campaign),
        n_frames_explored=selection['n_frames'],
        n_frames_independent=sum(independent) if independent else None,
        n_frames_discarded_by_reason={reason: n for reason, n in selection['discarded'].items() if n},
        n_frames_candidate=selection['n_candidates'],
        n_frames_selected=selection['n_selected'],
        n_jobs=len(of_explorations),
        n_force_calls=sum(result['force_calls'] for result in results),
        labels=find_output(campaign, 'labelling_report'),
        dynamics_s=sum(result['loop_s'] for result in results),
        loading_s=sum(result['load_s'] for result in results),
        elapsed_s=(campaign.mtime - campaign.ctime).total_seconds(),
    )


def describe_campaign(campaign: orm.WorkChainNode) -> dict[str, dict[str, Any]]:
    """Return the summary of a finished campaign as tables by title, for the report card."""
    account = read_account(campaign)
    left_out = {'duplicates': account.n_seeds_duplicate, 'skipped': account.n_seeds_skipped}
    endings: Counter[str] = Counter()
    for ending in account.endings:
        endings[ending.reason] += ending.n_explorations
    independent = account.n_frames_independent
    discarded = account.n_frames_discarded_by_reason
    tables: dict[str, dict[str, Any]] = {
        'Seeds': {
            'requested': account.n_seeds_requested,
            'made': account.n_seeds_made,
            **{name: n for name, n in left_out.items() if n},
            **{f'redrawn: {rule}': n for rule, n in account.n_redrawn_by_rule.items()},
        },
        'Extended campaign': _describe_extended(read_extended(campaign)),
        'Explorations': dict(endings),
        'Crashes by guard': account.n_crashes_by_rule,
        'Events in explorations': {f'{one.rule}, for example: {one.example}': one.n_events for one in account.events},
        'Reference dataset of the explorations': _describe_comparisons(account.comparisons),
        'Frames': {
            'explored': account.n_frames_explored,
            **({} if independent is None else {'statistically independent, by energy': round(independent, 1)}),
            **{f'discarded: {reason.replace("_", " ")}': n for reason, n in discarded.items()},
            'candidates': account.n_frames_candidate,
            'selected': account.n_frames_selected,
        },
        'Labels': {} if account.labels is None else describe_labels(account.labels),
        'Time': {
            'jobs': account.n_jobs,
            'force calls': account.n_force_calls,
            'hours of dynamics': account.dynamics_s / 3600,
            'hours spent loading models': account.loading_s / 3600,
            'hours from start to end': account.elapsed_s / 3600,
        },
    }
    return {title: table for title, table in tables.items() if table}


def describe_labels(report: Mapping[str, Any]) -> dict[str, Any]:
    """Return the report of a labelling run as a table."""
    return {
        'level of theory': report['level']['name'],
        'structures': report['n_structures'],
        'already known': report['n_known'],
        'failed in earlier runs': report.get('n_failed_before', 0),
        'labelled rows': report['n_labelled'],
        'suspicious labels': len(report.get('suspicious', ())),
        **{f'left out: {rule.replace("_", " ")}': n for rule, n in report['n_dropped_by_rule'].items()},
        **({'stresses left out': n_stresses} if (n_stresses := report.get('n_stresses_left_out')) else {}),
        **{f'isolated atom of {symbol}': 'failed' for symbol in report.get('isolated_atoms_failed', {})},
        'core hours of all labels': report['core_s'] / 3600,
    }


def _describe_extended(extended: Extended | None) -> dict[str, str]:
    if extended is None:
        return {}
    dataset = {'checksum of its dataset': extended.dataset_checksum} if extended.dataset_checksum else {}
    return {'name': extended.name, 'uuid': extended.uuid, **dataset}


def _describe_comparisons(comparisons: Iterable[ReferenceComparison]) -> dict[str, str]:
    """Return the thresholds, and the number of environments of each element, as text."""
    thresholds: dict[str, list[str]] = {}
    table = {}
    for one in comparisons:
        if one.threshold is not None:
            thresholds.setdefault(', '.join(one.elements), []).append(f'{one.threshold:.4g}')
        for symbol, n in one.n_used.items():
            table[f'environments of {symbol}'] = f'{n} of {one.n_environments[symbol]}'
    named = {f'threshold (elements {elements})': ', '.join(found) for elements, found in thresholds.items()}
    return named | table


def _ending(exploration: ProcessRecord, jobs: list[ProcessRecord]) -> tuple[int | None, str]:
    if exploration.ended and not exploration.failed:
        return 0, 'completed'
    last = jobs[-1] if jobs and jobs[-1].exit_status else exploration
    return last.exit_status, (last.exit_message or last.state).partition(':')[0].rstrip('.')
