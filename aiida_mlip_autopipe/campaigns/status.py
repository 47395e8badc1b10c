"""The status of one campaign."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from aiida import orm

from aiida_mlip_autopipe.campaigns.progress import Progress, read_progress
from aiida_mlip_autopipe.workflows.graph import find_rounds, why_ended
from aiida_mlip_autopipe.workflows.legs.explorations import find_explorations

if TYPE_CHECKING:
    from aiida_mlip_autopipe.campaigns.full_trajectories import FoundTrajectory


@dataclass(frozen=True)
class FailedExploration:
    """An exploration that ended before its last step.

    Attributes
    ----------
    pk
        The exploration.
    seed_id
        The seed that it started from.
    exit_status
        Its exit code; None if it was killed or ended with an exception.
    reason
        Why it ended.
    """

    pk: int
    seed_id: str
    exit_status: int | None
    reason: str


@dataclass(frozen=True)
class FullTrajectories:
    """Where the full trajectories of a campaign are.

    Attributes
    ----------
    n_stashed, n_removed, n_in_job_folder
        How many have a copy, were removed without a copy, or are only in the folder of their job.
    not_stashed
        Those that could not be copied.
    """

    n_stashed: int
    n_removed: int
    n_in_job_folder: int
    not_stashed: tuple[FoundTrajectory, ...]


@dataclass(frozen=True)
class Status:
    """The progress and the failures of a campaign.

    Attributes
    ----------
    progress
        The progress.
    failed_explorations
        The explorations that ended before their last step.
    full_trajectories
        Where the full trajectories are; None if the campaign does not keep them.
    """

    progress: Progress
    failed_explorations: tuple[FailedExploration, ...]
    full_trajectories: FullTrajectories | None


def read_status(campaign: orm.WorkChainNode) -> Status:
    """Return the progress and the failures of a campaign; of a campaign with rounds, the failures of the last round."""
    explorations = find_explorations(next(reversed(find_rounds(campaign)), campaign))
    failed = [one for one in explorations if one.ended and not one.succeeded]
    reasons = why_ended([one.pk for one in failed])
    return Status(
        progress=read_progress(campaign, explorations),
        failed_explorations=tuple(
            FailedExploration(one.pk, one.seed_id, one.exit_status, reasons[one.pk]) for one in failed
        ),
        full_trajectories=_full_trajectories(campaign) if _keeps_full_trajectories(campaign) else None,
    )


def _keeps_full_trajectories(campaign: orm.WorkChainNode) -> bool:
    """Return whether the jobs of a campaign write full trajectories."""
    return bool(campaign.base.links.get_incoming(link_label_filter='job__full_trajectory_interval').all_link_pairs())


def _full_trajectories(campaign: orm.WorkChainNode) -> FullTrajectories:
    # It takes a second to import the calculations, and most campaigns keep no full trajectories.
    from aiida_mlip_autopipe.campaigns.full_trajectories import find_full_trajectories

    found = find_full_trajectories(campaign)
    n_stashed, n_removed = sum(one.is_stashed for one in found), sum(one.is_removed for one in found)
    return FullTrajectories(
        n_stashed=n_stashed,
        n_removed=n_removed,
        n_in_job_folder=len(found) - n_stashed - n_removed,
        not_stashed=tuple(one for one in found if one.stash_error),
    )
