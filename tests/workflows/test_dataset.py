import io

import ase.io
import numpy as np
import pytest
from aiida import orm
from ase.build import bulk
from support.environments import environment_of

from aiida_mlip_autopipe.campaigns.export import write_dataset
from aiida_mlip_autopipe.data.seed import SeedData
from aiida_mlip_autopipe.storage import Dataset
from aiida_mlip_autopipe.storage.merge import MergeResult, merge_datasets
from aiida_mlip_autopipe.training.split_dataset import split_dataset
from aiida_mlip_autopipe.workflows.dataset import DatasetWorkChain

pytestmark = pytest.mark.integration


def read_rows(campaign, folder):
    path = folder / f'{campaign.pk}.db'
    write_dataset(campaign, path)
    with Dataset(path) as dataset:
        return list(dataset.query())


def test_a_campaign_gives_the_requested_rows_with_labels_and_provenance(tiny_campaign, tmp_path):
    assert tiny_campaign.is_finished_ok, tiny_campaign.exit_message
    rows = read_rows(tiny_campaign, tmp_path)
    assert len(rows) == 10
    for rank, row in enumerate(rows):
        assert np.isfinite(row.atoms.get_potential_energy())
        assert row.atoms.get_forces().shape == (len(row.atoms), 3)
        assert row.atoms.get_stress().shape == (6,)
        assert row.provenance.rank == rank
        assert row.provenance.label_source == 'mlip:emt'
        assert row.provenance.campaign == 'tiny'
        assert (row.provenance.explored.ase_version, row.provenance.labelled.precision) == (ase.__version__, 'float64')
        assert (row.provenance.explored.numpy_version, row.provenance.explored.torch_version) == (np.__version__, None)
        assert row.provenance.labelled.environment == environment_of().identity
        assert row.data['isolated_atoms'] == {
            symbol: {'Al': 3.28, 'Cu': 3.51, 'Au': 3.80}[symbol] for symbol in row.atoms.symbols
        }
        # The graph leads back to the job, the seed, its generation, the campaign and the config.
        job = orm.load_node(row.provenance.exploration)
        seed = job.inputs.seed
        assert seed.seed_id == row.provenance.seed_id
        assert seed.creator.process_label == 'generate_seeds'
        assert seed.creator.caller.inputs.config['name'] == 'tiny'
        frame = list(job.outputs.trajectory.get_stepids()).index(row.provenance.step)
        np.testing.assert_array_equal(job.outputs.trajectory.get_positions()[frame], row.atoms.positions)
        assert (row.atoms.positions != seed.to_seed().atoms.positions).any()


def test_the_graph_shows_the_stages_in_order(tiny_campaign):
    called = [node.process_label for node in sorted(tiny_campaign.called, key=lambda node: node.pk)]
    assert called == ['generate_seeds', *['ExplorationWorkChain'] * 3, 'select_frames', 'export_dataset']


def add_a_seed_that_fails(builder):
    """Add a seed of tungsten, which EMT does not support, to the builder. The checks of a config would refuse it."""
    atoms = bulk('W', cubic=True) * (2, 2, 2)
    text = io.StringIO()
    ase.io.write(text, atoms, format='extxyz')
    file = orm.SinglefileData.from_string(text.getvalue(), filename='w.xyz')
    builder.files = {**builder.files, 'file_w': file}
    settings = builder.generation.get_dict()
    settings['entries'].append({'kind': 'structures', 'files': ['file_w']})
    builder.generation = orm.Dict(settings)
    builder.n_seeds = builder.n_seeds + 1


def test_a_seed_whose_exploration_fails_is_reported_and_is_not_fatal(run_campaign, tmp_path):
    campaign = run_campaign(add_a_seed_that_fails)
    assert campaign.is_finished_ok
    assert len(read_rows(campaign, tmp_path)) == 10
    failed = [
        node for node in campaign.called if node.process_label == 'ExplorationWorkChain' and not node.is_finished_ok
    ]
    assert len(failed) == 1
    log = orm.Log.collection.get_logs_for(campaign)
    assert any('W' in entry.message and 'seed_' in entry.message for entry in log)


def test_a_campaign_with_too_few_successes_fails(run_campaign):
    def prepare(builder):
        add_a_seed_that_fails(builder)
        builder.min_success_fraction = 0.9

    campaign = run_campaign(prepare)
    assert campaign.exit_status == DatasetWorkChain.exit_codes.ERROR_TOO_FEW_EXPLORATIONS.status
    assert '3 of 4' in campaign.exit_message


def test_a_campaign_whose_seeds_cannot_be_generated_fails_with_the_reason(run_campaign):
    def crush(builder):
        settings = builder.generation.get_dict()
        settings['entries'][0]['validation']['min_distance_factor'] = 1.4
        builder.generation = orm.Dict(settings)

    campaign = run_campaign(crush)
    assert campaign.exit_status == DatasetWorkChain.exit_codes.ERROR_GENERATION.status
    assert 'Å' in campaign.exit_message


def test_temperatures_are_distributed_over_the_seeds(run_campaign):
    entry = {'kind': 'alloy', 'composition': {'Cu': 0.5, 'Au': 0.5}, 'n_atoms': 16, 'n_seeds': 3,
             'validation': {'cell': 'as_given'}}  # fmt: skip
    campaign = run_campaign(generation=[entry], exploration={'temperature_K': [200, 400, 600]})
    explorations = [node for node in campaign.called if node.process_label == 'ExplorationWorkChain']
    assert len(explorations) == 3
    assert {node.inputs.job.exploration['temperature_K'] for node in explorations} == {200, 400, 600}


def test_each_seed_is_one_node_and_frames_are_not_nodes(tiny_campaign):
    query = orm.QueryBuilder().append(orm.WorkChainNode, filters={'id': tiny_campaign.pk}, tag='campaign')
    query.append(SeedData, with_incoming='campaign')
    assert query.count() == 3


def test_a_test_set_is_marked_and_an_extended_dataset_has_no_relatives_of_test_structures_in_training(
    run_campaign, campaign_folder, tmp_path
):
    files = [f'al_{a}.xyz' for a in ('390', '405', '420')]
    for file in files:
        (bulk('Al', a=int(file[3:6]) / 100, cubic=True) * (2, 1, 1)).write(campaign_folder / file)
    entry = {
        'kind': 'structures',
        'files': files,
        'perturb': {'rattle_A': 0.05},
        'exploration': {'kind': 'single_point'},
        'validation': {'cell': 'as_given'},
    }
    sampling = {'kind': 'random', 'n_structures': 3, 'test_fraction': 0.34}
    datasets = []
    for random_seed in (1, 3):  # alone, the second campaign would draw another test set
        campaign = run_campaign(random_seed=random_seed, generation=[entry], sampling=sampling)
        assert campaign.is_finished_ok, campaign.exit_message
        datasets.append(tmp_path / f'{random_seed}.db')
        write_dataset(campaign, datasets[-1])
        sampling['reference_dataset'] = str(datasets[-1])
        with Dataset(datasets[-1]) as dataset:
            marked = [(row.provenance.split, row.key_value_pairs['split']) for row in dataset.query()]
        assert sorted(marked) == [('test', 'test'), ('train', 'train'), ('train', 'train')]
    assert merge_datasets(datasets, tmp_path / 'merged.db') == MergeResult(6, 0)
    split = split_dataset(tmp_path / 'merged.db')
    assert split.report['by'] == 'stored'
    assert split.report['n_rows'] == {'train': 4, 'valid': 0, 'test': 2}
    assert split.report['n_groups'] == {'train': 2, 'valid': 0, 'test': 1}
