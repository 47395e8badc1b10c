"""The calculations of a campaign that are taken from AiiDA's cache."""

import pytest
from aiida import orm

from aiida_mlip_autopipe import sampling
from aiida_mlip_autopipe.workflows.inputs import campaign as campaign_inputs

pytestmark = pytest.mark.integration


def cached(campaign):
    """Return whether each calculation of a campaign was taken from the cache, by process label."""
    hits = {}
    for node in sorted(campaign.called_descendants, key=lambda node: node.pk):
        if not isinstance(node, orm.WorkChainNode):
            hits.setdefault(node.process_label, []).append(node.base.caching.is_created_from_cache)
    return hits


@pytest.fixture(scope='module')
def first(run_campaign):
    return run_campaign(reuse=True)


@pytest.fixture
def rerun(first, run_campaign):
    """Return a function that repeats the first campaign with changed sections and returns what was cached."""

    def run(**sections):
        assert first.is_finished_ok
        second = run_campaign(reuse=True, **sections)
        assert second.is_finished_ok
        return cached(second)

    return run


def test_the_same_config_reuses_every_calculation(rerun):
    assert rerun() == {
        'generate_seeds': [True],
        'ExplorationCalculation': [True] * 3,
        'select_frames': [True],
        'export_dataset': [True],
    }


def test_changed_sampling_settings_reuse_the_explorations(rerun):
    hits = rerun(sampling={'kind': 'fps', 'n_structures': 6})
    assert hits['generate_seeds'] == [True]
    assert hits['ExplorationCalculation'] == [True] * 3
    assert hits['select_frames'] == [False]
    assert hits['export_dataset'] == [False]


def test_an_additional_seed_reuses_the_explorations_of_the_others(rerun, campaign_config):
    entries = [entry.model_dump(mode='json') for entry in campaign_config().generation]
    entries[0]['n_seeds'] += 1
    hits = rerun(generation=entries)
    assert hits['generate_seeds'] == [False]
    assert sorted(hits['ExplorationCalculation']) == [False, True, True, True]


def test_another_version_of_the_sampling_stage_repeats_the_selection(rerun, monkeypatch):
    monkeypatch.setattr(sampling, 'STAGE_VERSION', 'another')
    hits = rerun()
    assert hits['ExplorationCalculation'] == [True] * 3
    assert hits['select_frames'] == [False]


def test_jobs_refuse_another_version_of_the_runner_and_are_not_reused(first, run_campaign, monkeypatch):
    monkeypatch.setattr(campaign_inputs, 'RUNNER_VERSION', 'another')
    campaign = run_campaign(reuse=True)
    jobs = [node for node in campaign.called_descendants if isinstance(node, orm.CalcJobNode)]
    assert {job.exit_status for job in jobs} == {310}
    assert not any(job.base.caching.is_created_from_cache for job in jobs)


def test_nothing_is_reused_if_reuse_finished_is_false(first, run_campaign):
    assert not any(any(hits) for hits in cached(run_campaign(reuse=False)).values())
