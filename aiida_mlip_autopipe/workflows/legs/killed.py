"""Jobs that were killed or excepted, and left files in their folders from which a leg can be recovered."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from aiida import orm
from aiida.engine import ProcessState

from aiida_mlip_autopipe.calculations.explore import ExplorationCalculation
from aiida_mlip_autopipe.calculations.remote.recover import RecoverCalculation
from aiida_mlip_autopipe.data.seed import SeedData
from aiida_mlip_autopipe.jobs.contract import has_progressed
from aiida_mlip_autopipe.workflows.graph import find_work_chains, resumed_campaigns
from aiida_mlip_autopipe.workflows.legs.earlier import hash_inputs, linked_inputs

ABORTED = (ProcessState.KILLED.value, ProcessState.EXCEPTED.value)
_CODES = RecoverCalculation.exit_codes
# The exit statuses of a job whose leg is complete or can be continued.
_LEGS = {
    0,
    _CODES.ERROR_OUT_OF_WALLTIME.status,
    _CODES.ERROR_KILLED.status,
    _CODES.ERROR_UNSTABLE.status,
}
# The resources of a job that is not submitted to a scheduler.
_OPTIONS = {'resources': {'num_machines': 1, 'num_mpiprocs_per_machine': 1}}


def find_killed_job(inputs: Mapping[str, Any], resumes: str | None, tried: Collection[int]) -> orm.CalcJobNode | None:
    """Return the newest killed job with the same inputs whose files may be used; None if there is none.

    A job is only considered if it belongs to a campaign that is being resumed, because `resume` makes sure that no
    process still writes to its folder, or if its files were recovered before. If a finished job has the same inputs, it
    is taken from AiiDA's cache instead.

    Parameters
    ----------
    inputs
        The inputs of the next job of an exploration.
    resumes
        The uuid of the campaign that is being resumed; None if there is none.
    tried
        The pks of jobs that are not returned.
    """
    expected: dict[str, str | None] = {}
    chains: set[int] | None = None
    for job, chain in _jobs_of(inputs['seed'].seed_id, {'attributes.process_state': {'in': list(ABORTED)}}):
        if job.pk in tried or 'remote_folder' not in job.outputs:
            continue
        expected = expected or hash_inputs(inputs, ())
        if hash_inputs(linked_inputs(job), ()) != expected:
            continue
        if chains is None:
            resumed = [] if resumes is None else resumed_campaigns(resumes)
            chains = {pk for campaign in resumed for pk in find_work_chains(campaign)}
        if chain not in chains and not _was_recovered(job):
            continue
        return None if _has_finished_job(inputs['seed'].seed_id, expected) else job
    return None


def folder_inputs(inputs: Mapping[str, Any], job: orm.CalcJobNode, link_label: str) -> dict[str, Any]:
    """Return the inputs of the job that recovers the files of a killed job: its inputs and its folder.

    Parameters
    ----------
    inputs
        The inputs of the killed job.
    job
        The killed job.
    link_label
        Label of the link to the new job.
    """
    metadata = {'options': dict(_OPTIONS), 'call_link_label': link_label}
    return {**inputs, 'parent_folder': job.outputs.remote_folder, 'metadata': metadata}


def is_leg(recovered: orm.CalcJobNode) -> bool:
    """Return whether a recovery gave a complete leg, or one that can be continued."""
    if recovered.exit_status not in _LEGS or 'result' not in recovered.outputs:
        return False
    return has_progressed(recovered.outputs.result.get_dict())


def folder_of(job: orm.CalcJobNode) -> orm.RemoteData:
    """Return the folder with the files of a leg: that of its job, or that of the killed job it was recovered from."""
    folder = job.inputs.parent_folder if job.process_class is RecoverCalculation else job.outputs.remote_folder
    assert isinstance(folder, orm.RemoteData)
    return folder


def why_not_recovered(recovery: orm.CalcJobNode) -> str:
    """Return why the files of a killed job could not be used."""
    folder = recovery.inputs.parent_folder
    reason = recovery.exit_message or 'it contains no completed step'
    return (
        f'nothing could be recovered from job {folder.creator.pk} '
        f'({folder.computer.label}:{folder.get_remote_path()}): {reason}; computing the leg again'
    )


def _jobs_of(seed_id: str, state: dict[str, Any]) -> list[tuple[orm.CalcJobNode, int]]:
    """Return the exploration jobs of a seed in a state, newest first, each with the pk of its exploration."""
    query = orm.QueryBuilder().append(SeedData, filters={'attributes.seed_id': seed_id}, tag='seed')
    query.append(ExplorationCalculation, with_incoming='seed', filters=state, project='*', tag='job', subclassing=False)
    query.append(orm.WorkChainNode, with_outgoing='job', project='id')
    return sorted(query.all(), key=lambda row: -row[0].pk)


def _has_finished_job(seed_id: str, expected: dict[str, str | None]) -> bool:
    finished = _jobs_of(seed_id, {'attributes.process_state': ProcessState.FINISHED.value})
    return any(
        job.base.caching.is_valid_cache and hash_inputs(linked_inputs(job), ()) == expected for job, _ in finished
    )


def _was_recovered(job: orm.CalcJobNode) -> bool:
    query = orm.QueryBuilder().append(orm.RemoteData, filters={'id': job.outputs.remote_folder.pk}, tag='folder')
    query.append(RecoverCalculation, with_incoming='folder', project='*')
    return any(is_leg(recovery) for recovery in query.all(flat=True))
