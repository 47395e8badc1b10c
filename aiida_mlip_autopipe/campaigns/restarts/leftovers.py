"""Processes of a campaign that has ended: jobs that AiiDA is still running, and processes that outlived their jobs."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from aiida import orm

from aiida_mlip_autopipe.aiida_internals import kill_processes
from aiida_mlip_autopipe.campaigns.restarts.reused_pids import release_ended_jobs
from aiida_mlip_autopipe.campaigns.restarts.stopping import KILL_TIMEOUT_S, RETRIEVAL_S, stop_jobs
from aiida_mlip_autopipe.campaigns.restarts.survivors import KILL_WAIT_S, POLL_S, stop_survivors
from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.core.wording import counted
from aiida_mlip_autopipe.workflows.graph import STOP_REQUESTED, find_work_chains
from aiida_mlip_autopipe.workflows.legs.killed import ABORTED
from aiida_mlip_autopipe.workflows.paused import ENDED

WAIT_S = 120.0


def stop_leftovers(campaign: orm.WorkChainNode, wait_s: float, notify: Callable[[str], None]) -> None:
    """Stop everything that is still running for a campaign that has ended, so that nothing writes to its jobs' folders.

    Processes that AiiDA is still running end like those of a campaign that is stopped, so their results are kept. A
    process of a killed job is asked to write a checkpoint and to end. Whatever does not end in time is killed.

    Parameters
    ----------
    campaign
        A campaign that has ended.
    wait_s
        Time in seconds after which processes are killed.
    notify
        Called with a message about what is still running.

    Raises
    ------
    AutopipeError
        If a computer cannot be reached, or a process does not end.
    """
    deadline = time.monotonic() + wait_s
    if active := _active(campaign):
        notify(f'stopping {counted(len(active), "running process")} of campaign {campaign.pk}')
        campaign.base.extras.set(STOP_REQUESTED, True)
        if release_ended_jobs(_active_jobs(campaign), notify):
            deadline = max(deadline, time.monotonic() + RETRIEVAL_S)
        stop_jobs(lambda: _active_jobs(campaign), deadline)
        while (remaining := _active(campaign)) and time.monotonic() < deadline:
            time.sleep(POLL_S)
        if remaining:
            kill_processes(remaining, timeout_s=KILL_TIMEOUT_S)
            last = time.monotonic() + KILL_WAIT_S
            while (remaining := _active(campaign)) and time.monotonic() < last:
                time.sleep(POLL_S)
        if remaining:
            named = ', '.join(str(node.pk) for node in remaining)
            raise AutopipeError(Code.JOB_TIMEOUT, f'these processes of campaign {campaign.pk} did not end: {named}')
    stop_survivors(_jobs(campaign, {'in': list(ABORTED)}), deadline, notify)


def _active(campaign: orm.WorkChainNode) -> list[orm.ProcessNode]:
    """Return the work chains and jobs below a campaign that have not ended."""
    chains = [orm.load_node(pk) for pk in find_work_chains(campaign)]
    return [node for node in (*chains, *_active_jobs(campaign)) if not node.is_terminated]


def _active_jobs(campaign: orm.WorkChainNode) -> list[orm.CalcJobNode]:
    return _jobs(campaign, {'!in': list(ENDED)})


def _jobs(campaign: orm.WorkChainNode, state: dict[str, Any]) -> list[orm.CalcJobNode]:
    query = orm.QueryBuilder()
    query.append(orm.WorkChainNode, filters={'id': {'in': find_work_chains(campaign)}}, tag='chain')
    query.append(orm.CalcJobNode, with_incoming='chain', filters={'attributes.process_state': state})
    return query.all(flat=True)
