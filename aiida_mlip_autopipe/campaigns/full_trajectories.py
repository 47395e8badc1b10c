"""Locate the full trajectories of a campaign: in the folders of their jobs, or where they were stashed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from aiida import orm

from aiida_mlip_autopipe.calculations.remote.recover import LEG_JOBS
from aiida_mlip_autopipe.calculations.stash import StashCalculation
from aiida_mlip_autopipe.jobs.contract import FullTrajectory
from aiida_mlip_autopipe.workflows.exploration import ExplorationWorkChain
from aiida_mlip_autopipe.workflows.graph import find_parts
from aiida_mlip_autopipe.workflows.legs.killed import folder_of


@dataclass(frozen=True)
class FoundTrajectory:
    """The full trajectory of a leg, and where it is.

    Attributes
    ----------
    job
        The pk of the job that wrote it.
    seed_id
        The seed that was explored.
    record
        The record of the file in the result of the job.
    computer
        Label of the computer.
    path
        Path on that computer: of the copy if one exists, otherwise of the original.
    is_stashed
        Whether a copy exists.
    is_removed
        Whether the file was removed with the folder of its job and has no copy.
    stash_error
        Why the last attempt to copy it failed; empty if it did not fail.
    """

    job: int
    seed_id: str
    record: FullTrajectory
    computer: str
    path: str
    is_stashed: bool
    is_removed: bool
    stash_error: str = ''

    @property
    def state(self) -> str:
        """The location of the file, as text for the user."""
        return 'stashed' if self.is_stashed else 'removed' if self.is_removed else "in the job's folder"


def find_full_trajectories(
    campaign: orm.WorkChainNode, *, seed_id: str | None = None, step: int | None = None
) -> list[FoundTrajectory]:
    """Return the full trajectories of the explorations of a campaign, in the order of their jobs.

    Parameters
    ----------
    campaign
        The campaign.
    seed_id
        Return only those of this seed. A prefix ``seed-``, as in datasets, or ``seed_``, as in folders, is ignored.
    step
        Return only those that contain this absolute step.
    """
    found = _find_all(campaign)
    if seed_id is not None:
        bare_id = seed_id.removeprefix('seed_').removeprefix('seed-')
        found = [one for one in found if one.seed_id == bare_id]
    if step is not None:
        found = [
            trajectory for trajectory in found if trajectory.record.first_step <= step <= trajectory.record.last_step
        ]
    return found


def _find_all(campaign: orm.WorkChainNode) -> list[FoundTrajectory]:
    jobs = _find_jobs(campaign)
    if not jobs:
        return []
    query = orm.QueryBuilder().append(LEG_JOBS, filters={'id': {'in': jobs}}, tag='job', project='id')
    query.append(orm.Dict, with_incoming='job', edge_filters={'label': 'result'}, project='attributes')
    query.append(
        orm.RemoteData, with_incoming='job', edge_filters={'label': 'remote_folder'}, tag='folder', project='*'
    )
    query.append(orm.Computer, with_node='folder', project='label')
    found = [
        (pk, result, folder_of(orm.load_node(pk)), computer)
        for pk, result, _, computer in query.order_by({'job': {'id': 'asc'}}).all()
        if result.get('full_trajectory')
    ]
    copies = _find_copies(folder for _, _, folder, _ in found)
    return [
        _locate(pk, result, folder, computer, copies.get((folder.computer.pk, folder.get_remote_path()), []))
        for pk, result, folder, computer in found
    ]


def _find_jobs(campaign: orm.WorkChainNode) -> list[int]:
    """Return the pks of the jobs of all legs, including legs that were taken from an earlier exploration."""
    parts = [part.pk for part in find_parts(campaign)]
    if not parts:  # AiiDA refuses a filter with an empty list
        return []

    def explorations() -> orm.QueryBuilder:
        query = orm.QueryBuilder().append(orm.WorkChainNode, filters={'id': {'in': parts}}, tag='campaign')
        return query.append(ExplorationWorkChain, with_incoming='campaign', tag='exploration')

    called = explorations().append(LEG_JOBS, with_incoming='exploration', project='id')
    reused = explorations().append(orm.TrajectoryData, with_incoming='exploration', tag='leg')
    reused.append(LEG_JOBS, with_outgoing='leg', project='id')
    return sorted({*called.all(flat=True), *reused.all(flat=True)})


def _locate(
    pk: int, result: dict[str, Any], folder: orm.RemoteData, computer: str, copies: list[orm.CalcJobNode]
) -> FoundTrajectory:
    record = FullTrajectory(**result['full_trajectory'])
    complete = [copy for copy in copies if copy.is_finished_ok]
    where = complete[-1].outputs.stashed.target_basepath if complete else folder.get_remote_path()
    ended = [copy for copy in copies if copy.is_terminated]
    stash_error = '' if complete or not ended else ended[-1].exit_message or str(ended[-1].process_state.value)
    return FoundTrajectory(
        job=pk,
        seed_id=result['seed_id'],
        record=record,
        computer=computer,
        path=str(PurePosixPath(where, record.file)),
        is_stashed=bool(complete),
        is_removed=folder.is_cleaned and not complete,
        stash_error=stash_error,
    )


def _find_copies(folders: Iterable[orm.RemoteData]) -> dict[tuple[int, str], list[orm.CalcJobNode]]:
    """Return the copy jobs by computer and source path. A cached leg has the path of the original job."""
    paths = sorted({folder.get_remote_path() for folder in folders})
    if not paths:
        return {}
    query = orm.QueryBuilder()
    query.append(orm.RemoteData, filters={'attributes.remote_path': {'in': paths}}, tag='folder', project='*')
    query.append(StashCalculation, with_incoming='folder', project='*', tag='copy')
    copies: dict[tuple[int, str], list[orm.CalcJobNode]] = {}
    for folder, copy in query.order_by({'copy': {'id': 'asc'}}).iterall():
        copies.setdefault((folder.computer.pk, folder.get_remote_path()), []).append(copy)
    return copies
