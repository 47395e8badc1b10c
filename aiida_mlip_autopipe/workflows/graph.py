"""Campaigns and their jobs in AiiDA's graph."""

from __future__ import annotations

from typing import Any

from aiida import orm

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError

CAMPAIGN = 'aiida.workflows:mlip_autopipe.dataset'
"""The process type of a campaign."""
LABELLING = 'aiida.workflows:mlip_autopipe.labelling'
"""The process type of a labelling run. It may be part of a campaign, or run without one."""
LABELLING_COUNTS = 'mlip_autopipe_labelling'
"""Key of the extra of a labelling run with its number of structures and of known labels."""
STOP_REQUESTED = 'mlip_autopipe_stop_asked'


def load_campaign(identifier: str) -> orm.WorkChainNode:
    """Return a campaign by its pk, its uuid (or the beginning of it) or its name; the newest if several match.

    A labelling run that belongs to no campaign counts as one.

    Raises
    ------
    AutopipeError
        If the campaign does not exist.
    """
    query = orm.QueryBuilder().append(
        orm.WorkChainNode, filters={'process_type': {'in': [CAMPAIGN, LABELLING]}, 'label': identifier}, tag='campaign'
    )
    query.order_by({'campaign': {'id': 'desc'}})
    if found := query.first(flat=True):
        return found
    try:
        node = orm.load_node(identifier)
    except Exception as error:  # missing, ambiguous or malformed identifiers are the same to the user
        message = f"no campaign matches {identifier!r}; 'mlip-autopipe status' lists all campaigns"
        raise AutopipeError(Code.CAMPAIGN_MISSING, message) from error
    if node.process_type != CAMPAIGN and not is_labelling_run(node):
        message = f"{identifier!r} is not a campaign; 'mlip-autopipe status' lists all campaigns"
        raise AutopipeError(Code.CAMPAIGN_MISSING, message)
    return node


def is_labelling_run(node: orm.Node) -> bool:
    """Return whether a node is a labelling run that belongs to no campaign."""
    return node.process_type == LABELLING and node.caller is None


def list_campaigns() -> list[orm.WorkChainNode]:
    """Return all campaigns of the profile, newest first, including labelling runs that belong to none."""
    query = orm.QueryBuilder().append(
        orm.WorkChainNode, filters={'process_type': {'in': [CAMPAIGN, LABELLING]}}, tag='campaign'
    )
    found: list[orm.WorkChainNode] = query.order_by({'campaign': {'id': 'desc'}}).all(flat=True)
    return [node for node in found if node.process_type == CAMPAIGN or is_labelling_run(node)]


def is_stop_requested(pk: int | None) -> bool:
    """Return whether a user has asked a campaign to stop. Another process writes this to the database."""
    query = orm.QueryBuilder().append(orm.WorkChainNode, filters={'id': pk}, project=f'extras.{STOP_REQUESTED}')
    return bool(query.first(flat=True))


def find_jobs(campaign: orm.WorkChainNode, state: dict[str, Any]) -> list[orm.CalcJobNode]:
    """Return the jobs of a campaign.

    Parameters
    ----------
    campaign
        The campaign.
    state
        An AiiDA filter for the jobs and for their work chains.
    """
    query = orm.QueryBuilder()
    query.append(orm.WorkChainNode, filters={'id': {'in': find_work_chains(campaign, state)}}, tag='chain')
    jobs: list[orm.CalcJobNode] = query.append(orm.CalcJobNode, with_incoming='chain', filters=state).all(flat=True)
    return jobs


def find_work_chains(campaign: orm.WorkChainNode, state: dict[str, Any] | None = None) -> list[int]:
    """Return the pks of a campaign and of all work chains below it.

    Parameters
    ----------
    campaign
        The campaign.
    state
        An AiiDA filter for the work chains below it; by default, all are returned.
    """
    found, level = [campaign.pk], [campaign.pk]
    while level:
        query = orm.QueryBuilder().append(orm.WorkChainNode, filters={'id': {'in': level}}, tag='chain')
        level = query.append(orm.WorkChainNode, with_incoming='chain', filters=state or {}, project='id').all(flat=True)
        found += level
    return found
