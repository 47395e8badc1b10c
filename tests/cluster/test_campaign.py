"""The integration campaign on this machine, in containers, over SSH and on Slurm: the same rows everywhere."""

import numpy as np
import pytest
from support.cluster import IMAGES

from aiida_mlip_autopipe.storage import Dataset
from aiida_mlip_autopipe.workflows.exploration import why_ended
from aiida_mlip_autopipe.workflows.export import write_dataset

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]


def read_rows(campaign, folder):
    explorations = [node for node in campaign.called if node.process_label == 'ExplorationWorkChain']
    assert campaign.is_finished_ok, [campaign.exit_message, *map(why_ended, explorations)]
    path = folder / f'{campaign.pk}.db'
    write_dataset(campaign, path)
    with Dataset(path) as dataset:
        return list(dataset.query())


def assert_same_rows(left, right):
    """Compare all that the calculator and the sampling gave, bit for bit."""
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
def test_a_campaign_gives_the_same_rows_elsewhere(local_rows, run_campaign, make_code, tmp_path, computer, name, image):
    code = make_code(computer, name, image and IMAGES / image)
    campaign = run_campaign({'code': code.full_label})
    assert_same_rows(local_rows, read_rows(campaign, tmp_path))
