import pytest
from aiida import orm
from aiida.common import LinkType
from aiida.engine import ProcessState
from aiida.engine.utils import instantiate_process
from aiida.manage import get_manager

from aiida_mlip_autopipe.calculations.explore import ExplorationCalculation
from aiida_mlip_autopipe.workflows.dataset import DatasetWorkChain

pytestmark = pytest.mark.integration

LABEL = 'explore_seed_a'


@pytest.fixture
def campaign(emt_code, campaign_config):
    """The process of a campaign before its first step."""
    return instantiate_process(
        get_manager().create_runner(communicator=None), DatasetWorkChain.get_builder_from_config(campaign_config())
    )


def add_child(campaign, state):
    child = orm.CalcJobNode(process_type=ExplorationCalculation.build_process_type())
    child.set_process_state(state)
    child.base.links.add_incoming(campaign.node, LinkType.CALL_CALC, LABEL)
    return child.store()


@pytest.mark.chaos
def test_a_child_that_an_interrupted_step_has_submitted_is_found(campaign):
    child = add_child(campaign, ProcessState.WAITING)
    found = campaign.submit(ExplorationCalculation, metadata={'call_link_label': LABEL})
    assert found.pk == child.pk


def test_a_child_with_another_label_is_not_found(campaign):
    add_child(campaign, ProcessState.WAITING)
    assert campaign._find_child('explore_seed_b') is None


def test_a_child_without_a_checkpoint_is_submitted_again(campaign):
    """Its node was stored, but no worker can run it without a checkpoint."""
    add_child(campaign, ProcessState.CREATED)
    assert campaign._find_child(LABEL) is None
