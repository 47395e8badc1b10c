"""The processes of jobs on their computers, which AiiDA does not see: ask them to stop, wake them and kill them."""

from __future__ import annotations

import re
import shlex
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import PurePosixPath
from typing import Any

import psutil
from aiida import orm
from aiida.common.exceptions import NotExistent
from aiida.schedulers import JobState

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError, first_line
from aiida_mlip_autopipe.jobs.contract import STOP_FILE

POLL_S = 0.5
KILL_WAIT_S = 10.0
DIRECT = 'core.direct'
LOCAL = 'core.local'
# Lists the working directory of each process, with one program for all of them. Only Linux has such files.
LIST_FOLDERS = 'ls -l /proc/[0-9]*/cwd 2>/dev/null'
_LISTED = re.compile(r' /proc/(\d+)/cwd -> (.+)$', re.MULTILINE)
# AiiDA derives the last three parts of the path of a job's folder from the uuid of the job.
_UNIQUE_PARTS = 3


def is_direct(job: orm.CalcJobNode) -> bool:
    """Return whether a job runs without a queue, with the scheduler ``core.direct``."""
    return job.computer is not None and job.computer.scheduler_type == DIRECT


def request_stop(jobs: Iterable[orm.CalcJobNode]) -> None:
    """Ask running jobs to stop: the runner ends at a checkpoint as soon as a file exists in its folder.

    With the scheduler ``core.direct``, suspended processes of the jobs are resumed, since they cannot end while
    they are suspended. Other schedulers resume the jobs that they suspended.
    """
    for computer, found in jobs_by_computer(jobs):
        with computer.get_transport() as transport:
            _write_stop_files(transport, found)
            if computer.scheduler_type == DIRECT:
                _signal(computer, transport, found, 'CONT')


def stop_survivors(jobs: Iterable[orm.CalcJobNode], deadline: float, notify: Callable[[str], None]) -> None:
    """Stop the processes of killed jobs that are still running.

    They are asked to write a checkpoint and to end. Those that do not end in time are killed.

    Parameters
    ----------
    jobs
        Jobs that AiiDA has killed.
    deadline
        Time on the clock of `time.monotonic` until which to wait before they are killed.
    notify
        Called with a message about what is still running.

    Raises
    ------
    AutopipeError
        If a computer cannot be reached, or a process does not end.
    """
    for computer, found in jobs_by_computer(jobs):
        _stop_on_computer(computer, found, deadline, notify)


def why_unreachable(computer: orm.Computer, error: Exception) -> str:
    """Return why a computer cannot be used, from the error of the attempt.

    A profile into which an archive was imported contains computers that are not configured in it.
    """
    if isinstance(error, NotExistent):
        command = f'verdi computer configure {computer.transport_type} {computer.label}'
        return f"the computer is not configured in this profile; '{command}' configures it"
    return first_line(error)


def jobs_by_computer(jobs: Iterable[orm.CalcJobNode]) -> list[tuple[orm.Computer, list[orm.CalcJobNode]]]:
    """Return the jobs that have a folder, by their computer."""
    found: dict[int, list[orm.CalcJobNode]] = defaultdict(list)
    for job in jobs:
        if job.get_remote_workdir() and job.computer is not None:
            found[job.computer.pk].append(job)
    return [(orm.load_computer(pk), of_computer) for pk, of_computer in found.items()]


def _write_stop_files(transport: Any, jobs: Iterable[orm.CalcJobNode]) -> None:
    files = ' '.join(shlex.quote(f'{job.get_remote_workdir()}/{STOP_FILE}') for job in jobs)
    transport.exec_command_wait(f'touch {files}')


def _stop_on_computer(
    computer: orm.Computer, jobs: list[orm.CalcJobNode], deadline: float, notify: Callable[[str], None]
) -> None:
    """Stop the processes of killed jobs that are still running on a computer."""
    try:
        with computer.get_transport() as transport:
            if computer.scheduler_type == DIRECT and not _folders_of_processes(computer, transport):
                notify(
                    f'{computer.label} has no /proc, so it is unknown whether processes of these killed jobs are still '
                    f'running there: {", ".join(str(job.pk) for job in jobs)}'
                )
                return
            survivors = _survivors_of(computer, transport, jobs)
            if not survivors:
                return
            named = ', '.join(str(job.pk) for job in survivors)
            notify(f'stopping the processes of killed jobs that are still running on {computer.label}: {named}')
            request_stop(survivors)
            while survivors and time.monotonic() < deadline:
                time.sleep(POLL_S)
                survivors = _survivors_of(computer, transport, jobs)
            if survivors:
                _kill(computer, transport, survivors)
                last = time.monotonic() + KILL_WAIT_S
                while survivors and time.monotonic() < last:
                    time.sleep(POLL_S)
                    survivors = _survivors_of(computer, transport, jobs)
    except AutopipeError:
        raise
    except Exception as error:  # a connection can fail in many ways
        raise AutopipeError(
            Code.COMPUTER_TEST_FAILED,
            f'cannot find out whether killed jobs are still running on {computer.label}, or cannot stop them: '
            f'{why_unreachable(computer, error)}',
        ) from error
    if survivors:
        named = ', '.join(f'{job.get_remote_workdir()}' for job in survivors)
        raise AutopipeError(
            Code.JOB_TIMEOUT,
            f'processes on {computer.label} are still running in these folders and cannot be stopped: {named}',
        )


def _survivors_of(computer: orm.Computer, transport: Any, jobs: Iterable[orm.CalcJobNode]) -> list[orm.CalcJobNode]:
    """Return the killed jobs that still have a running process or are still listed by the scheduler."""
    if computer.scheduler_type != DIRECT:
        scheduler = computer.get_scheduler()
        scheduler.set_transport(transport)
        ids = [job_id for job in jobs if (job_id := job.get_job_id()) is not None]
        wanted = {'user': '$USER'} if scheduler.get_feature('can_query_by_user') else {'jobs': ids}
        listed = scheduler.get_jobs(**wanted, as_dict=True) if ids else {}
        # Some schedulers list jobs for a while after their end.
        unfinished = {job_id for job_id, info in listed.items() if info.job_state != JobState.DONE}
        return [job for job in jobs if job.get_job_id() in unfinished]
    running = processes_by_folder(computer, transport)
    return [job for job in jobs if unique_part(job.get_remote_workdir()) in running]


def _kill(computer: orm.Computer, transport: Any, jobs: Iterable[orm.CalcJobNode]) -> None:
    if computer.scheduler_type != DIRECT:
        scheduler = computer.get_scheduler()
        scheduler.set_transport(transport)
        for job in jobs:
            scheduler.kill_job(job.get_job_id())
        return
    _signal(computer, transport, jobs, 'KILL')


def _signal(computer: orm.Computer, transport: Any, jobs: Iterable[orm.CalcJobNode], name: str) -> None:
    """Send a signal to the processes that run in the folders of jobs."""
    running = processes_by_folder(computer, transport)
    pids = [pid for job in jobs for pid in running.get(unique_part(job.get_remote_workdir()), ())]
    if pids:
        transport.exec_command_wait(f'kill -{name} {" ".join(map(str, pids))}')


def processes_by_folder(computer: orm.Computer, transport: Any) -> dict[tuple[str, ...], list[int]]:
    """Return the ids of the processes of the user on a computer, by the unique part of their working directory.

    The scheduler ``core.direct`` only knows the shell of a job, whose children may outlive it, and process ids
    are reused. The result is empty only if another computer has no ``/proc``.
    """
    found: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for pid, folder in _folders_of_processes(computer, transport):
        found[unique_part(folder)].append(pid)
    return found


def _folders_of_processes(computer: orm.Computer, transport: Any) -> list[tuple[int, str]]:
    """Return the id and the working directory of each process of the user on a computer.

    The list is empty only if another computer has no ``/proc``: the program that lists the processes is one of them.
    """
    if computer.transport_type == LOCAL:
        found = ((process.pid, process.info['cwd']) for process in psutil.process_iter(['cwd']))
        return [(pid, folder) for pid, folder in found if folder]
    _, output, _ = transport.exec_command_wait(LIST_FOLDERS)
    return [(int(pid), folder) for pid, folder in _LISTED.findall(output)]


def unique_part(folder: str) -> tuple[str, ...]:
    """Return the part of the path of a job's folder that no other job has."""
    return PurePosixPath(folder).parts[-_UNIQUE_PARTS:]
