"""Built-in queries about the seeds, jobs and costs of campaigns. The results are pandas DataFrames.

Filters that need more than a comparison are applied in Python, because AiiDA does not support them on SQLite.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from aiida import orm

from aiida_mlip_autopipe.campaigns.history.costs import StageCost, measure_stages
from aiida_mlip_autopipe.campaigns.history.events import crash_of
from aiida_mlip_autopipe.campaigns.history.processes import (
    EXPLORING,
    ProcessRecord,
    find_retried,
    read_costs,
    read_processes,
    read_results,
    read_seed_ids,
)
from aiida_mlip_autopipe.workflows.graph import list_campaigns, load_campaign

if TYPE_CHECKING:
    import pandas as pd

CRASHES = ('campaign', 'seed_id', 'exit_label', 'rule', 'step', 'message', 'resumed', 'job')
JOBS = (
    'campaign',
    'process',
    'calculator',
    'calculator_version',
    'model',
    'device',
    'package_version',
    'n_jobs',
    'n_failed',
    'n_reused',
    'n_force_calls',
    'core_hours',
)
COSTS = ('campaign', 'stage', 'n_jobs', 'n_reused', 'n_force_calls', 'job_hours', 'core_hours', 'elapsed_hours')
SECONDS_PER_HOUR = 3600.0


def find_crashes(campaign: orm.WorkChainNode | str | None = None) -> pd.DataFrame:
    """Return the exploration jobs that a guard stopped, including those that were resumed.

    Parameters
    ----------
    campaign
        A campaign, or its pk, uuid or name; by default, all campaigns of the profile.

    Returns
    -------
    pandas.DataFrame
        For each job: the name of the campaign, the seed, the label of the exit code, the rule, the step, the message
        with the value and the limit, whether the exploration was resumed after it, and the pk of the job.

    Raises
    ------
    AutopipeError
        If the campaign does not exist.
    """
    chosen = choose_campaigns(campaign)
    processes, results, seeds = read_processes(chosen), read_results(chosen), read_seed_ids(chosen)
    retried = {one.pk for one in find_retried(processes)}
    rows = []
    for one in processes:
        crash = crash_of(results[one.pk]) if one.process in EXPLORING and one.pk in results else None
        if crash is not None:
            about = (chosen[one.campaign], seeds.get(one.caller), one.exit_label)
            rows.append((*about, crash['rule'], crash['step'], crash['message'], one.pk in retried, one.pk))
    return table(CRASHES, rows)


def count_jobs(campaign: orm.WorkChainNode | str | None = None) -> pd.DataFrame:
    """Return the numbers of jobs by process, calculator, model, versions and device.

    Parameters
    ----------
    campaign
        A campaign, or its pk, uuid or name; by default, all campaigns of the profile.

    Returns
    -------
    pandas.DataFrame
        For each group: the numbers of jobs, of those that failed and of those that were taken from the cache, and the
        force calls and core hours of those that ran. Jobs without a result have no calculator.

    Raises
    ------
    AutopipeError
        If the campaign does not exist.
    """
    chosen = choose_campaigns(campaign)
    results, processes = read_results(chosen), read_processes(chosen)
    groups: dict[tuple[str, ...], list[ProcessRecord]] = {}
    for one in processes:
        if one.is_job:
            groups.setdefault((chosen[one.campaign], one.process, *_software(results.get(one.pk))), []).append(one)
    rows = []
    costs = read_costs(processes, results)
    for key, jobs in sorted(groups.items()):
        cost = _total(jobs, costs)
        n_failed = sum(job.failed for job in jobs)
        rows.append(
            (*key, len(jobs), n_failed, cost.n_reused, cost.n_force_calls, cost.core_s / SECONDS_PER_HOUR),
        )
    return table(JOBS, rows)


def measure_costs(campaign: orm.WorkChainNode | str | None = None) -> pd.DataFrame:
    """Return what each stage of each campaign cost; see `StageCost`.

    Parameters
    ----------
    campaign
        A campaign, or its pk, uuid or name; by default, all campaigns of the profile.

    Returns
    -------
    pandas.DataFrame
        For each campaign and stage: the numbers of jobs that ran and of reused results, the force calls, and the hours.

    Raises
    ------
    AutopipeError
        If the campaign does not exist.
    """
    chosen = choose_campaigns(campaign)
    processes = read_processes(chosen)
    costs = read_costs(processes, read_results(chosen))
    by_campaign: dict[int, list[ProcessRecord]] = {}
    for one in processes:
        by_campaign.setdefault(one.campaign, []).append(one)
    rows = []
    for pk in sorted(by_campaign):
        for cost in measure_stages(by_campaign[pk], costs):
            hours = [seconds / SECONDS_PER_HOUR for seconds in (cost.job_s, cost.core_s, cost.elapsed_s)]
            rows.append((chosen[pk], cost.stage, cost.n_jobs, cost.n_reused, cost.n_force_calls, *hours))
    return table(COSTS, rows)


def choose_campaigns(campaign: orm.WorkChainNode | str | None) -> dict[int, str]:
    """Return the names by pk of one campaign, or of all campaigns and labelling runs.

    Raises
    ------
    AutopipeError
        If the campaign does not exist.
    """
    if campaign is None:
        return {one.pk: one.label for one in list_campaigns()}
    node = load_campaign(campaign) if isinstance(campaign, str) else campaign
    return {node.pk: node.label}


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> pd.DataFrame:
    """Return a DataFrame, which has its columns even if it has no rows."""
    import pandas as pd

    return pd.DataFrame(list(rows), columns=list(columns))


def _software(result: Mapping[str, Any] | None) -> tuple[str, str, str, str, str]:
    if result is None:
        return '', '', '', '', ''
    versions = result['versions'] or {}
    model = result['model_name'] or ''
    return (
        result['calculator_name'] or '',
        versions.get('calculator') or '',
        model,
        result['device'] or '',
        versions.get('package') or '',
    )


def _total(jobs: list[ProcessRecord], costs: Mapping[int, Mapping[str, Any]]) -> StageCost:
    """Return the cost of jobs of the same stage."""
    (cost,) = measure_stages(jobs, costs)
    return cost
