"""What the stages of campaigns cost."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from aiida_mlip_autopipe.campaigns.history.processes import ProcessRecord

STAGES = ('generation', 'exploration', 'committee', 'sampling', 'storage', 'labelling', 'training', 'assessment')
"""The stages, in order."""


@dataclass(frozen=True)
class StageCost:
    """The cost of one stage of a campaign.

    Attributes
    ----------
    stage
        One of `STAGES`.
    n_jobs
        Number of jobs that ran.
    n_reused
        Number of jobs and calculations whose results were taken from the cache.
    n_force_calls
        Number of evaluations of a calculator in the jobs. A job of another plugin counts as one.
    job_s
        Total time in seconds that the jobs spent on loading calculators and computing.
    core_s
        The same, multiplied by the number of threads of each job.
    elapsed_s
        Time in seconds from the start of the first process of the stage to the last change of any of them.
    """

    stage: str
    n_jobs: int
    n_reused: int
    n_force_calls: int
    job_s: float
    core_s: float
    elapsed_s: float


def measure_stages(processes: Iterable[ProcessRecord], costs: Mapping[int, Mapping[str, Any]]) -> list[StageCost]:
    """Return the cost of each stage that has started.

    Parameters
    ----------
    processes
        The processes of a campaign.
    costs
        What is known about its jobs, from `read_costs`.
    """
    by_stage: dict[str, list[ProcessRecord]] = {}
    for one in processes:
        by_stage.setdefault(one.stage, []).append(one)
    return [_measure(stage, by_stage[stage], costs) for stage in STAGES if stage in by_stage]


def _measure(stage: str, processes: list[ProcessRecord], costs: Mapping[int, Mapping[str, Any]]) -> StageCost:
    ran = [one for one in processes if one.is_job and one.cached_from is None]
    found = [costs[one.pk] for one in ran if one.pk in costs]
    seconds = [(one['loop_s'] or 0.0) + (one['load_s'] or 0.0) for one in found]
    elapsed = max(one.changed for one in processes) - min(one.started for one in processes)
    return StageCost(
        stage=stage,
        n_jobs=len(ran),
        n_reused=sum(one.cached_from is not None for one in processes),
        n_force_calls=sum(one['force_calls'] or 0 for one in found),
        job_s=sum(seconds),
        core_s=sum(time * (one['threads'] or 1) for time, one in zip(seconds, found, strict=True)),
        elapsed_s=elapsed.total_seconds(),
    )
