"""How far a campaign is: read from the graph, so that anyone can ask at any time."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from aiida import orm
from aiida.common import timezone
from aiida.engine import ProcessState

from aiida_mlip_autopipe.data.seed import SeedData
from aiida_mlip_autopipe.workflows.exploration import ExplorationWorkChain
from aiida_mlip_autopipe.workflows.paused import ENDED, PausedJob, find_paused

STAGES = {
    'generate_seeds': 'generation',
    'DescriptionWorkChain': 'sampling',
    'select_frames': 'sampling',
    'SelectionCalculation': 'sampling',
    'export_dataset': 'storage',
}


@dataclass(frozen=True)
class Exploration:
    """One exploration of a campaign as it stands."""

    pk: int
    seed_id: str
    state: str
    exit_status: int | None
    started: datetime
    changed: datetime

    @property
    def ended(self) -> bool:
        """Whether it has ended, one way or the other."""
        return self.state in ENDED

    @property
    def succeeded(self) -> bool:
        """Whether it has reached its last step."""
        return self.state == ProcessState.FINISHED.value and self.exit_status == 0


@dataclass(frozen=True)
class Progress:
    """A campaign as it stands."""

    stage: str
    n_seeds: int
    explorations: tuple[Exploration, ...]
    paused: tuple[PausedJob, ...]

    @property
    def n_succeeded(self) -> int:
        """Explorations that reached their last step."""
        return sum(one.succeeded for one in self.explorations)

    @property
    def n_failed(self) -> int:
        """Explorations that ended otherwise."""
        return sum(one.ended and not one.succeeded for one in self.explorations)

    @property
    def n_running(self) -> int:
        """Explorations submitted and not ended."""
        return sum(not one.ended for one in self.explorations)

    @property
    def rate_per_hour(self) -> float | None:
        """Explorations that end in an hour; None before the first one has."""
        ended = [one for one in self.explorations if one.ended]
        if not ended:
            return None
        elapsed = max(one.changed for one in ended) - min(one.started for one in self.explorations)
        return len(ended) / max(elapsed / timedelta(hours=1), 1e-9)

    @property
    def remaining(self) -> timedelta | None:
        """Time until the last exploration ends, at the rate so far; None where there is no rate yet."""
        rate = self.rate_per_hour
        if rate is None:
            return None
        return timedelta(hours=(self.n_seeds - self.n_succeeded - self.n_failed) / rate)


def read_progress(campaign: orm.WorkChainNode) -> Progress:
    """Return how far a campaign is."""
    query = orm.QueryBuilder()
    query.append(orm.WorkChainNode, filters={'id': campaign.pk}, tag='campaign')
    query.append(
        ExplorationWorkChain,
        with_incoming='campaign',
        project=['id', 'attributes.process_state', 'attributes.exit_status', 'ctime', 'mtime'],
        tag='exploration',
    )
    query.append(SeedData, with_outgoing='exploration', project='attributes.seed_id')
    explorations = tuple(
        Exploration(pk, seed_id, state, status, started, changed)
        for pk, state, status, started, changed, seed_id in query.iterall()
    )
    return Progress(
        stage=_stage(campaign, bool(explorations)),
        n_seeds=campaign.get_metadata_inputs()['n_seeds'],
        explorations=tuple(sorted(explorations, key=lambda one: one.pk)),
        # Beside the explorations there is the work chain that has the frames described, and the job that selects.
        paused=tuple(
            find_paused([campaign.pk, *(node.pk for node in campaign.called if isinstance(node, orm.WorkChainNode))])
        ),
    )


def elapsed(campaign: orm.WorkChainNode) -> timedelta:
    """Return how long a campaign has been running, or ran."""
    return (campaign.mtime if campaign.is_terminated else timezone.now()) - campaign.ctime


def _stage(campaign: orm.WorkChainNode, exploring: bool) -> str:
    if campaign.is_terminated:
        return 'finished' if campaign.is_finished_ok else 'failed'
    called = {node.process_label for node in campaign.called}
    for process in ('export_dataset', 'select_frames', 'SelectionCalculation', 'DescriptionWorkChain'):
        if process in called:
            return STAGES[process]
    return 'exploration' if exploring else 'generation'
