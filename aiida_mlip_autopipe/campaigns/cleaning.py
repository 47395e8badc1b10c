"""Remove the folders that the jobs of a campaign left on their computers."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from aiida import orm
from aiida.common.exceptions import NotExistent

from aiida_mlip_autopipe.aiida_internals import clean_folder
from aiida_mlip_autopipe.campaigns.full_trajectories import FoundTrajectory, find_full_trajectories
from aiida_mlip_autopipe.workflows.graph import find_jobs
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
    """

    n_removed: int
    kept: tuple[FoundTrajectory, ...]


def clean_campaign(campaign: orm.WorkChainNode, *, force: bool = False) -> Cleaned:
    """Remove the folders of the jobs of a campaign that have ended.

    Retrieved files are kept. So are the folders of jobs that are still running, and those of jobs that this campaign
    reused from another campaign.

    Parameters
    ----------
    campaign
        The campaign.
    force
        Whether to also remove folders that contain the only copy of a full trajectory.
    """
    trajectories = [] if force else find_full_trajectories(campaign)
    only_copies = {trajectory.job: trajectory for trajectory in trajectories if not trajectory.is_stashed}
    kept = []
    folders = defaultdict(list)
    for job in find_jobs(campaign, {'attributes.process_state': {'in': list(ENDED)}}):
        try:
            remote = job.outputs.remote_folder
        except (AttributeError, NotExistent):
            continue
        if remote.is_cleaned or job.base.caching.is_created_from_cache:
            continue
        if job.pk in only_copies:
            kept.append(only_copies[job.pk])
        else:
            folders[remote.computer.pk].append(remote)
    for pk, remotes in folders.items():
        with orm.load_computer(pk).get_transport() as transport:
            for remote in remotes:
                clean_folder(remote, transport)
    return Cleaned(sum(len(remotes) for remotes in folders.values()), tuple(kept))
