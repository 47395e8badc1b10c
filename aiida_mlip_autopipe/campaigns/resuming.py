"""Resume a campaign that has stopped, for example after a crash or a reboot."""

from __future__ import annotations

from dataclasses import dataclass

from aiida import orm

from aiida_mlip_autopipe.aiida_internals import play_processes
from aiida_mlip_autopipe.campaigns.progress import read_progress
from aiida_mlip_autopipe.installation.profile import ensure_daemon
from aiida_mlip_autopipe.workflows.paused import PausedJob

PLAY_TIMEOUT_S = 30


@dataclass(frozen=True)
class Resumed:
    """What was done to resume a campaign.

    Attributes
    ----------
    daemon_started
        Whether the daemon was started, because it was not running.
    resumed
        The paused jobs that were resumed.
    """

    daemon_started: bool
    resumed: tuple[PausedJob, ...]


def resume_campaign(campaign: orm.WorkChainNode) -> Resumed:
    """Start the daemon if it is not running, and resume the paused jobs of a campaign.

    Raises
    ------
    AutopipeError
        If the daemon does not start.
    """
    daemon_started = ensure_daemon()
    paused = read_progress(campaign).paused
    if paused:
        play_processes([orm.load_node(one.pk) for one in paused], timeout_s=PLAY_TIMEOUT_S)
    return Resumed(daemon_started, paused)
