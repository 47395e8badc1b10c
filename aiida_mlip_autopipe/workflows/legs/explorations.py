"""The explorations of a campaign."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from aiida import orm
from aiida.engine import ProcessState

from aiida_mlip_autopipe.workflows.graph import EXPLORATION, SEED_LINK
from aiida_mlip_autopipe.workflows.paused import ENDED


@dataclass(frozen=True)
class Exploration:
    """The current state of one exploration of a campaign."""

    pk: int
    seed_id: str
    state: str
    exit_status: int | None
    started: datetime
    changed: datetime

    @property
    def ended(self) -> bool:
        """Whether it has ended, successfully or not."""
        return self.state in ENDED

    @property
    def succeeded(self) -> bool:
        """Whether it has reached its last step."""
        return self.state == ProcessState.FINISHED.value and self.exit_status == 0


def find_explorations(campaign: orm.WorkChainNode) -> list[Exploration]:
    """Return the explorations of a campaign in order of submission."""
    query = orm.QueryBuilder()
    query.append(orm.WorkChainNode, filters={'id': campaign.pk}, tag='campaign')
    query.append(
        orm.WorkChainNode,
        with_incoming='campaign',
        filters={'process_type': EXPLORATION},
        project=['id', 'attributes.process_state', 'attributes.exit_status', 'ctime', 'mtime'],
        tag='exploration',
    )
    query.append(orm.Data, with_outgoing='exploration', edge_filters={'label': SEED_LINK}, project='attributes.seed_id')
    found = [
        Exploration(pk, seed_id, state, status, started, changed)
        for pk, state, status, started, changed, seed_id in query.iterall()
    ]
    return sorted(found, key=lambda exploration: exploration.pk)


def rate_per_hour(explorations: list[Exploration]) -> float | None:
    """Return how many explorations end per hour; None before the first one has ended."""
    ended = [exploration for exploration in explorations if exploration.ended]
    if not ended:
        return None
    last_end = max(exploration.changed for exploration in ended)
    elapsed = last_end - min(exploration.started for exploration in explorations)
    return len(ended) / max(elapsed.total_seconds() / 3600, 1e-9)
