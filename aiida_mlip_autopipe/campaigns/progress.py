"""The progress of a campaign, read from the provenance graph at any time."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from aiida import orm
from aiida.common import LinkType, timezone

from aiida_mlip_autopipe.campaigns.labelling.progress import (
    LabellingProgress,
    labelling_run,
    labelling_warnings,
    read_labelling,
)
from aiida_mlip_autopipe.campaigns.queued import QueuedJobs, find_queued
from aiida_mlip_autopipe.campaigns.rounds.progress import RoundsProgress, read_rounds
from aiida_mlip_autopipe.campaigns.training.progress import TrainingProgress, read_training
from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.generation import describe_losses, merge_reports
from aiida_mlip_autopipe.installation.profile import is_daemon_running
from aiida_mlip_autopipe.workflows.graph import (
    LABELLING,
    ROUNDS,
    TRAINING,
    Extended,
    earlier_campaign,
    extending_campaigns,
    find_output,
    find_work_chains,
    later_campaigns,
    list_campaigns,
    read_extended,
)
from aiida_mlip_autopipe.workflows.legs.explorations import Exploration, find_explorations, rate_per_hour
from aiida_mlip_autopipe.workflows.legs.lost import describe_lost_legs
from aiida_mlip_autopipe.workflows.paused import PausedJob, find_paused

if TYPE_CHECKING:
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
class Progress:
    """The progress of a campaign.

    Attributes
    ----------
    pk, uuid, name
        The campaign.
    started
        When it was submitted.
    stage
        ``generation``, ``exploration``, ``sampling``, ``storage``, ``labelling``, ``training``, ``assessment``,
        ``finished`` or ``failed``.
    elapsed_s
        Time in seconds since the submission, or from submission to end.
    n_seeds
        Seeds that the config requests; 0 for a labelling or training run without a campaign.
    n_succeeded, n_failed, n_running, n_queued, n_waiting
        Seeds whose exploration reached its last step, ended before it, is running, waits in the queue of a scheduler,
        or has not been submitted yet.
    rate_per_hour
        Explorations that end per hour; None before the first one has ended, and without a daemon.
    remaining_s
        Time in seconds until the last exploration ends, at the current rate; None without a rate.
    labels
        The state of the labelling; None before it starts, or if there is none.
    training
        The state of a training run; None for others.
    queued
        Jobs that wait in the queue of a scheduler or are suspended, with the reason.
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
    resumes, resumed_by
        The pks of the campaign that it resumes, and of the last one that resumes it; None if there is none.
    extends
        The campaign that it extends; None if there is none.
    extended_by
        The pks of the campaigns that extend it.
    rounds
        The state of the rounds; None for a campaign without rounds.
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
    n_queued: int
    n_waiting: int
    rate_per_hour: float | None
    remaining_s: float | None
    labels: LabellingProgress | None
    training: TrainingProgress | None
    queued: tuple[QueuedJobs, ...]
    paused: tuple[PausedJob, ...]
    comparisons: tuple[ReferenceComparison, ...]
    warnings: tuple[str, ...]
    failure: str | None
    waits_for_daemon: bool
    resumes: int | None
    resumed_by: int | None
    extends: Extended | None
    extended_by: tuple[int, ...]
    rounds: RoundsProgress | None = None


def read_progress(campaign: orm.WorkChainNode, explorations: list[Exploration] | None = None) -> Progress:
    """Return the progress of a campaign.

    For a campaign with rounds, the seeds, labels and warnings are those of the last round.

    Parameters
    ----------
    campaign
        The campaign.
    explorations
        Its explorations, or those of its last round, if `find_explorations` has been called already.
    """
    if campaign.process_type == ROUNDS:
        return _with_rounds(campaign)
    return _read_chain(campaign, find_explorations(campaign) if explorations is None else explorations)


def _read_chain(campaign: orm.WorkChainNode, explorations: list[Exploration]) -> Progress:
    stage = _stage(campaign, bool(explorations))
    n_seeds = (campaign.get_metadata_inputs() or {}).get('n_seeds', 0)
    labelling = labelling_run(campaign)
    n_ended = sum(exploration.ended for exploration in explorations)
    n_succeeded = sum(exploration.succeeded for exploration in explorations)
    work_chains = find_work_chains(campaign)
    queued = find_queued(work_chains)
    in_queue = {pk for one in queued if one.state != 'suspended' for pk in one.callers}
    n_queued = sum(not exploration.ended and exploration.pk in in_queue for exploration in explorations)
    waits_for_daemon = not campaign.is_terminated and not is_daemon_running()
    rate = None if waits_for_daemon else rate_per_hour(explorations)
    generated = generation_reports(campaign)
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
        n_running=len(explorations) - n_ended - n_queued,
        n_queued=n_queued,
        n_waiting=n_waiting if stage in ('generation', 'exploration') else 0,
        rate_per_hour=rate,
        remaining_s=None if rate is None else (n_waiting + len(explorations) - n_ended) / rate * 3600,
        labels=None if labelling is None else read_labelling(labelling),
        training=read_training(campaign) if campaign.process_type == TRAINING else None,
        queued=queued,
        paused=tuple(find_paused(work_chains)),
        comparisons=find_comparisons(campaign),
        warnings=(
            *describe_losses(merge_reports(generated)),
            *describe_lost_legs(campaign),
            *_selection_warnings(campaign),
            *([] if labelling is None else labelling_warnings(labelling)),
        ),
        failure=_failure(campaign),
        waits_for_daemon=waits_for_daemon,
        resumes=_pk(earlier_campaign(campaign)),
        resumed_by=_pk(next(reversed(later_campaigns(campaign)), None)),
        extends=read_extended(campaign),
        extended_by=tuple(one.pk for one in extending_campaigns(campaign)),
    )


def _with_rounds(campaign: orm.WorkChainNode) -> Progress:
    """Return the progress of the last round, as that of its campaign."""
    rounds = read_rounds(campaign)
    of_round = None if rounds.dataset is None else read_progress(orm.load_node(rounds.dataset))
    own = _read_chain(campaign, [])
    if of_round is None:
        return replace(own, rounds=rounds)
    fields = (
        'n_succeeded',
        'n_failed',
        'n_running',
        'n_waiting',
        'rate_per_hour',
        'remaining_s',
        'labels',
        'comparisons',
        'warnings',
    )
    stage = own.stage if campaign.is_terminated else rounds.stage or of_round.stage
    return replace(own, stage=stage, rounds=rounds, **{name: getattr(of_round, name) for name in fields})


def _pk(node: orm.Node | None) -> int | None:
    return None if node is None else node.pk


def generation_reports(campaign: orm.WorkChainNode) -> list[dict[str, Any]]:
    """Return the reports of the seeds that have been generated so far."""
    query = orm.QueryBuilder().append(orm.WorkChainNode, filters={'id': campaign.pk}, tag='campaign')
    of_reports = {'type': LinkType.RETURN.value, 'label': {'like': r'generation\_reports\_\_%'}}
    query.append(orm.Dict, with_incoming='campaign', edge_filters=of_reports, project=['id', 'attributes'])
    return [report for _, report in sorted(query.all(), key=lambda row: row[0])]


def _selection_warnings(campaign: orm.WorkChainNode) -> list[str]:
    report = find_output(campaign, 'selection_report')
    return [] if report is None else list(report['warnings'])


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
    reports = [report for _, report in sorted(query.all(), key=lambda row: row[0])]
    if not reports:
        return ()
    # It takes seconds to import the work chains, and most campaigns have no reports.
    from aiida_mlip_autopipe.workflows.reference_environments import ReferenceComparison

    return tuple(map(ReferenceComparison.from_report, reports))


def _failure(campaign: orm.WorkChainNode) -> str | None:
    if not campaign.is_terminated or campaign.is_finished_ok:
        return None
    return campaign.exit_message or campaign.process_status or str(campaign.process_state.value)


def _stage(campaign: orm.WorkChainNode, exploring: bool) -> str:
    if campaign.is_terminated:
        return 'finished' if campaign.is_finished_ok else 'failed'
    if campaign.process_type in (LABELLING, TRAINING):
        return 'labelling' if campaign.process_type == LABELLING else 'training'
    query = orm.QueryBuilder(distinct=True).append(orm.WorkChainNode, filters={'id': campaign.pk}, tag='campaign')
    query.append(orm.ProcessNode, with_incoming='campaign', project='attributes.process_label')
    called = set(query.all(flat=True))
    # From the last process to the first.
    for process, stage in reversed(STAGES.items()):
        if process in called:
            return stage
    return 'exploration' if exploring else 'generation'
