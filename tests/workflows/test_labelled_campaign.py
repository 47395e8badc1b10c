"""Campaigns whose selected structures a reference method labels: lj explores, and EMT labels."""

import pytest
from support.errors import refused

from aiida_mlip_autopipe.calculations.labelling.label import LabellingCalculation
from aiida_mlip_autopipe.campaigns.export import read_rows
from aiida_mlip_autopipe.campaigns.progress import read_progress
from aiida_mlip_autopipe.core.codes import Code

pytestmark = pytest.mark.integration

CODE = 'autopipe-emt@localhost'
# One seed, so that the campaigns have few jobs.
SECTIONS = {
    'generation': [{'kind': 'structures', 'files': ['al.xyz'], 'perturb': {'rattle_A': 0.05}}],
    'calculator': {'kind': 'lj', 'epsilon_eV': 0.4, 'sigma_A': 2.3, 'cutoff_A': 6.0},
    'execution': {'code': CODE, 'reuse_finished': True},
    'exploration': {'temperature_K': 300, 'n_steps': 10, 'frame_interval': 2},
    'sampling': {'kind': 'random', 'n_structures': 4},
}
LABELLING = {'kind': 'calculator', 'calculator': {'kind': 'emt'}}


def labelling_jobs(campaign):
    return [job for job in campaign.called_descendants if job.process_class is LabellingCalculation]


@pytest.fixture(scope='module')
def unlabelled(run_campaign):
    return run_campaign(**SECTIONS)


@pytest.fixture(scope='module')
def labelled(unlabelled, run_campaign):
    return run_campaign(**SECTIONS, labelling=LABELLING)


def test_the_dataset_of_the_campaign_has_the_labels_of_the_reference_method(labelled):
    assert labelled.is_finished_ok, labelled.exit_message
    rows = read_rows(labelled)
    assert len(rows) == labelled.outputs.labelling_report['n_labelled'] == 4
    assert {row.level.name for row in rows} == {'mlip:emt'}
    assert all(list(row.data['labels_before']) == ['mlip:lj'] for row in rows)


def test_a_labelling_section_reuses_the_explorations_of_the_campaign_without_it(unlabelled, labelled):
    assert 'labelling' not in unlabelled.inputs.config
    cached = {}
    for job in labelled.called_descendants:
        cached.setdefault(job.process_label, []).append(job.base.caching.is_created_from_cache)
    assert cached['ExplorationCalculation'] == [True]
    assert cached['select_frames'] == [True]
    assert cached['LabellingCalculation'] == [False] * len(labelling_jobs(labelled))


def test_the_same_campaign_reuses_every_label(labelled, run_campaign):
    again = run_campaign(**SECTIONS, labelling=LABELLING)
    assert labelling_jobs(again) == []
    assert again.outputs.labelling_report['n_known'] == 4


def test_another_campaign_with_the_same_structures_computes_no_labels(labelled, run_campaign):
    other = run_campaign(**SECTIONS, labelling=LABELLING, name='another')
    assert {row.provenance.campaign for row in read_rows(other)} == {'another'}
    assert labelling_jobs(other) == []


def test_the_progress_of_a_campaign_counts_its_labels(labelled):
    progress = read_progress(labelled)
    assert progress.stage == 'finished'
    labels = progress.labels
    assert (labels.n_structures, labels.n_known, labels.n_labelled, labels.n_failed) == (4, 0, 4, 0)


def test_labels_at_another_level_than_those_of_the_reference_dataset_are_refused(run_campaign, tmp_path, labelled):
    path = tmp_path / 'reference.db'
    path.write_bytes(labelled.outputs.dataset.get_content(mode='rb'))
    sampling = {**SECTIONS['sampling'], 'reference_dataset': str(path)}
    other = {**LABELLING, 'calculator': {'kind': 'lj', 'epsilon_eV': 0.5}, 'code': CODE}
    with refused(Code.LEVELS_MIXED, 'labelling: ', 'sampling.reference_dataset', 'mlip:emt', 'code: lj and emt'):
        run_campaign(**{**SECTIONS, 'sampling': sampling}, labelling=other)
