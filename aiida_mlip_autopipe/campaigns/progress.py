"""The progress of a campaign, read from the provenance graph at any time."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from aiida import orm
from aiida.common import LinkType, timezone
from aiida.engine import ProcessState

from aiida_mlip_autopipe.campaigns.labelling.runs import LabellingProgress, labelling_warnings, read_labelling
from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.data.seed import SeedData
from aiida_mlip_autopipe.generation import describe_losses, merge_reports
from aiida_mlip_autopipe.installation.profile import is_daemon_running
from aiida_mlip_autopipe.workflows.exploration import ExplorationWorkChain
from aiida_mlip_autopipe.workflows.graph import LABELLING, find_work_chains, list_campaigns
from aiida_mlip_autopipe.workflows.paused import ENDED, PausedJob, find_paused
from aiida_mlip_autopipe.workflows.reference_environments import ReferenceComparison

# The stage of each process that a campaign calls, except the explorations, in order.
STAGES = {
    'DescriptorsWorkChain': 'sampling',
    'select_frames': 'sampling',
    'SelectionCalculation': 'sampling',
    'export_dataset': 'storage',
    'LabellingWorkChain': 'labelling',
}

POLL_S = 1.0


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
        ``generation``, ``exploration``, ``sampling``, ``storage``, ``labelling``, ``finished`` or ``failed``.
    elapsed_s
        Time in seconds since the submission, or from submission to end.
    n_seeds
        Seeds that the config requests; 0 for a labelling run without a campaign.
    n_succeeded, n_failed, n_running, n_waiting
        Seeds whose exploration reached its last step, ended before it, is running, or has not been submitted yet.
    rate_per_hour
        Explorations that end per hour; None before the first one has ended, and without a daemon.
    remaining_s
        Time in seconds until the last exploration ends, at the current rate; None without a rate.
    labels
        The state of the labelling; None before it starts, or if there is none.
    paused
        Paused jobs, which wait for the user.
    comparisons
        What the explorations are compared with, if they have a reference dataset.
    warnings
        Which seeds are missing and why, what entries leave out, where the selection differs from the request, and which
        rows have no label.
    failure
        Why the campaign failed; None if it did not.
    waits_for_daemon
        Whether the campaign has not ended and the daemon is not running, so that nothing progresses.
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
    labels: LabellingProgress | None
    paused: tuple[PausedJob, ...]
    comparisons: tuple[ReferenceComparison, ...]
    warnings: tuple[str, ...]
    failure: str | None
    waits_for_daemon: bool


def read_progress(campaign: orm.WorkChainNode) -> Progress:
    """Return the progress of a campaign."""
    explorations = find_explorations(campaign)
    stage = _stage(campaign, bool(explorations))
    n_seeds = campaign.get_metadata_inputs().get('n_seeds', 0)
    labelling = _labelling_run(campaign)
    n_ended = sum(exploration.ended for exploration in explorations)
    n_succeeded = sum(exploration.succeeded for exploration in explorations)
    waits_for_daemon = not campaign.is_terminated and not is_daemon_running()
    rate = None if waits_for_daemon else _rate_per_hour(explorations)
    generated = _generation_reports(campaign)
    # Seeds that were discarded, such as duplicates, are not waiting.
    n_distinct = len({seed_id for report in generated for seed_id in report['seed_ids']})
    n_discarded = sum(report['requested'] for report in generated) - n_distinct
    n_waiting = max(n_seeds - n_discarded - len(explorations), 0)
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
        n_waiting=n_waiting if stage in ('generation', 'exploration') else 0,
        rate_per_hour=rate,
        remaining_s=None if rate is None else (n_waiting + len(explorations) - n_ended) / rate * 3600,
        labels=None if labelling is None else read_labelling(labelling),
        paused=tuple(find_paused(find_work_chains(campaign))),
        comparisons=find_comparisons(campaign),
        warnings=(
            *describe_losses(merge_reports(generated)),
            *_selection_warnings(campaign),
            *([] if labelling is None else labelling_warnings(labelling)),
        ),
        failure=_failure(campaign),
        waits_for_daemon=waits_for_daemon,
    )


def _labelling_run(campaign: orm.WorkChainNode) -> orm.WorkChainNode | None:
    """Return the labelling run of a campaign, or the campaign itself if it is one; None if there is none."""
    return next((node for node in (campaign, *campaign.called) if node.process_type == LABELLING), None)


def _generation_reports(campaign: orm.WorkChainNode) -> list[dict[str, Any]]:
    """Return the reports of the seeds that have been generated so far."""
    outputs = campaign.base.links.get_outgoing(link_type=LinkType.RETURN).all()
    return [link.node.get_dict() for link in outputs if link.link_label.startswith('generation_reports__')]


def _selection_warnings(campaign: orm.WorkChainNode) -> list[str]:
    return list(campaign.outputs.selection_report['warnings']) if 'selection_report' in campaign.outputs else []


def list_progress() -> list[Progress]:
    """Return the progress of each campaign of the profile, newest first."""
    return [read_progress(campaign) for campaign in list_campaigns()]


def watch_campaign(campaign: orm.WorkChainNode, poll_s: float = POLL_S) -> Iterator[Progress]:
    """Yield the progress of a campaign until it ends, and once more after its end.

    Parameters
    ----------
    campaign
        The campaign.
    poll_s
        Time between two polls, in seconds.
    """
    while True:
        # Checked before the progress is read, so that the last progress was read after the end.
        ended = campaign.is_terminated
        yield read_progress(campaign)
        if ended:
            return
        time.sleep(poll_s)


def raise_if_failed(progress: Progress) -> None:
    """Raise an error if a campaign has failed.

    Raises
    ------
    AutopipeError
        If the campaign has failed; the message contains the reason.
    """
    if progress.failure is not None:
        raise AutopipeError(
            Code.CAMPAIGN_FAILED,
            f"campaign {progress.pk} failed: {progress.failure}; 'verdi process report {progress.pk}' shows more",
        )


def find_explorations(campaign: orm.WorkChainNode) -> list[Exploration]:
    """Return the explorations of a campaign in order of submission."""
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
    return sorted(found, key=lambda exploration: exploration.pk)


def find_comparisons(campaign: orm.WorkChainNode) -> tuple[ReferenceComparison, ...]:
    """Return what the explorations of a campaign are compared with, if they have a reference dataset."""
    query = orm.QueryBuilder()
    query.append(orm.WorkChainNode, filters={'id': campaign.pk}, tag='campaign')
    query.append(
        orm.CalcFunctionNode,
        with_incoming='campaign',
        filters={'attributes.process_label': 'describe_reference'},
        tag='calculation',
    )
    query.append(orm.Dict, with_incoming='calculation', project=['id', 'attributes'])
    return tuple(ReferenceComparison.from_report(report) for _, report in sorted(query.all(), key=lambda row: row[0]))


def _rate_per_hour(explorations: list[Exploration]) -> float | None:
    ended = [exploration for exploration in explorations if exploration.ended]
    if not ended:
        return None
    last_end = max(exploration.changed for exploration in ended)
    elapsed = last_end - min(exploration.started for exploration in explorations)
    return len(ended) / max(elapsed.total_seconds() / 3600, 1e-9)


def _failure(campaign: orm.WorkChainNode) -> str | None:
    if not campaign.is_terminated or campaign.is_finished_ok:
        return None
    return campaign.exit_message or campaign.process_status or str(campaign.process_state.value)


def _stage(campaign: orm.WorkChainNode, exploring: bool) -> str:
    if campaign.is_terminated:
        return 'finished' if campaign.is_finished_ok else 'failed'
    if campaign.process_type == LABELLING:
        return 'labelling'
    called = {node.process_label for node in campaign.called}
    # From the last process to the first.
    for process, stage in reversed(STAGES.items()):
        if process in called:
            return stage
    return 'exploration' if exploring else 'generation'
