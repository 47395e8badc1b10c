"""Legs of killed jobs that could not be recovered from their folders."""

from __future__ import annotations

from aiida import orm

from aiida_mlip_autopipe.workflows.graph import EXPLORATION, RECOVERY


def describe_lost_legs(campaign: orm.WorkChainNode) -> list[str]:
    """Return why legs of killed jobs were computed again, instead of being recovered."""
    query = orm.QueryBuilder().append(orm.WorkChainNode, filters={'id': campaign.pk}, tag='campaign')
    query.append(orm.WorkChainNode, with_incoming='campaign', filters={'process_type': EXPLORATION}, tag='exploration')
    query.append(
        orm.CalcJobNode, with_incoming='exploration', filters={'process_type': RECOVERY}, project='*', tag='recovery'
    )
    recoveries = query.order_by({'recovery': {'id': 'asc'}}).all(flat=True)
    if not recoveries:
        return []
    # The work chains are imported only if they are needed.
    from aiida_mlip_autopipe.workflows.legs.killed import is_leg, why_not_recovered

    return [
        f'seed {one.inputs.seed.seed_id}: {why_not_recovered(one)}'
        for one in recoveries
        if one.is_terminated and not is_leg(one)
    ]
