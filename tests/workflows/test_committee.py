"""A second calculator evaluates the frames of a campaign."""

from __future__ import annotations

import numpy as np
import pytest
from aiida import orm

from aiida_mlip_autopipe.calculations.explore import ExplorationCalculation
from aiida_mlip_autopipe.campaigns.account import describe_campaign
from aiida_mlip_autopipe.campaigns.export import write_dataset
from aiida_mlip_autopipe.installation.codes import ensure_code
from aiida_mlip_autopipe.storage import Dataset
from aiida_mlip_autopipe.structures.disagreement import LARGEST, MEASURES

pytestmark = pytest.mark.integration

LJ = {'kind': 'lj', 'epsilon_eV': 0.4, 'sigma_A': 2.3, 'cutoff_A': 6.0}


def make_sections(reuse, committee, **exploration):
    """Return the sections of a campaign of one seed."""
    entry = {'kind': 'structures', 'files': ['al.xyz'], 'perturb': {'rattle_A': 0.05}}
    settings = {'n_steps': 12, 'frame_interval': 2, 'committee': committee, **exploration}
    return {
        'reuse': reuse,
        'generation': [entry],
        'exploration': settings,
        'sampling': {'kind': 'fps', 'n_structures': 4},
    }


def jobs_of(campaign, name):
    return [node for node in campaign.called_descendants if node.process_label == name]


def is_cached(campaign, name):
    return [node.base.caching.is_created_from_cache for node in jobs_of(campaign, name)]


@pytest.fixture(scope='module')
def lj_code(emt_code):
    return ensure_code(emt_code.computer, 'lj')[0]


@pytest.fixture(scope='module')
def evaluated(lj_code, run_campaign):
    """A campaign without a committee, and the same campaign with one."""
    plain = run_campaign(**make_sections(True, None))
    return plain, run_campaign(**make_sections(True, {'calculator': LJ}))


def test_adding_a_committee_repeats_no_exploration(evaluated):
    plain, campaign = evaluated
    assert plain.is_finished_ok
    assert campaign.is_finished_ok, campaign.exit_message
    assert not jobs_of(plain, 'EvaluationCalculation')
    assert is_cached(campaign, 'ExplorationCalculation') == [True]
    assert is_cached(campaign, 'EvaluationCalculation') == [False]


def test_the_second_calculator_runs_in_a_separate_job_with_its_code(evaluated, lj_code):
    (job,) = jobs_of(evaluated[1], 'EvaluationCalculation')
    assert job.inputs.code.uuid == lj_code.uuid
    assert job.inputs.calculator['kind'] == 'lj'
    assert job.caller.outputs.committee.leg_01.uuid == job.outputs.evaluation.uuid
    leg = job.inputs.trajectory
    assert job.caller.outputs.legs.leg_01.uuid == leg.uuid
    evaluation = job.outputs.evaluation
    np.testing.assert_array_equal(evaluation.get_array('steps'), leg.get_stepids())
    differences = np.linalg.norm(evaluation.get_array('forces') - leg.get_array('forces'), axis=2)
    np.testing.assert_allclose(evaluation.get_array(LARGEST), differences.max(axis=1))


def test_rows_and_report_contain_the_disagreement(evaluated, tmp_path):
    campaign = evaluated[1]
    write_dataset(campaign, tmp_path / 'a.db')
    (job,) = jobs_of(campaign, 'EvaluationCalculation')
    values = dict(
        zip(job.outputs.evaluation.get_array('steps'), job.outputs.evaluation.get_array(LARGEST), strict=True)
    )
    with Dataset(tmp_path / 'a.db') as dataset:
        rows = list(dataset.query(f'{LARGEST}>0'))
        assert len(rows) == len(dataset) == 4
    for row in rows:
        assert row.key_value_pairs[LARGEST] == pytest.approx(values[row.provenance.step])
        assert set(MEASURES) <= set(row.key_value_pairs)
        assert row.provenance.committee == 'mlip:lj'
        assert row.provenance.label_source == 'mlip:emt'
    report = campaign.outputs.selection_report['committee']
    assert report['candidates']['n_evaluated'] == 6
    assert report['candidates']['max_eV_per_A'] == pytest.approx(max(values.values()))
    assert report['selected']['n_evaluated'] == 4


def test_repeating_the_campaign_evaluates_nothing(evaluated, run_campaign):
    again = run_campaign(**make_sections(True, {'calculator': LJ}))
    for name in ('ExplorationCalculation', 'EvaluationCalculation', 'select_frames', 'export_dataset'):
        assert is_cached(again, name) == [True], name


def test_frames_before_a_crash_are_evaluated_and_a_failed_evaluation_is_not_fatal(lj_code, run_campaign, tmp_path):
    """The run is unstable and does not recover. In the second campaign, the version of the evaluation is wrong."""
    crash = {'guards': {'force_eV_per_A': 0.9}, 'recovery': {'max_recoveries': 0}, 'frame_interval': 1, 'n_steps': 60}

    def accept_failures(builder):
        builder.min_success_fraction = 0.0

    sections = make_sections(False, {'calculator': LJ}, **crash)
    campaign = run_campaign(accept_failures, **{**sections, 'sampling': {'n_structures': 4, 'crash_fraction': 1.0}})
    (exploration,) = jobs_of(campaign, 'ExplorationWorkChain')
    assert exploration.exit_status == 410
    assert campaign.is_finished_ok, campaign.exit_message
    assert (
        exploration.outputs.committee.leg_01.get_array(LARGEST).shape
        == exploration.outputs.legs.leg_01.get_stepids().shape
    )

    tables = describe_campaign(campaign)
    message = ExplorationCalculation.exit_codes.ERROR_UNSTABLE.message
    assert tables['Explorations'] == {message.partition(':')[0]: 1}
    assert tables['Crashes by guard'] == {'force': 1}

    def require_all_and_set_a_wrong_version(builder):
        builder.min_success_fraction = 1.0
        builder.committee['evaluation_version'] = orm.Str('another')

    campaign = run_campaign(require_all_and_set_a_wrong_version, **make_sections(False, {'calculator': LJ}))
    assert campaign.is_finished_ok, campaign.exit_message
    (job,) = jobs_of(campaign, 'EvaluationCalculation')
    assert job.exit_status == 310
    logs = [entry.message for node in campaign.called for entry in orm.Log.collection.get_logs_for(node)]
    assert any(' leg 1: ' in message and job.exit_message in message for message in logs)
    write_dataset(campaign, tmp_path / 'b.db')
    with Dataset(tmp_path / 'b.db') as dataset:
        assert all(row.provenance.committee is None for row in dataset.query())


@pytest.mark.mlip
def test_two_real_models_run_in_separate_jobs(emt_code, run_campaign):
    """SevenNet explores and CHGNet evaluates the frames, both with shipped models and without network access."""
    for kind in ('sevennet', 'chgnet'):
        ensure_code(emt_code.computer, kind)
    sections = make_sections(False, {'calculator': {'kind': 'chgnet'}}, n_steps=4)
    campaign = run_campaign(**{**sections, 'calculator': {'kind': 'sevennet'}, 'sampling': {'n_structures': 2}})
    assert campaign.is_finished_ok, campaign.exit_message
    (job,) = jobs_of(campaign, 'EvaluationCalculation')
    assert job.inputs.model.is_shipped
    assert job.outputs.result['model_sha256'] == job.inputs.model.sha256
    values = job.outputs.evaluation.get_array(LARGEST)
    # The forces of two universal models for rattled aluminium differ, by less than the forces themselves.
    assert (values > 1e-3).all()
    assert (values < 1.0).all()
