"""A job that a command waits for."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from aiida_mlip_autopipe.core.errors import AutopipeError

if TYPE_CHECKING:
    from aiida.engine import ProcessBuilder
    from aiida.orm import CalcJobNode

POLL_S = 0.5


def submit_and_wait(builder: ProcessBuilder, timeout_s: float) -> CalcJobNode:
    """Submit a job to the daemon and wait for its end, telling what it waits for.

    Raises
    ------
    AutopipeError
        If it is paused, or has not ended in time; then it is killed.
    """
    from aiida.engine import submit

    from aiida_mlip_autopipe.cli.console import error_console
    from aiida_mlip_autopipe.workflows.paused import tell_reason

    node: Any = submit(builder)
    deadline = time.monotonic() + timeout_s
    with error_console.status('') as status:
        try:
            while not node.is_terminated:
                state = node.get_scheduler_state()
                status.update(f'job {node.pk}: {node.process_status or (state and state.value) or "being submitted"}')
                if node.paused:
                    raise AutopipeError(f'job {node.pk} is paused: {tell_reason(node.pk, node.process_status)}')
                if time.monotonic() > deadline:
                    raise AutopipeError(f'job {node.pk} has not ended in {timeout_s:g} s: {node.process_status}')
                time.sleep(POLL_S)
        except BaseException:
            _kill(node)
            raise
    return node


def _kill(node: CalcJobNode) -> None:
    from aiida_mlip_autopipe.aiida_internals import kill_processes

    kill_processes([node], timeout_s=10)
