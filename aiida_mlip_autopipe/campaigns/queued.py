"""Jobs that wait in the queue of their scheduler, or that it has suspended."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass

from aiida import orm
from aiida.schedulers import JobState

from aiida_mlip_autopipe.workflows.paused import ENDED

# What the status calls a waiting job.
_STATES = {JobState.QUEUED.value: 'queued', JobState.QUEUED_HELD.value: 'held', JobState.SUSPENDED.value: 'suspended'}


@dataclass(frozen=True)
class QueuedJobs:
    """Jobs that are not running, for the same reason.

    Attributes
    ----------
    computer
        The label of their computer.
    state
        ``queued``, ``held`` or ``suspended``.
    reason
        What the scheduler gives as the reason, such as ``Priority`` or ``PartitionTimeLimit``; None if it gives none.
    pks
        The jobs.
    callers
        Their work chains. For an exploration, this is the exploration.
    """

    computer: str
    state: str
    reason: str | None
    pks: tuple[int, ...]
    callers: tuple[int, ...]


def find_queued(work_chains: Collection[int]) -> tuple[QueuedJobs, ...]:
    """Return the jobs of work chains that are queued, held or suspended, as last seen by AiiDA.

    Parameters
    ----------
    work_chains
        The pks of the work chains.
    """
    query = orm.QueryBuilder()
    query.append(orm.WorkChainNode, filters={'id': {'in': list(work_chains)}}, project='id', tag='chain')
    query.append(
        orm.CalcJobNode,
        with_incoming='chain',
        filters={
            'attributes.process_state': {'!in': list(ENDED)},
            'attributes.scheduler_state': {'in': list(_STATES)},
        },
        project=['id', 'attributes.scheduler_state', 'attributes.last_job_info.annotation'],
        tag='job',
    )
    query.append(orm.Computer, with_node='job', project='label')
    found: dict[tuple[str, str, str | None], list[tuple[int, int]]] = defaultdict(list)
    for caller, pk, state, reason, computer in query.all() if work_chains else ():
        found[computer, _STATES[state], reason or None].append((pk, caller))
    return tuple(
        QueuedJobs(*key, *map(tuple, zip(*sorted(jobs), strict=True)))
        for key, jobs in sorted(found.items(), key=lambda one: min(one[1]))
    )
