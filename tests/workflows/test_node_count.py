"""The number of nodes for each seed. A campaign has thousands of seeds."""

from __future__ import annotations

from collections import Counter

import pytest
from aiida import orm
from aiida.common.links import LinkType

pytestmark = pytest.mark.integration

# The nodes of each seed with one leg: seed, work chain, job, and the outputs of the job.
OF_A_SEED = [
    'SeedData',
    'ExplorationWorkChain',
    'ExplorationCalculation',
    'RemoteData',
    'FolderData',
    'Dict result',
    'TrajectoryData',
    'SinglefileData checkpoint',
]
INPUT, OUTPUT = (LinkType.INPUT_CALC, LinkType.INPUT_WORK), (LinkType.CREATE, LinkType.RETURN)


def nodes_of_explorations(campaign) -> list[orm.Node]:
    """Return the explorations, their jobs, and all their inputs and outputs, without duplicates."""
    explorations = [node for node in campaign.called if node.process_label == 'ExplorationWorkChain']
    found = {}
    for process in (*explorations, *(job for node in explorations for job in node.called)):
        links = process.base.links
        data = [*links.get_incoming(link_type=INPUT).all_nodes(), *links.get_outgoing(link_type=OUTPUT).all_nodes()]
        found |= {node.pk: node for node in (process, *data)}
    return list(found.values())


def name(node: orm.Node) -> str:
    if isinstance(node, orm.ProcessNode):
        return str(node.process_label)
    label = type(node).__name__
    if isinstance(node, orm.Dict | orm.SinglefileData) and node.creator is not None:
        (link,) = node.base.links.get_incoming(link_type=LinkType.CREATE).all()
        label += f' {link.link_label}'
    return label


def test_a_seed_with_one_leg_has_eight_nodes_and_all_explorations_share_the_others(tiny_campaign):
    nodes = nodes_of_explorations(tiny_campaign)
    of_seeds = Counter(name(node) for node in nodes if name(node) in OF_A_SEED)
    assert of_seeds == dict.fromkeys(OF_A_SEED, 3)

    shared = {node.pk for node in nodes if name(node) not in OF_A_SEED}
    for exploration in tiny_campaign.called:
        if exploration.process_label == 'ExplorationWorkChain':
            inputs = exploration.base.links.get_incoming(link_type=INPUT).all_nodes()
            assert shared == {node.pk for node in inputs if name(node) != 'SeedData'}
