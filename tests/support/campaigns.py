from pathlib import Path

import pytest
from support.aiida_fixtures import *  # noqa: F403
from support.tiny_campaign import change_campaign, write_structures


@pytest.fixture(scope='session')
def campaign_folder(tmp_path_factory) -> Path:
    return write_structures(tmp_path_factory.mktemp('campaign'))


@pytest.fixture(scope='session')
def campaign_config(campaign_folder):
    """Return a function that makes the config of the tiny campaign, with some sections changed."""

    def make(reuse=False, **sections):
        return change_campaign(campaign_folder, {'execution': {'reuse_finished': reuse}, **sections})

    return make


@pytest.fixture(scope='session')
def run_campaign(emt_code_uuid, campaign_config):
    """Return a function that runs a campaign in this process and returns its node."""
    from aiida.engine import run_get_node

    from aiida_mlip_autopipe.workflows.dataset import DatasetWorkChain

    def run(prepare=None, **sections):
        builder = DatasetWorkChain.get_builder_from_config(campaign_config(**sections))
        if prepare:
            prepare(builder)
        return run_get_node(builder)[1]

    return run


@pytest.fixture(scope='session')
def tiny_campaign_uuid(run_campaign) -> str:
    return run_campaign().uuid


@pytest.fixture(scope='module')
def tiny_campaign(tiny_campaign_uuid):
    """Return the finished tiny campaign, for tests that only read it."""
    from aiida import orm

    # Tests that open an archive close the storage of all loaded nodes, so each module loads the campaign again.
    return orm.load_node(tiny_campaign_uuid)
