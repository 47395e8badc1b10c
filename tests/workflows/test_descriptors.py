"""Jobs compute descriptors, which other selections from the same frames reuse."""

from __future__ import annotations

import numpy as np
import pytest
from aiida import orm
from ase.build import bulk

from aiida_mlip_autopipe.campaigns.report import read_campaign_report
from aiida_mlip_autopipe.installation.codes import ensure_code
from aiida_mlip_autopipe.workflows.lost_jobs import MAX_LOST

pytestmark = pytest.mark.integration

BY_JOB = {'reuse_finished': True, 'descriptors': {'min_frames': 1}}
IN_PLACE = {'reuse_finished': True}


def fps(**settings):
    return {'kind': 'fps', 'n_structures': 5, 'descriptor': {'n_max': 4, 'l_max': 3}, **settings}


def hits(campaign, name):
    """Return whether each job of this name was taken from the cache."""
    jobs = [node for node in campaign.called_descendants if node.process_label == name]
    return [node.base.caching.is_created_from_cache for node in jobs]


@pytest.fixture(scope='module')
def run(run_campaign, campaign_config):
    """Return a function that runs a campaign of two seeds."""
    alloy = campaign_config().generation[0].model_dump(mode='json')

    def run(sampling, execution):
        campaign = run_campaign(sampling=sampling, execution=execution, generation=[alloy])
        assert campaign.is_finished_ok, campaign.exit_message
        return campaign

    return run


@pytest.fixture(scope='module')
def in_place(run):
    return run(fps(), IN_PLACE)


@pytest.fixture(scope='module')
def by_job(in_place, run):
    return run(fps(), BY_JOB)


def test_descriptors_from_jobs_give_the_same_selection(in_place, by_job):
    assert hits(in_place, 'DescriptorsCalculation') == hits(in_place, 'SelectionCalculation') == []
    assert hits(by_job, 'DescriptorsCalculation') == hits(by_job, 'SelectionCalculation') == [False]
    assert hits(by_job, 'select_frames') == []
    assert hits(by_job, 'ExplorationCalculation') == [True] * 2
    for name in ('frame', 'step'):
        expected = in_place.outputs.selection.get_array(name)
        np.testing.assert_array_equal(by_job.outputs.selection.get_array(name), expected)
    np.testing.assert_allclose(
        by_job.outputs.selection.get_array('distance'), in_place.outputs.selection.get_array('distance'), rtol=1e-5
    )
    assert by_job.outputs.selection_report['descriptor'] == in_place.outputs.selection_report['descriptor']


def test_the_report_uses_the_descriptors_of_the_jobs(in_place, by_job, monkeypatch):
    computed = read_campaign_report(in_place).assessment
    monkeypatch.delattr('aiida_mlip_autopipe.sampling.pool.describe.describe_structures')
    found = read_campaign_report(by_job).assessment
    for curve in ('curve', 'random_curve'):
        for name, values in computed[curve].items():
            assert found[curve][name] == pytest.approx(values, rel=1e-3, abs=1e-4)


def test_the_descriptors_of_all_trajectories_are_in_one_node(by_job):
    (job,) = (node for node in by_job.called_descendants if node.process_label == 'DescriptorsCalculation')
    assert len(job.inputs.legs) == 2
    features = job.outputs.descriptors.get_array('features')
    assert features.dtype == np.float32
    assert len(features) == sum(len(leg.get_stepids()) for leg in job.inputs.legs.values())
    # SOAP does not depend on the calculator, so another calculator with the same frames reuses these descriptors.
    assert 'calculator' not in job.inputs


def test_another_selection_reuses_explorations_and_descriptors(by_job, run):
    parts = [
        {'fraction': 0.5, 'sampler': {'kind': kind, 'descriptor': fps()['descriptor']}} for kind in ('direct', 'fps')
    ]
    campaign = run({'kind': 'mix', 'n_structures': 6, 'parts': parts}, BY_JOB)
    assert hits(campaign, 'ExplorationCalculation') == [True] * 2
    assert hits(campaign, 'DescriptorsCalculation') == [True]
    assert hits(campaign, 'SelectionCalculation') == [False]
    # The selection job is cached, too.
    assert hits(run({'kind': 'mix', 'n_structures': 6, 'parts': parts}, BY_JOB), 'SelectionCalculation') == [True]


def test_another_descriptor_is_computed(by_job, run):
    campaign = run(fps(descriptor={'n_max': 3, 'l_max': 2}), BY_JOB)
    assert hits(campaign, 'ExplorationCalculation') == [True] * 2
    assert hits(campaign, 'DescriptorsCalculation') == [False]


def environment(**settings):
    return {**fps(), 'kind': 'environment', 'n_structures': 6, **settings}


def test_another_selection_reuses_the_descriptors_of_environments(by_job, run, monkeypatch):
    # Each seed has more environments than this, so it has a separate job.
    monkeypatch.setattr('aiida_mlip_autopipe.workflows.descriptors.ENVIRONMENTS_PER_JOB', 1)
    in_place = run(environment(), IN_PLACE)
    assert hits(in_place, 'DescriptorsCalculation') == []
    first = run(environment(), BY_JOB)
    assert hits(first, 'fit_environments') == [False]
    assert hits(first, 'DescriptorsCalculation') == [False] * 2
    for name in ('frame', 'step', 'gain'):
        expected = in_place.outputs.selection.get_array(name)
        np.testing.assert_array_equal(first.outputs.selection.get_array(name), expected)
    assert first.outputs.selection_report['descriptor'] == in_place.outputs.selection_report['descriptor']
    (job, _) = (node for node in first.called_descendants if node.process_label == 'DescriptorsCalculation')
    (leg,) = job.inputs.legs.values()
    points = job.outputs.descriptors.get_array('features')
    assert points.dtype == np.float32
    assert len(points) == len(leg.symbols) * len(leg.get_stepids())
    part = {'kind': 'environment', 'descriptor': fps()['descriptor'], 'n_clusters': 20}
    within = {'kind': 'stratified', 'n_structures': 5, 'by': 'seed', 'within': part}
    for another in (environment(n_structures=4, n_clusters=9), within):
        again = run(another, BY_JOB)
        assert hits(again, 'ExplorationCalculation') == [True] * 2
        assert hits(again, 'fit_environments') == [True]
        assert hits(again, 'DescriptorsCalculation') == [True] * 2
        assert hits(again, 'SelectionCalculation') == [False]


def test_a_job_computes_the_descriptors_of_a_reference_dataset_once(by_job, run, campaign_folder):
    # No frame contains this element, but the descriptors of all frames must cover it.
    bulk('Pt', cubic=True).write(campaign_folder / 'old.traj')
    extended = fps(reference_dataset='old.traj')
    in_place = run(extended, IN_PLACE)
    first, second = run(extended, BY_JOB), run({**extended, 'n_structures': 4}, BY_JOB)
    assert hits(first, 'DescriptorsCalculation') == [False] * 2
    assert hits(second, 'DescriptorsCalculation') == [True] * 2
    for name in ('frame', 'step'):
        expected = in_place.outputs.selection.get_array(name)
        np.testing.assert_array_equal(first.outputs.selection.get_array(name), expected)
    assert first.outputs.selection_report['descriptor']['species'] == [29, 78, 79]
    assert np.isfinite(first.outputs.selection.get_array('distance')).all()


def test_a_campaign_whose_descriptors_cannot_be_computed_fails_with_the_reason(run_campaign, campaign_config):
    def set_a_wrong_version(builder):
        builder.descriptors['descriptors_version'] = orm.Str('another')

    alloy = campaign_config().generation[0].model_dump(mode='json')
    campaign = run_campaign(set_a_wrong_version, sampling=fps(), execution=BY_JOB, generation=[alloy])
    assert campaign.exit_status == 406
    assert 'another' in campaign.exit_message


def lose_jobs(folder, n_descriptor_jobs, n_selection_jobs):
    """Return a function that makes the first descriptor jobs and selection jobs leave no files."""
    # Each job makes one folder. A job that finds a free number exits and leaves no files.
    which = 'kind=$(grep -c "autopipe[.]sampling" _aiidasubmit.sh)'
    n_lost = f'$((kind ? {n_selection_jobs} : {n_descriptor_jobs}))'
    lost = f'for n in $(seq 1 {n_lost}); do mkdir {folder}/$kind.$n 2>/dev/null && exit; done'

    def prepare(builder):
        builder.descriptors['metadata']['options']['prepend_text'] = f'{which}\n{lost}\ntrue'

    return prepare


def statuses(campaign, name):
    jobs = sorted((node.pk, node) for node in campaign.called_descendants if node.process_label == name)
    return [node.exit_status for _, node in jobs]


def test_jobs_without_a_result_are_submitted_again(run_campaign, campaign_config, tmp_path):
    alloy = campaign_config().generation[0].model_dump(mode='json')
    campaign = run_campaign(lose_jobs(tmp_path, 1, MAX_LOST), sampling=fps(), execution=BY_JOB, generation=[alloy])
    assert campaign.is_finished_ok, campaign.exit_message
    assert statuses(campaign, 'DescriptorsCalculation') == [300, 0]
    assert statuses(campaign, 'SelectionCalculation') == [300] * MAX_LOST + [0]


@pytest.mark.mlip
def test_learned_descriptors_are_computed_once(emt_code, run_campaign, campaign_folder):
    ensure_code(emt_code.computer, 'sevennet')
    sections = {
        'calculator': {'kind': 'sevennet'},
        'generation': [{'kind': 'structures', 'files': ['al.xyz'], 'perturb': {'rattle_A': 0.05}}],
        'exploration': {'n_steps': 6, 'frame_interval': 1},
        'execution': IN_PLACE,
    }
    learned = {'kind': 'fps', 'n_structures': 3, 'descriptor': {'kind': 'learned'}}
    campaign = run_campaign(sampling=learned, **sections)
    assert campaign.is_finished_ok, campaign.exit_message
    described = campaign.outputs.selection_report['descriptor']
    assert (described['kind'], described['n_features']) == ('learned', 128)
    (job,) = (node for node in campaign.called_descendants if node.process_label == 'DescriptorsCalculation')
    assert job.outputs.result['model_sha256'] == job.inputs.model.sha256
    again = run_campaign(sampling={**learned, 'n_structures': 4}, **sections)
    assert hits(again, 'DescriptorsCalculation') == [True]
    assert len(again.outputs.selection.get_array('frame')) == 4
    rattled = bulk('Al', cubic=True)
    rattled.rattle(0.05, seed=3)
    rattled.write(campaign_folder / 'old_al.traj')
    extended = run_campaign(sampling={**learned, 'reference_dataset': 'old_al.traj'}, **sections)
    assert sorted(hits(extended, 'DescriptorsCalculation')) == [False, True]
    # The reference structures count as selected, so the first frame has a distance.
    assert np.isfinite(extended.outputs.selection.get_array('distance')).all()
