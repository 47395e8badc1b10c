"""Submission of a job, with a display of its state until it ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aiida.engine import ProcessBuilder
    from aiida.orm import CalcJobNode


def submit_and_wait(builder: ProcessBuilder, timeout_s: float) -> CalcJobNode:
    """Submit a job to the daemon, and show its state until it ends. For the errors, see `campaigns.jobs`."""
    from aiida_mlip_autopipe.campaigns import jobs
    from aiida_mlip_autopipe.cli.console import error_console

    with error_console.status('') as status:
        return jobs.submit_and_wait(builder, timeout_s, status.update)
