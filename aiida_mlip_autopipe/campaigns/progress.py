"""How far a campaign is: read from the graph, so that anyone can ask at any time."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from aiida import orm
from aiida.common import timezone
from aiida.engine import ProcessState

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.data.seed import SeedData
from aiida_mlip_autopipe.workflows.exploration import ExplorationWorkChain
from aiida_mlip_autopipe.workflows.graph import list_campaigns
from aiida_mlip_autopipe.workflows.paused import ENDED, PausedJob, find_paused

STAGES = {
    'generate_seeds': 'generation',
    'DescriptionWorkChain': 'sampling',
    'select_frames': 'sampling',
    'SelectionCalculation': 'sampling',
    'export_dataset': 'storage',
}

POLL_S = 1.0


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
    """The progress of a campaign.

    Attributes
    ----------
    pk, uuid, name
        The campaign.
    started
        When it was submitted.
    stage
        ``generation``, ``exploration``, ``sampling``, ``storage``, ``finished`` or ``failed``.
    elapsed_s
        How long it has been running, or ran, in seconds.
    n_seeds
        Seeds that its config asks for.
    n_succeeded, n_failed, n_running, n_waiting
        Seeds whose exploration reached its last step, ended earlier, is running, and has not been submitted.
    rate_per_hour
        Explorations that end per hour; None before the first one has ended.
    remaining_s
        Seconds until the last exploration ends, at the rate so far; None if there is no rate yet.
    paused
        Paused jobs, which wait for the user.
    warnings
        Where the selection differs from what was requested.
    failure
        Why the campaign failed; None unless it has.
    """

    pk: int
    uuid: str
    name: str
    started: datetime
    stage: str
    elapsed_s: float
    n_seeds: int
    n_succeeded: int
    n_failed: int
    n_running: int
    n_waiting: int
    rate_per_hour: float | None
    remaining_s: float | None
    paused: tuple[PausedJob, ...]
    warnings: tuple[str, ...]
    failure: str | None


def read_progress(campaign: orm.WorkChainNode) -> Progress:
    """Return how far a campaign is."""
    explorations = find_explorations(campaign)
    stage = _stage(campaign, bool(explorations))
    n_seeds = campaign.get_metadata_inputs()['n_seeds']
    n_ended = sum(one.ended for one in explorations)
    n_succeeded = sum(one.succeeded for one in explorations)
    rate = _rate_per_hour(explorations)
    return Progress(
        pk=campaign.pk,
        uuid=campaign.uuid,
        name=campaign.label,
        started=campaign.ctime,
        stage=stage,
        elapsed_s=((campaign.mtime if campaign.is_terminated else timezone.now()) - campaign.ctime).total_seconds(),
        n_seeds=n_seeds,
        n_succeeded=n_succeeded,
        n_failed=n_ended - n_succeeded,
        n_running=len(explorations) - n_ended,
        # Seeds that were left out as duplicates are not waiting.
        n_waiting=max(n_seeds - len(explorations), 0) if stage in ('generation', 'exploration') else 0,
        rate_per_hour=rate,
        remaining_s=None if rate is None else (n_seeds - n_ended) / rate * 3600,
        # Besides the explorations, there are the work chain that describes the frames and the job that selects.
        paused=tuple(
            find_paused([campaign.pk, *(node.pk for node in campaign.called if isinstance(node, orm.WorkChainNode))])
        ),
        warnings=tuple(campaign.outputs.selection_report['warnings']) if 'selection_report' in campaign.outputs else (),
        failure=_failure(campaign),
    )


def list_progress() -> list[Progress]:
    """Return the progress of each campaign of the profile, the newest first."""
    return [read_progress(campaign) for campaign in list_campaigns()]


def watch_campaign(campaign: orm.WorkChainNode, poll_s: float = POLL_S) -> Iterator[Progress]:
    """Yield the progress of a campaign until it has ended; the last value is from after its end.

    Parameters
    ----------
    campaign
        The campaign.
    poll_s
        Seconds between two polls.
    """
    while True:
        # Checked first, so that the last progress is read after the end.
        ended = campaign.is_terminated
        yield read_progress(campaign)
        if ended:
            return
        time.sleep(poll_s)


def refuse_failed(progress: Progress) -> None:
    """Raise an error for a campaign that has failed.

    Raises
    ------
    AutopipeError
        If it has failed; the message has the reason.
    """
    if progress.failure is not None:
        raise AutopipeError(
            Code.CAMPAIGN_FAILED,
            f"campaign {progress.pk} failed: {progress.failure}; 'verdi process report {progress.pk}' tells more",
        )


def find_explorations(campaign: orm.WorkChainNode) -> list[Exploration]:
    """Return the explorations of a campaign in the order in which they were submitted."""
    query = orm.QueryBuilder()
    query.append(orm.WorkChainNode, filters={'id': campaign.pk}, tag='campaign')
    query.append(
        ExplorationWorkChain,
        with_incoming='campaign',
        project=['id', 'attributes.process_state', 'attributes.exit_status', 'ctime', 'mtime'],
        tag='exploration',
    )
    query.append(SeedData, with_outgoing='exploration', project='attributes.seed_id')
    found = [
        Exploration(pk, seed_id, state, status, started, changed)
        for pk, state, status, started, changed, seed_id in query.iterall()
    ]
    return sorted(found, key=lambda one: one.pk)


def _rate_per_hour(explorations: list[Exploration]) -> float | None:
    ended = [one for one in explorations if one.ended]
    if not ended:
        return None
    elapsed = max(one.changed for one in ended) - min(one.started for one in explorations)
    return len(ended) / max(elapsed.total_seconds() / 3600, 1e-9)


def _failure(campaign: orm.WorkChainNode) -> str | None:
    if not campaign.is_terminated or campaign.is_finished_ok:
        return None
    return campaign.exit_message or campaign.process_status or str(campaign.process_state.value)


def _stage(campaign: orm.WorkChainNode, exploring: bool) -> str:
    if campaign.is_terminated:
        return 'finished' if campaign.is_finished_ok else 'failed'
    called = {node.process_label for node in campaign.called}
    for process in ('export_dataset', 'select_frames', 'SelectionCalculation', 'DescriptionWorkChain'):
        if process in called:
            return STAGES[process]
    return 'exploration' if exploring else 'generation'
