"""Resume a campaign: continue one that has not ended, or resubmit one that ended early."""

from __future__ import annotations

import fcntl
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from aiida import orm
from aiida.common import LinkType
from aiida.engine import ProcessBuilder, ProcessBuilderNamespace, submit
from aiida.manage import get_config, get_manager

from aiida_mlip_autopipe.aiida_internals import play_processes
from aiida_mlip_autopipe.campaigns.progress import read_progress
from aiida_mlip_autopipe.campaigns.restarts.changes import refuse_changed_inputs
from aiida_mlip_autopipe.campaigns.restarts.leftovers import WAIT_S, stop_leftovers
from aiida_mlip_autopipe.campaigns.restarts.requeueing import requeue_lost_processes
from aiida_mlip_autopipe.campaigns.restarts.reused_pids import release_ended_jobs
from aiida_mlip_autopipe.campaigns.submission import ctrl_c_delayed
from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.installation.profile import ensure_daemon
from aiida_mlip_autopipe.workflows.graph import RESUMES, earlier_campaign, find_jobs, last_resumed
from aiida_mlip_autopipe.workflows.paused import ENDED, PausedJob

PLAY_TIMEOUT_S = 30


@dataclass(frozen=True)
class Resumed:
    """What was done to resume a campaign.

    Attributes
    ----------
    campaign
        The campaign that continues: the one that was named, or the last one that resumes it.
    daemon_started
        Whether the daemon was started, because it was not running.
    requeued
        The pks of processes that no worker would have run, and that were put back in the queue.
    resumed
        The paused jobs that were resumed.
    released
        The pks of jobs that had ended, although AiiDA was still waiting for the process that now has their process id.
    submitted
        Whether a new campaign was submitted, because the earlier one had ended early.
    has_finished
        Whether nothing was done, because the campaign has finished.
    """

    campaign: orm.WorkChainNode
    daemon_started: bool = False
    requeued: tuple[int, ...] = ()
    resumed: tuple[PausedJob, ...] = ()
    released: tuple[int, ...] = ()
    submitted: bool = False
    has_finished: bool = False


def resume_campaign(
    campaign: orm.WorkChainNode,
    notify: Callable[[str], None] = lambda message: None,
    wait_s: float = WAIT_S,
    announce: Callable[[orm.WorkChainNode], None] = lambda submitted: None,
) -> Resumed:
    """Continue a campaign.

    If it has not ended, the daemon is started if necessary, processes that no worker would run are put back in the
    queue, paused jobs are resumed, and jobs are retrieved whose process id now belongs to another process. If it was
    stopped or killed, failed or raised an exception, it is submitted again with the same inputs. The new campaign
    reuses all finished calculations, and recovers what killed jobs left in their folders.

    Parameters
    ----------
    campaign
        The campaign. If it was resumed before, the last campaign that resumes it is continued.
    notify
        Called with a message about processes of the campaign that are still running and will be stopped, and about
        computers that cannot be reached.
    wait_s
        Time in seconds after which these processes are killed.
    announce
        Called with the new campaign, if one is submitted. Ctrl-C takes effect only afterwards, so every campaign
        is announced.

    Raises
    ------
    AutopipeError
        If another process is resuming the campaign; if the daemon does not start; if any code, computer, model or
        environment has changed or is missing; if a computer cannot be reached; or if a process of a killed job cannot
        be stopped.
    """
    with _resumed_only_here(campaign):
        return _resume(last_resumed(campaign), notify, wait_s, announce)


@contextmanager
def _resumed_only_here(campaign: orm.WorkChainNode) -> Iterator[None]:
    """Refuse a campaign that another process is resuming, which would submit it twice.

    The operating system releases the lock when the process ends, however it ends.

    Raises
    ------
    AutopipeError
        If another process is resuming the campaign, or one that it resumes.
    """
    profile, first = get_manager().get_profile(), campaign
    while (earlier := earlier_campaign(first)) is not None:
        first = earlier
    assert profile is not None  # the campaign was loaded from it
    with Path(get_config().dirpath, f'mlip-autopipe-resume-{profile.uuid}.lock').open('a') as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, first.pk)  # one byte for each campaign
        except (BlockingIOError, PermissionError) as error:
            raise AutopipeError(
                Code.CAMPAIGN_RESUMING,
                f'campaign {campaign.pk} is being resumed by another process; wait until it ends',
            ) from error
        yield


def _resume(
    campaign: orm.WorkChainNode,
    notify: Callable[[str], None],
    wait_s: float,
    announce: Callable[[orm.WorkChainNode], None],
) -> Resumed:
    if campaign.is_finished_ok:
        return Resumed(campaign, has_finished=True)
    found = Resumed(campaign, ensure_daemon())
    if not campaign.is_terminated:
        requeued = requeue_lost_processes(campaign, daemon_started=found.daemon_started)
        paused = read_progress(campaign).paused
        if paused:
            play_processes([orm.load_node(one.pk) for one in paused], timeout_s=PLAY_TIMEOUT_S)
        released = release_ended_jobs(find_jobs(campaign, {'attributes.process_state': {'!in': list(ENDED)}}), notify)
        return replace(found, requeued=requeued, resumed=paused, released=released)
    refuse_changed_inputs(campaign)
    stop_leftovers(campaign, wait_s, notify)
    with ctrl_c_delayed():
        submitted = submit(resumed_builder(campaign))
        announce(submitted)
    return replace(found, campaign=submitted, submitted=True)


def resumed_builder(campaign: orm.WorkChainNode) -> ProcessBuilder:
    """Return a builder with the inputs of a campaign, for a new campaign that resumes it."""
    builder = campaign.process_class.get_builder()
    inputs: dict[str, Any] = campaign.base.links.get_incoming(link_type=LinkType.INPUT_WORK).nested()
    campaign.recursive_merge(inputs, campaign.get_metadata_inputs() or {})
    _fill(builder, inputs)
    builder.reuse_finished = True
    setattr(builder, RESUMES, campaign.uuid)
    builder.metadata.label = campaign.label
    builder.metadata.description = f'resumes campaign {campaign.uuid}'
    return builder


def _fill(builder: ProcessBuilderNamespace, inputs: Mapping[str, Any]) -> None:
    """Set the inputs of a builder. `get_builder_restart` fails if a metadata input is a dictionary."""
    for name, value in inputs.items():
        namespace = getattr(builder, name, None)
        if isinstance(namespace, ProcessBuilderNamespace):
            _fill(namespace, value)
        else:
            setattr(builder, name, value)
