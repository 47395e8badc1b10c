"""Stop a campaign: running jobs write a checkpoint, end and are parsed; all other processes are killed."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from aiida import orm
from aiida.schedulers import JobState

from aiida_mlip_autopipe.aiida_internals import kill_processes
from aiida_mlip_autopipe.campaigns.restarts.reused_pids import release_ended_jobs
from aiida_mlip_autopipe.campaigns.restarts.survivors import (
    KILL_WAIT_S,
    POLL_S,
    is_direct,
    request_stop,
    stop_survivors,
)
from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.installation.profile import ensure_daemon
from aiida_mlip_autopipe.workflows.graph import STOP_REQUESTED, find_jobs
from aiida_mlip_autopipe.workflows.paused import ENDED

KILL_TIMEOUT_S = 30.0
# Longer than AiiDA needs to retrieve a job that has ended. If such a job were killed earlier, AiiDA might kill another
# process that has its id.
RETRIEVAL_S = 60.0
WAITING = (JobState.QUEUED, JobState.QUEUED_HELD, JobState.SUSPENDED)


@dataclass(frozen=True)
class Stopped:
    """The result of stopping a campaign.

    Attributes
    ----------
    n_requested
        Running jobs that stopped on request.
    n_killed
        Jobs that were killed, because they had not started, were paused, or did not stop in time.
    """

    n_requested: int
    n_killed: int


def stop_campaign(campaign: orm.WorkChainNode, wait_s: float, notify: Callable[[str], None]) -> Stopped:
    """Stop a campaign without losing the work of its running jobs.

    Parameters
    ----------
    campaign
        The campaign.
    wait_s
        Time in seconds after which running jobs are killed.
    notify
        Called with a message about processes that are still running although their jobs were killed.

    Raises
    ------
    AutopipeError
        If the campaign has already ended; if the daemon, which stops it, does not start; or if a process of a killed
        job cannot be stopped.
    """
    if campaign.is_terminated:
        raise AutopipeError(Code.CAMPAIGN_ENDED, f'campaign {campaign.pk} has already ended')
    ensure_daemon()
    campaign.base.extras.set(STOP_REQUESTED, True)
    deadline = time.monotonic() + wait_s
    if release_ended_jobs(_active_jobs(campaign), notify):
        deadline = max(deadline, time.monotonic() + RETRIEVAL_S)
    # While the jobs are asked to stop, others may start or be submitted.
    requested, killed = stop_jobs(lambda: _active_jobs(campaign), deadline, lambda: not campaign.is_terminated)
    if not campaign.is_terminated:
        killed |= {job.pk for job in _active_jobs(campaign)}
        kill_processes([campaign], timeout_s=KILL_TIMEOUT_S)
    # AiiDA's scheduler for this machine sends SIGTERM once and nothing else. Other schedulers kill what does not end.
    direct = [job for job in map(orm.load_node, killed) if is_direct(job)]
    stop_survivors(direct, time.monotonic() + KILL_WAIT_S, notify)
    return Stopped(len(requested - killed), len(killed))


def stop_jobs(
    active_jobs: Callable[[], list[orm.CalcJobNode]], deadline: float, continues: Callable[[], bool] | None = None
) -> tuple[set[int], set[int]]:
    """Ask running jobs to stop at a checkpoint, and kill jobs that are waiting.

    A job whose state is not known yet is asked to stop, and killed if it turns out to be waiting.

    Parameters
    ----------
    active_jobs
        Returns the jobs that have not ended.
    deadline
        Time on the clock of `time.monotonic` until which to wait.
    continues
        Returns whether to continue; by default, while there are active jobs.

    Returns
    -------
    tuple
        The pks of the jobs that were asked to stop, and of those that were killed.
    """
    requested: set[int] = set()
    killed: set[int] = set()
    continues = continues or (lambda: bool(active_jobs()))
    while continues() and time.monotonic() < deadline:
        jobs = [job for job in active_jobs() if job.pk not in killed]
        waiting = [job for job in jobs if _is_waiting(job)]
        running = [job for job in jobs if job not in waiting and job.pk not in requested]
        request_stop(running)
        requested |= {job.pk for job in running}
        if waiting:
            kill_processes(waiting, timeout_s=KILL_TIMEOUT_S)
            killed |= {job.pk for job in waiting}
        time.sleep(POLL_S)
    return requested, killed


def _active_jobs(campaign: orm.WorkChainNode) -> list[orm.CalcJobNode]:
    return find_jobs(campaign, {'attributes.process_state': {'!in': list(ENDED)}})


def _is_waiting(job: orm.CalcJobNode) -> bool:
    """Return whether a job has not started, is suspended by its scheduler, or is paused by AiiDA.

    AiiDA asks for the state of a submitted job at intervals, so a job whose state is not known yet may be running. With
    ``core.direct``, it always is.
    """
    if job.paused or job.get_job_id() is None:
        return True
    return not is_direct(job) and job.get_scheduler_state() in WAITING
