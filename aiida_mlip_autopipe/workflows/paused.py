"""Jobs that AiiDA has paused after repeated failures of the transport. They wait until a user resumes them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from aiida import orm
from aiida.engine import ProcessState

ENDED = (ProcessState.FINISHED.value, ProcessState.EXCEPTED.value, ProcessState.KILLED.value)


@dataclass(frozen=True)
class PausedJob:
    """A paused job.

    Attributes
    ----------
    pk
        The job.
    exploration_pk
        Its exploration.
    reason
        Why it is paused.
    folder
        Its folder or, if it has none yet, the work directory of the computer, after the label of the computer.
    """

    pk: int
    exploration_pk: int
    reason: str
    folder: str


def find_paused(exploration_pks: Collection[int]) -> list[PausedJob]:
    """Return the paused jobs of some explorations."""
    query = orm.QueryBuilder()
    query.append(orm.WorkChainNode, filters={'id': {'in': list(exploration_pks)}}, project='id', tag='exploration')
    query.append(
        orm.CalcJobNode,
        with_incoming='exploration',
        filters={'attributes.paused': True, 'attributes.process_state': {'!in': list(ENDED)}},
        project=['id', 'attributes.process_status', 'attributes.remote_workdir'],
        tag='job',
    )
    query.append(orm.Computer, with_node='job', project=['label', 'metadata'])
    return [
        PausedJob(pk, exploration_pk, pause_reason(pk, reason), f'{computer}:{folder or metadata.get("workdir", "")}')
        for exploration_pk, pk, reason, folder, computer, metadata in (query.all() if exploration_pks else ())
    ]


def pause_reason(pk: int, status: str | None) -> str:
    """Return why a job is paused, with the error from the job's log that made AiiDA pause it.

    Parameters
    ----------
    pk
        The job.
    status
        Its process status in AiiDA.
    """
    if not status:
        return 'paused by a user'
    query = orm.QueryBuilder().append(orm.Node, filters={'id': pk}, tag='job')
    query.append(orm.Log, with_node='job', filters={'levelname': 'ERROR'}, project='message', tag='log')
    message = query.order_by({'log': {'id': 'desc'}}).first(flat=True)
    lines = (message or '').strip().splitlines()
    return f'{status}: {lines[-1]}' if lines else status
