"""Campaigns with dynamics, relaxations and single points."""

import numpy as np
import pytest
from aiida import orm

from aiida_mlip_autopipe.calculations.explore import read_settings
from aiida_mlip_autopipe.campaigns.export import write_dataset
from aiida_mlip_autopipe.storage import Dataset

pytestmark = pytest.mark.integration

ALLOY = {'kind': 'alloy', 'composition': {'Cu': 0.5, 'Au': 0.5}, 'n_atoms': 8, 'validation': {'min_width_factor': 0.4}}
ENTRIES = [
    ALLOY | {'n_seeds': 1, 'label': 'hot'},
    ALLOY | {'n_seeds': 2, 'label': 'single', 'exploration': {'kind': 'single_point'}},
    ALLOY | {'n_seeds': 1, 'label': 'relaxed', 'exploration': {'kind': 'relax', 'n_steps': 10, 'frame_interval': 5}},
]
DYNAMICS = {'temperature_K': 900, 'n_steps': 10, 'frame_interval': 5}


def explorations(campaign):
    """Return the explorations of a campaign by the label of their entry."""
    found = {}
    for node in campaign.called:
        if node.process_label == 'ExplorationWorkChain':
            found.setdefault(node.inputs.job.seed.to_seed().record['label'], []).append(node)
    return found


@pytest.fixture(scope='module')
def campaign(run_campaign):
    node = run_campaign(generation=ENTRIES, exploration=DYNAMICS, sampling={'n_structures': 20}, reuse=True)
    assert node.is_finished_ok, node.exit_message
    return node


def test_each_entry_is_explored_by_its_own_settings(campaign):
    found = explorations(campaign)
    assert {label: len(nodes) for label, nodes in found.items()} == {'hot': 1, 'single': 2, 'relaxed': 1}
    results = {label: nodes[0].outputs.result for label, nodes in found.items()}
    ensembles = {label: result['ensemble'] for label, result in results.items()}
    assert ensembles == {'hot': 'npt', 'single': 'single_point', 'relaxed': 'relax_cell'}
    steps = {label: list(node.outputs.legs.leg_01.get_array('steps')) for label, (node, *_) in found.items()}
    assert steps == {'hot': [5, 10], 'single': [0], 'relaxed': [0, 5, 10]}
    assert read_settings(found['hot'][0].inputs.job).temperature_K == 900
    assert read_settings(found['relaxed'][0].inputs.job).n_steps == 10


def test_seeds_of_an_entry_share_the_nodes_of_its_settings(campaign):
    first, second = explorations(campaign)['single']
    assert first.inputs.job.exploration.pk == second.inputs.job.exploration.pk
    assert first.inputs.job.n_steps.pk == second.inputs.job.n_steps.pk


def test_rows_of_single_points_are_the_seeds(campaign, tmp_path):
    write_dataset(campaign, tmp_path / 'static.db')
    with Dataset(tmp_path / 'static.db') as dataset:
        rows = [row for row in dataset.query() if row.data['seed']['label'] == 'single']
    assert len(rows) == 2
    for row in rows:
        seed = orm.load_node(row.provenance.exploration).inputs.seed.to_seed().atoms
        assert np.array_equal(row.atoms.positions, seed.positions)
        assert (row.provenance.step, row.provenance.ensemble) == (0, 'single_point')


def test_a_changed_exploration_of_one_entry_repeats_only_its_jobs(campaign, run_campaign):
    entries = [*ENTRIES[:2], ENTRIES[2] | {'exploration': {'kind': 'relax', 'n_steps': 10, 'pressure_GPa': 1}}]
    second = run_campaign(generation=entries, exploration=DYNAMICS, sampling={'n_structures': 20}, reuse=True)
    assert second.is_finished_ok, second.exit_message
    assert all(
        node.base.caching.is_created_from_cache for node in second.called if node.process_label == 'generate_seeds'
    )
    cached = {
        label: all(job.base.caching.is_created_from_cache for node in nodes for job in node.called)
        for label, nodes in explorations(second).items()
    }
    assert cached == {'hot': True, 'single': True, 'relaxed': False}
