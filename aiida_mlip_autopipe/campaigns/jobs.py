"""Run a job and wait for it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from aiida import orm
from aiida.engine import ProcessBuilder, submit

from aiida_mlip_autopipe.aiida_internals import kill_processes
from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.workflows.paused import pause_reason

POLL_S = 0.5
KILL_TIMEOUT_S = 10


def submit_and_wait(builder: ProcessBuilder, timeout_s: float, notify: Callable[[str], None]) -> orm.CalcJobNode:
    """Submit a job to the daemon and wait until it ends.

    Parameters
    ----------
    builder
        The job.
    timeout_s
        Maximum time in seconds.
    notify
        Called at each poll with the state of the job.

    Raises
    ------
    AutopipeError
        If the job is paused or does not end in time. The job is then killed.
    """
    node: Any = submit(builder)
    deadline = time.monotonic() + timeout_s
    try:
        while not node.is_terminated:
            state = node.get_scheduler_state()
            notify(f'job {node.pk}: {node.process_status or (state and state.value) or "being submitted"}')
            if node.paused:
                raise AutopipeError(
                    Code.JOB_PAUSED, f'job {node.pk} is paused: {pause_reason(node.pk, node.process_status)}'
                )
            if time.monotonic() > deadline:
                raise AutopipeError(
                    Code.JOB_TIMEOUT, f'job {node.pk} did not end within {timeout_s:g} s: {node.process_status}'
                )
            time.sleep(POLL_S)
    except BaseException:
        kill_processes([node], timeout_s=KILL_TIMEOUT_S)
        raise
    return node
