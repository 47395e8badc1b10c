"""The steps that a campaign reused from earlier ones."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from aiida import orm

from aiida_mlip_autopipe.campaigns.history.processes import ProcessRecord


@dataclass(frozen=True)
class ReusedSteps:
    """Steps that earlier jobs computed.

    Attributes
    ----------
    n_seeds
        Number of seeds whose exploration reuses steps.
    n_steps
        Number of these steps.
    """

    n_seeds: int
    n_steps: int


def count_reused_steps(legs: Iterable[tuple[int, int]], processes: Iterable[ProcessRecord]) -> ReusedSteps:
    """Count the steps of the legs that a campaign did not compute.

    Parameters
    ----------
    legs
        The pks of the exploration and of the job of each leg.
    processes
        The processes of the campaign.
    """
    computed = {
        one.pk for one in processes if one.is_job and one.cached_from is None and one.process != 'RecoverCalculation'
    }
    reused = {job: exploration for exploration, job in legs if job not in computed}
    if not reused:
        return ReusedSteps(0, 0)
    query = orm.QueryBuilder().append(orm.CalcJobNode, filters={'id': {'in': list(reused)}}, tag='job')
    steps = ['attributes.first_step', 'attributes.last_step']
    query.append(orm.Dict, with_incoming='job', edge_filters={'label': 'result'}, project=steps)
    return ReusedSteps(len(set(reused.values())), sum(last - first for first, last in query.all()))
