"""The legs of a finished exploration that a longer or repeated exploration continues."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from aiida import orm
from aiida.common import LinkType
from aiida.common.hashing import make_hash

from aiida_mlip_autopipe.aiida_internals import is_marked_invalid
from aiida_mlip_autopipe.calculations.explore import ExplorationCalculation
from aiida_mlip_autopipe.calculations.remote.recover import LEG_JOBS
from aiida_mlip_autopipe.data.seed import SeedData
from aiida_mlip_autopipe.exploration import read_exploration
from aiida_mlip_autopipe.exploration.dynamics.schedule import Schedule
from aiida_mlip_autopipe.exploration.settings.job_settings import join_settings

# Inputs in which a run and its continuation may differ. Of the settings, only the phases may differ. The folder of a
# killed job is an input of the job that recovered its files.
MAY_DIFFER = {'exploration', 'n_steps', 'checkpoint', 'recoveries', 'parent_folder'}


@dataclass(frozen=True)
class EarlierLegs:
    """The legs to continue.

    Attributes
    ----------
    exploration
        The pk of their finished exploration.
    jobs
        The job of each leg.
    step
        The last step of these legs.
    checkpoint
        The state at that step.
    recoveries
        The number of recoveries until that step; None if there was none.
    """

    exploration: int
    jobs: list[orm.CalcJobNode]
    step: int
    checkpoint: orm.SinglefileData
    recoveries: orm.Int | None


@dataclass(frozen=True)
class Search:
    """The legs that a search found, and the shorter explorations that were excluded only by their schedules."""

    legs: EarlierLegs | None
    of_other_schedules: list[int]


@dataclass(frozen=True)
class _Finished:
    """A finished exploration that is the beginning of another one, or equal to it.

    Attributes
    ----------
    exploration
        Its pk.
    jobs
        The job of each leg.
    is_shorter
        Whether it has fewer steps than the other one.
    """

    exploration: int
    jobs: list[orm.CalcJobNode]
    is_shorter: bool


def find_earlier_legs(inputs: Mapping[str, Any]) -> Search:
    """Find the longest finished exploration with equal inputs that is the beginning of the new one, or equal to it.

    If it has fewer steps, all its legs are reused. If it has the same number of steps, all but the last leg are reused,
    and the job that starts at the same step comes from AiiDA's cache.

    Parameters
    ----------
    inputs
        The inputs of the first job of the new exploration.
    """
    found, different = _find_finished(inputs)
    return Search(None, different) if found is None else Search(_legs_to_continue(found), [])


def _find_finished(inputs: Mapping[str, Any]) -> tuple[_Finished | None, list[int]]:
    """Return the longest finished exploration that the new one repeats or continues; None if there is none.

    The pks of the shorter explorations that were excluded only by their schedules are returned, too.

    Parameters
    ----------
    inputs
        The inputs of the first job of the new exploration.
    """
    n_steps = inputs['n_steps'].value
    others, settings = hash_inputs(inputs, MAY_DIFFER), inputs['exploration'].get_dict()
    different = []
    for exploration, job in _finished_jobs(inputs['seed'].seed_id, n_steps):
        found, earlier = job.inputs.n_steps.value, job.inputs.exploration.get_dict()
        if _without_phases(earlier) != _without_phases(settings):
            continue
        if hash_inputs(linked_inputs(job), MAY_DIFFER) != others:
            continue
        if not _schedule(settings, n_steps).continues(_schedule(earlier, found)):
            if found < n_steps:
                different.append(exploration)
            continue
        jobs = _legs_until(job)
        if jobs is None or any(is_marked_invalid(one) for one in jobs):
            continue
        if found < n_steps and 'checkpoint' not in job.outputs:
            continue
        return _Finished(exploration, jobs, found < n_steps), []
    return None, different


def _legs_to_continue(found: _Finished) -> EarlierLegs | None:
    exploration, jobs, last = found.exploration, found.jobs, found.jobs[-1]
    recoveries = last.inputs.recoveries if 'recoveries' in last.inputs else None
    if found.is_shorter:
        return EarlierLegs(exploration, jobs, last.inputs.n_steps.value, last.outputs.checkpoint, recoveries)
    if len(jobs) == 1:
        return None
    return EarlierLegs(exploration, jobs[:-1], last.outputs.result['first_step'], last.inputs.checkpoint, recoveries)


def _finished_jobs(seed_id: str, n_steps: int) -> Iterator[tuple[int, orm.CalcJobNode]]:
    """Yield the finished explorations of a seed with their last jobs.

    The longest come first and, among equally long ones, the oldest.
    """
    finished_ok = {'attributes.process_state': 'finished', 'attributes.exit_status': 0}
    query = orm.QueryBuilder().append(SeedData, filters={'attributes.seed_id': seed_id}, tag='seed')
    query.append(LEG_JOBS, with_incoming='seed', filters=finished_ok, project='*', tag='job')
    query.append(
        orm.Int,
        with_outgoing='job',
        edge_filters={'label': 'n_steps'},
        filters={'attributes.value': {'<=': n_steps}},
        project='attributes.value',
    )
    query.append(orm.WorkChainNode, with_outgoing='job', filters=finished_ok, project='id')
    found = [(steps, exploration, job) for job, steps, exploration in query.all()]
    for _, exploration, job in sorted(found, key=lambda row: (-row[0], row[2].pk)):
        yield exploration, job


def _legs_until(job: orm.CalcJobNode) -> list[orm.CalcJobNode] | None:
    """Return the jobs that a job continues, in order, and the job itself; None if one of them is unknown."""
    jobs = [job]
    while 'checkpoint' in jobs[0].inputs:
        creator = jobs[0].inputs.checkpoint.creator
        if creator is None or not issubclass(creator.process_class, ExplorationCalculation):
            return None
        jobs.insert(0, creator)
    return jobs


def linked_inputs(job: orm.CalcJobNode) -> dict[str, orm.Node]:
    """Return the inputs of a job, by the labels of their links."""
    return {link.link_label: link.node for link in job.base.links.get_incoming(link_type=LinkType.INPUT_CALC).all()}


def hash_inputs(inputs: Mapping[str, Any], omitted: Collection[str]) -> dict[str, str | None]:
    """Return the hashes of the inputs of a job, by the labels of their links; only nodes have hashes.

    Parameters
    ----------
    inputs
        The inputs.
    omitted
        The inputs to leave out.
    """
    return {
        name: make_hash(node.base.caching.get_objects_to_hash())  # unlike `compute_hash`, also before a node is stored
        for name, node in _flatten(inputs)
        if isinstance(node, orm.Node) and name not in omitted
    }


def _flatten(inputs: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the inputs and those in namespaces, each with the label of its link."""
    for name, value in inputs.items():
        if isinstance(value, Mapping):
            yield from ((f'{name}__{inner}', one) for inner, one in _flatten(value))
        else:
            yield name, value


def _without_phases(settings: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in settings.items() if name != 'phases'}


def _schedule(settings: dict[str, Any], n_steps: int) -> Schedule:
    return Schedule(read_exploration(join_settings(settings, n_steps)))
