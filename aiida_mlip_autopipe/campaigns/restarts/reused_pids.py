"""Jobs that have ended, but whose process id now belongs to another process.

The scheduler ``core.direct`` identifies a job by a process id. After a reboot, any process may have this id. AiiDA then
waits for the end of that process, and kills it if it is asked to kill the job.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from aiida import orm
from aiida.common.datastructures import CalcJobState
from aiida.schedulers import JobState

from aiida_mlip_autopipe.campaigns.restarts.survivors import (
    is_direct,
    jobs_by_computer,
    processes_by_folder,
    unique_part,
    why_unreachable,
)


def release_ended_jobs(jobs: Iterable[orm.CalcJobNode], notify: Callable[[str], None]) -> tuple[int, ...]:
    """Make AiiDA retrieve jobs that have ended, although another process now has their process id.

    A job has ended if no process runs in its folder. The other process is left alone.

    Parameters
    ----------
    jobs
        Jobs that have not ended according to AiiDA.
    notify
        Called with a message if a computer cannot be reached.

    Returns
    -------
    tuple
        The pks of the jobs that had ended, in order.
    """
    submitted = [job for job in jobs if is_direct(job) and job.get_state() == CalcJobState.WITHSCHEDULER]
    ended: list[orm.CalcJobNode] = []
    for computer, on_computer in jobs_by_computer(submitted):
        try:
            ended += _ended_but_listed(computer, on_computer)
        except Exception as error:  # a connection can fail in many ways
            notify(
                f'cannot find out which jobs are still running on {computer.label}: {why_unreachable(computer, error)}'
            )
    for job in ended:
        # AiiDA sets this state once the scheduler no longer lists the job.
        job.set_state(CalcJobState.STASHING)
    return tuple(sorted(job.pk for job in ended))


def _ended_but_listed(computer: orm.Computer, jobs: list[orm.CalcJobNode]) -> list[orm.CalcJobNode]:
    """Return the jobs whose process id is in use, although no process runs in their folders."""
    with computer.get_transport() as transport:
        scheduler = computer.get_scheduler()
        scheduler.set_transport(transport)
        listed = scheduler.get_jobs(jobs=[job.get_job_id() for job in jobs], as_dict=True)
        running = processes_by_folder(computer, transport)
    if not running:  # the computer has no /proc, so it is unknown where processes run
        return []
    in_use = {pid for pid, info in listed.items() if info.job_state != JobState.DONE}
    return [job for job in jobs if job.get_job_id() in in_use and unique_part(job.get_remote_workdir()) not in running]
