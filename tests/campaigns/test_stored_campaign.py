"""Campaigns that earlier versions stored can be read. There is one archive for each change to the stored data."""

from pathlib import Path

import numpy as np
import pytest
from support.errors import refused
from support.stored import import_campaign

from aiida_mlip_autopipe.calculations.explore import ExplorationCalculation, read_settings
from aiida_mlip_autopipe.campaigns.export import read_rows, write_dataset
from aiida_mlip_autopipe.campaigns.report import read_campaign_report, write_campaign_report
from aiida_mlip_autopipe.campaigns.status import read_status
from aiida_mlip_autopipe.config import validate_config
from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.data.evaluation import evaluated_trajectories
from aiida_mlip_autopipe.exploration.checkpoint import Checkpoint
from aiida_mlip_autopipe.storage import Dataset

STORED = Path(__file__).parent / 'stored'
ARCHIVES = sorted(STORED.glob('*.aiida'))
MAX_BYTES = 1_000_000

pytestmark = pytest.mark.integration


@pytest.fixture(scope='module', params=ARCHIVES, ids=lambda path: path.stem)
def campaign(request, aiida_profile):
    """The only campaign of an archive."""
    return import_campaign(request.param)


def explorations(campaign):
    return [node for node in campaign.called_descendants if node.process_class is ExplorationCalculation]


def test_at_least_one_archive_exists_and_all_are_small():
    assert ARCHIVES
    assert max(path.stat().st_size for path in ARCHIVES) < MAX_BYTES


def test_the_status_and_the_report_of_a_stored_campaign_can_be_read(campaign, tmp_path):
    progress = read_status(campaign).progress
    assert (progress.stage, progress.n_succeeded, progress.n_seeds) == ('finished', 3, 3)
    assert read_campaign_report(campaign).dataset.n_rows == 8
    assert write_campaign_report(campaign, tmp_path / 'report.html') == 8


def test_the_dataset_of_a_stored_campaign_can_be_exported_with_its_provenance(campaign, tmp_path):
    assert write_dataset(campaign, tmp_path / 'stored.db') == 8
    seeds = {node.seed_id for node in campaign.outputs.seeds.values()}
    with Dataset(tmp_path / 'stored.db') as dataset:
        rows = list(dataset.query())
    assert {row.provenance.seed_id for row in rows} <= seeds
    assert sorted(row.provenance.split for row in rows) == ['test'] * 2 + ['train'] * 6
    assert len(read_rows(campaign)) == 8
    assert write_dataset(campaign, tmp_path / 'mlip.db', labels='mlip') == 8
    with refused(Code.LABELS_MISSING, 'dft', 'mlip:emt'):
        write_dataset(campaign, tmp_path / 'dft.db', labels='dft')
    assert not (tmp_path / 'dft.db').exists()


def test_the_seeds_frames_and_checkpoints_of_a_stored_campaign_can_be_read(campaign, tmp_path):
    seeds = [node.to_seed() for node in campaign.outputs.seeds.values()]
    assert sorted(seed.record['kind'] for seed in seeds) == ['alloy', 'alloy', 'structures']
    for job in explorations(campaign):
        (trajectory,) = evaluated_trajectories([job.outputs.trajectory], [])
        assert trajectory.steps.tolist() == list(range(2, 21, 2))
        assert np.isfinite(trajectory.forces).all()
        assert [phase.kind for phase in read_settings(job.inputs).phases] == ['ramp', 'velocity_reset']
        path = tmp_path / f'{job.pk}.npz'
        path.write_bytes(job.outputs.checkpoint.get_content(mode='rb'))
        assert Checkpoint.read(path).step == 20


def test_the_config_and_the_reference_dataset_of_a_stored_campaign_can_be_read(campaign):
    config = campaign.inputs.config.get_dict()
    config['generation'] = [entry for entry in config['generation'] if entry['kind'] == 'alloy']
    config['sampling'].pop('reference_dataset')
    assert validate_config(config, STORED).name == 'tiny'
    (atoms,) = campaign.inputs.reference_dataset.structures()
    assert atoms.get_chemical_formula() == 'Al4'
