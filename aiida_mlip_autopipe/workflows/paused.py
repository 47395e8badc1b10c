"""Jobs that AiiDA has paused, as it does after repeated failures of the transport: they wait for a person."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from aiida import orm
from aiida.engine import ProcessState

ENDED = (ProcessState.FINISHED.value, ProcessState.EXCEPTED.value, ProcessState.KILLED.value)


@dataclass(frozen=True)
class PausedJob:
    """A paused job: its pk, that of the exploration it belongs to, and why it is paused."""

    pk: int
    exploration_pk: int
    reason: str


def find_paused(exploration_pks: Collection[int]) -> list[PausedJob]:
    """Return the paused jobs of some explorations."""
    query = orm.QueryBuilder()
    query.append(orm.WorkChainNode, filters={'id': {'in': list(exploration_pks)}}, project='id', tag='exploration')
    query.append(
        orm.CalcJobNode,
        with_incoming='exploration',
        filters={'attributes.paused': True, 'attributes.process_state': {'!in': list(ENDED)}},
        project=['id', 'attributes.process_status'],
    )
    return [
        PausedJob(pk, exploration_pk, reason or 'paused by a user')
        for exploration_pk, pk, reason in (query.iterall() if exploration_pks else ())
    ]
