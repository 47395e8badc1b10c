"""The jobs of a campaign: those of its work chains, and those that it submits itself."""

from __future__ import annotations

from typing import Any

from aiida import orm


def find_jobs(campaign: orm.WorkChainNode, state: dict[str, Any]) -> list[orm.CalcJobNode]:
    """Return the jobs of a campaign.

    Parameters
    ----------
    campaign
        The campaign.
    state
        A filter of AiiDA's for the jobs and for the work chains that they belong to.
    """
    own = orm.QueryBuilder().append(orm.WorkChainNode, filters={'id': campaign.pk}, tag='campaign')
    own.append(orm.CalcJobNode, with_incoming='campaign', filters=state)
    below = orm.QueryBuilder().append(orm.WorkChainNode, filters={'id': campaign.pk}, tag='campaign')
    below.append(orm.WorkChainNode, with_incoming='campaign', filters=state, tag='chain')
    below.append(orm.CalcJobNode, with_incoming='chain', filters=state)
    jobs: list[orm.CalcJobNode] = own.all(flat=True) + below.all(flat=True)
    return jobs
