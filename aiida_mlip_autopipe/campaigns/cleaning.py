"""The folders of a campaign's jobs on the computers: what is left when all has been retrieved."""

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
    """What became of the folders.

    Attributes
    ----------
    n_removed
        Folders removed.
    kept
        Full trajectories of which there is no copy: their folders stay.
    """

    n_removed: int
    kept: tuple[FoundTrajectory, ...]


def clean_campaign(campaign: orm.WorkChainNode, *, force: bool = False) -> Cleaned:
    """Remove the remote folders of the explorations of a campaign that have ended.

    What was retrieved stays; so does the folder of an exploration that still runs, and of another campaign's job that
    this one took from the cache.

    Parameters
    ----------
    campaign
        The campaign.
    force
        Whether folders go that hold the only copy of a full trajectory.
    """
    unique = {} if force else {one.job: one for one in find_full_trajectories(campaign) if not one.is_stashed}
    kept = []
    folders = defaultdict(list)
    for job in find_jobs(campaign, {'attributes.process_state': {'in': list(ENDED)}}):
        try:
            remote = job.outputs.remote_folder
        except (AttributeError, NotExistent):
            continue
        if remote.is_cleaned or job.base.caching.is_created_from_cache:
            continue
        if job.pk in unique:
            kept.append(unique[job.pk])
        else:
            folders[remote.computer.pk].append(remote)
    for pk, remotes in folders.items():
        with orm.load_computer(pk).get_transport() as transport:
            for remote in remotes:
                clean_folder(remote, transport)
    return Cleaned(sum(len(remotes) for remotes in folders.values()), tuple(kept))
