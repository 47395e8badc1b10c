"""Stop a campaign: running jobs write a checkpoint, end and are parsed; all other processes are killed."""

from __future__ import annotations

import shlex
import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from aiida import orm
from aiida.schedulers import JobState

from aiida_mlip_autopipe.aiida_internals import kill_processes
from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.installation.profile import ensure_daemon
from aiida_mlip_autopipe.jobs.contract import STOP_FILE
from aiida_mlip_autopipe.workflows.graph import STOP_REQUESTED, find_jobs
from aiida_mlip_autopipe.workflows.paused import ENDED

POLL_S = 0.5
KILL_TIMEOUT_S = 30.0


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


def stop_campaign(campaign: orm.WorkChainNode, wait_s: float) -> Stopped:
    """Stop a campaign without losing the work of its running jobs.

    Parameters
    ----------
    campaign
        The campaign.
    wait_s
        Time in seconds after which running jobs are killed.

    Raises
    ------
    AutopipeError
        If the campaign has already ended, or the daemon, which stops it, does not start.
    """
    if campaign.is_terminated:
        raise AutopipeError(Code.CAMPAIGN_ENDED, f'campaign {campaign.pk} has already ended')
    ensure_daemon()
    campaign.base.extras.set(STOP_REQUESTED, True)
    deadline = time.monotonic() + wait_s
    requested: set[int] = set()
    killed: set[int] = set()
    # While this loop asks jobs to stop, others may start or be submitted.
    while not campaign.is_terminated and time.monotonic() < deadline:
        jobs = [job for job in _active_jobs(campaign) if job.pk not in requested | killed]
        running = [job for job in jobs if job.get_scheduler_state() is JobState.RUNNING and not job.paused]
        others = [job for job in jobs if job not in running]
        _write_stop_files(running)
        requested |= {job.pk for job in running}
        if others:
            kill_processes(others, timeout_s=KILL_TIMEOUT_S)
            killed |= {job.pk for job in others}
        time.sleep(POLL_S)
    if not campaign.is_terminated:
        killed |= {job.pk for job in _active_jobs(campaign)}
        kill_processes([campaign], timeout_s=KILL_TIMEOUT_S)
    return Stopped(len(requested - killed), len(killed))


def _active_jobs(campaign: orm.WorkChainNode) -> list[orm.CalcJobNode]:
    return find_jobs(campaign, {'attributes.process_state': {'!in': list(ENDED)}})


def _write_stop_files(jobs: Iterable[orm.CalcJobNode]) -> None:
    folders = defaultdict(list)
    for job in jobs:
        if folder := job.get_remote_workdir():
            folders[job.computer.pk].append(folder)
    for pk, paths in folders.items():
        files = ' '.join(shlex.quote(f'{path}/{STOP_FILE}') for path in paths)
        with orm.load_computer(pk).get_transport() as transport:
            transport.exec_command_wait(f'touch {files}')
