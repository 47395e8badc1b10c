"""Campaigns and their jobs in AiiDA's graph."""

from __future__ import annotations

from typing import Any

from aiida import orm

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError

CAMPAIGN = 'aiida.workflows:mlip_autopipe.dataset'
"""The process type of a campaign."""
STOP_REQUESTED = 'mlip_autopipe_stop_asked'


def load_campaign(identifier: str) -> orm.WorkChainNode:
    """Return a campaign by its pk, its uuid (or the beginning of it) or its name; the newest if several match.

    Raises
    ------
    AutopipeError
        If the campaign does not exist.
    """
    query = orm.QueryBuilder().append(
        orm.WorkChainNode, filters={'process_type': CAMPAIGN, 'label': identifier}, tag='campaign'
    )
    query.order_by({'campaign': {'id': 'desc'}})
    if found := query.first(flat=True):
        return found
    try:
        node = orm.load_node(identifier)
    except Exception as error:  # missing, ambiguous or malformed identifiers are the same to the user
        message = f"no campaign matches {identifier!r}; 'mlip-autopipe status' lists all campaigns"
        raise AutopipeError(Code.CAMPAIGN_MISSING, message) from error
    if node.process_type != CAMPAIGN:
        message = f"{identifier!r} is not a campaign; 'mlip-autopipe status' lists all campaigns"
        raise AutopipeError(Code.CAMPAIGN_MISSING, message)
    return node


def list_campaigns() -> list[orm.WorkChainNode]:
    """Return all campaigns of the profile, newest first."""
    query = orm.QueryBuilder().append(orm.WorkChainNode, filters={'process_type': CAMPAIGN}, tag='campaign')
    campaigns: list[orm.WorkChainNode] = query.order_by({'campaign': {'id': 'desc'}}).all(flat=True)
    return campaigns


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
    own = orm.QueryBuilder().append(orm.WorkChainNode, filters={'id': campaign.pk}, tag='campaign')
    own.append(orm.CalcJobNode, with_incoming='campaign', filters=state)
    below = orm.QueryBuilder().append(orm.WorkChainNode, filters={'id': campaign.pk}, tag='campaign')
    below.append(orm.WorkChainNode, with_incoming='campaign', filters=state, tag='chain')
    below.append(orm.CalcJobNode, with_incoming='chain', filters=state)
    jobs: list[orm.CalcJobNode] = own.all(flat=True) + below.all(flat=True)
    return jobs
