"""Remove the folders that the jobs of a campaign left on their computers."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import PurePosixPath

from aiida import orm
from aiida.common.exceptions import NotExistent

from aiida_mlip_autopipe.aiida_internals import clean_folder
from aiida_mlip_autopipe.campaigns.full_trajectories import FoundTrajectory, find_full_trajectories
from aiida_mlip_autopipe.campaigns.restarts.survivors import why_unreachable
from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.workflows.graph import find_jobs, last_resumed
from aiida_mlip_autopipe.workflows.legs.killed import ABORTED
from aiida_mlip_autopipe.workflows.paused import ENDED


@dataclass(frozen=True)
class Cleaned:
    """The result of removing the folders of a campaign's jobs.

    Attributes
    ----------
    n_removed
        Number of folders that were removed.
    kept
        The full trajectories that have no copy, so their folders were kept.
    killed
        The pks of killed jobs whose folders were kept because the campaign can be resumed from them.
    """

    n_removed: int
    kept: tuple[FoundTrajectory, ...]
    killed: tuple[int, ...]


def clean_campaign(campaign: orm.WorkChainNode, *, force: bool = False) -> Cleaned:
    """Remove the folders of the jobs of a campaign that have ended.

    Retrieved files are kept. So are the folders of jobs that are still running, and those of jobs that this campaign
    reused from another campaign. Unless the campaign or the one that resumes it has finished, the folders of killed
    jobs are kept, too, because they contain checkpoints.

    Parameters
    ----------
    campaign
        The campaign.
    force
        Whether to also remove folders that contain the only copy of a full trajectory or the checkpoint of a killed
        job.

    Raises
    ------
    AutopipeError
        If a computer cannot be reached, or is not configured in the profile.
    """
    last = last_resumed(campaign)
    # The last campaign may have recovered legs from the folders of this one.
    campaigns = {node.pk: node for node in (campaign, last)}.values()
    trajectories = [] if force else [one for node in campaigns for one in find_full_trajectories(node)]
    only_copies = {_place_of(one.computer, one.path): one for one in trajectories if not one.is_stashed}
    needs_checkpoints = not force and not last.is_finished_ok
    kept, killed = [], []
    folders = defaultdict(list)
    for job in find_jobs(campaign, {'attributes.process_state': {'in': list(ENDED)}}):
        try:
            remote = job.outputs.remote_folder
        except (AttributeError, NotExistent):
            continue
        if remote.is_cleaned or job.base.caching.is_created_from_cache:
            continue
        place = remote.computer.label, remote.get_remote_path()
        if place in only_copies:
            kept.append(only_copies[place])
        elif needs_checkpoints and job.process_state.value in ABORTED:
            killed.append(job.pk)
        else:
            folders[remote.computer.pk].append(remote)
    for pk, remotes in folders.items():
        computer = orm.load_computer(pk)
        try:
            with computer.get_transport() as transport:
                for remote in remotes:
                    clean_folder(remote, transport)
        except Exception as error:  # a connection can fail in many ways
            raise AutopipeError(
                Code.COMPUTER_TEST_FAILED,
                f'not all folders on {computer.label} can be removed: {why_unreachable(computer, error)}',
            ) from error
    return Cleaned(sum(len(remotes) for remotes in folders.values()), tuple(kept), tuple(killed))


def _place_of(computer: str, path: str) -> tuple[str, str]:
    """Return the computer and the folder of a file."""
    return computer, str(PurePosixPath(path).parent)
