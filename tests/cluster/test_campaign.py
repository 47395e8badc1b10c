"""The integration campaign gives the same rows on this machine, in containers, and over SSH on Slurm."""

import os
import sys
from pathlib import Path

import numpy as np
import pytest
from support.cluster import IMAGES, why_ended
from support.tiny_campaign import CAMPAIGN

from aiida_mlip_autopipe.campaigns.export import write_dataset
from aiida_mlip_autopipe.storage import Dataset

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

ROOT = Path(__file__).parents[2]
MACE_PYTHON = os.environ.get('MLIP_AUTOPIPE_MACE_PYTHON', ROOT / '.venv-mace' / 'bin' / 'python')
TINY_MACE = ROOT / 'tests' / 'support' / 'tiny_mace.py'


def read_rows(campaign, folder):
    explorations = [node for node in campaign.called if node.process_label == 'ExplorationWorkChain']
    assert campaign.is_finished_ok, [campaign.exit_message, *map(why_ended, explorations)]
    path = folder / f'{campaign.pk}.db'
    write_dataset(campaign, path)
    with Dataset(path) as dataset:
        return list(dataset.query())


def assert_same_rows(left, right):
    """Check that the results of the calculator and of the sampling are equal, bit for bit."""
    assert len(left) == len(right)
    for one, other in zip(left, right, strict=True):
        for name in ('seed_id', 'step', 'rank', 'split', 'label_source'):
            assert getattr(one.provenance, name) == getattr(other.provenance, name)
        assert one.atoms == other.atoms
        assert one.atoms.get_potential_energy() == other.atoms.get_potential_energy()
        np.testing.assert_array_equal(one.atoms.get_forces(), other.atoms.get_forces())
        np.testing.assert_array_equal(one.atoms.get_stress(), other.atoms.get_stress())


@pytest.fixture(scope='module')
def local_rows(run_campaign, make_code, tmp_path_factory):
    code = make_code('localhost', 'emt-installed')
    return read_rows(run_campaign({'code': code.full_label}), tmp_path_factory.mktemp('rows'))


@pytest.mark.parametrize(
    ('computer', 'name', 'image'),
    [('localhost', 'emt-image', 'base.sif'), ('hpc', 'emt-installed', None), ('hpc', 'emt-image', 'base.sif')],
    ids=['in a container', 'over SSH on Slurm', 'over SSH on Slurm in a container'],
)
def test_a_campaign_gives_the_same_rows_in_containers_and_on_the_cluster(
    local_rows, run_campaign, make_code, tmp_path, computer, name, image
):
    code = make_code(computer, name, image and IMAGES / image)
    campaign = run_campaign({'code': code.full_label})
    assert_same_rows(local_rows, read_rows(campaign, tmp_path))


@pytest.fixture(scope='module')
def tiny_mace(cluster, make_code, tmp_path_factory):
    """A small MACE model on this machine; campaigns copy it to the cluster."""
    model = tmp_path_factory.mktemp('mace') / 'tiny.model'
    cluster.run(MACE_PYTHON, TINY_MACE, model)
    return model


def mace_settings(model):
    return {'kind': 'mace', 'model': str(model), 'cutoff_A': 4.0, 'device': 'cpu'}


def test_an_image_on_the_cluster_gives_the_same_frames_as_an_environment_here(explore, wait_for_end, make_code):
    here = make_code('localhost', 'sevennet-installed', python=sys.executable)
    there = make_code('hpc', 'sevennet-image', IMAGES / 'sevennet.sif')
    calculator, options = {'kind': 'sevennet', 'device': 'cpu'}, {'max_memory_kb': 4000 * 1024}
    nodes = [explore(code, options, calculator, n_steps=6, frame_interval=2) for code in (here, there)]
    for node in nodes:
        assert wait_for_end(node, 300).is_finished_ok, why_ended(node)
    left, right = (node.outputs.legs.leg_01 for node in nodes)
    for array in ('steps', 'positions', 'cells', 'energies', 'forces', 'stresses'):
        np.testing.assert_array_equal(left.get_array(array), right.get_array(array))


@pytest.mark.long
def test_two_images_explore_the_seeds_of_one_campaign(run_campaign, make_code, tiny_mace, tmp_path):
    """SevenNet and MACE cannot share an environment, so each has its own image."""
    sevennet = make_code('hpc', 'sevennet-image', IMAGES / 'sevennet.sif')
    mace = make_code('hpc', 'mace-image', IMAGES / 'mace.sif')
    resources = {'memory_MB': 4000}
    codes = [
        {'code': sevennet.full_label, 'resources': resources},
        {
            'code': mace.full_label,
            'resources': resources,
            'calculator': mace_settings(tiny_mace),
        },
    ]
    alloy = {**CAMPAIGN['generation'][0], 'supercell': [1, 1, 2], 'composition': {'Cu': 0.5, 'Au': 0.5}, 'n_seeds': 4}
    campaign = run_campaign(
        {'codes': codes},
        seconds=400,
        generation=[alloy],
        calculator={'kind': 'sevennet', 'device': 'cpu'},
        exploration={'n_steps': 4},
        sampling={'n_structures': 6},
    )
    rows = read_rows(campaign, tmp_path)
    labels = {row.provenance.label_source.split(':')[1] for row in rows}
    assert labels == {'sevennet', 'mace'}
