from pathlib import Path

import pytest
from support.aiida_fixtures import *  # noqa: F403

from aiida_mlip_autopipe.config import validate_config

# Small cells that EMT explores in a second; two kinds of generation, one of them with files.
CAMPAIGN = {
    'name': 'tiny',
    'random_seed': 7,
    'generation': [
        {
            'kind': 'alloy',
            'lattice': 'fcc',
            'composition': {'Cu': 0.75, 'Au': 0.25},
            'supercell': [2, 2, 2],
            'n_seeds': 2,
            'validation': {'min_height_factor': 0.5},
        },
        {'kind': 'structures', 'files': ['al.xyz'], 'perturb': {'rattle_A': 0.05}},
    ],
    'calculator': {'kind': 'emt'},
    'exploration': {'temperature_K': 500, 'n_steps': 20, 'frame_interval': 2},
    'sampling': {'kind': 'fps', 'n_structures': 10},
}


@pytest.fixture(scope='session')
def campaign_folder(tmp_path_factory) -> Path:
    from ase.build import bulk

    folder = tmp_path_factory.mktemp('campaign')
    bulk('Al', cubic=True).repeat((2, 2, 1)).write(folder / 'al.xyz')
    return folder


@pytest.fixture(scope='session')
def campaign_config(campaign_folder):
    """Return a function that makes a config: the tiny campaign with some sections changed."""

    def make(reuse=False, **sections):
        data = {**CAMPAIGN, 'execution': {'reuse_finished': reuse}}
        for name, value in sections.items():
            same_kind = isinstance(value, dict) and value.get('kind') in (None, data[name].get('kind'))
            data[name] = {**data[name], **value} if same_kind else value
        return validate_config(data, campaign_folder)

    return make


@pytest.fixture(scope='session')
def run_campaign(emt_code, campaign_config):
    """Return a function that runs a campaign in this process and returns its node."""
    from aiida.engine import run_get_node

    from aiida_mlip_autopipe.workflows.submission import build_campaign

    def run(prepare=None, **sections):
        builder = build_campaign(campaign_config(**sections))
        if prepare:
            prepare(builder)
        return run_get_node(builder)[1]

    return run


@pytest.fixture(scope='session')
def tiny_campaign(run_campaign):
    """The tiny campaign, ended: for tests that only read it."""
    return run_campaign()
