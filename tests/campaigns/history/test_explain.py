"""Explanations of campaigns whose jobs crash, are lost, are reused or are killed. All jobs are real."""

import json
import re

import pytest
from aiida.engine.utils import instantiate_process
from aiida.manage import get_manager

from aiida_mlip_autopipe.campaigns.history.explain import explain_campaign
from aiida_mlip_autopipe.campaigns.history.queries import count_jobs, find_crashes, measure_costs
from aiida_mlip_autopipe.cli.provenance.explain import _print
from aiida_mlip_autopipe.core.exit_codes import RUN_AGAIN, explain
from aiida_mlip_autopipe.core.plain import to_json
from aiida_mlip_autopipe.workflows import dataset
from aiida_mlip_autopipe.workflows.dataset import DatasetWorkChain
from aiida_mlip_autopipe.workflows.graph import list_campaigns

pytestmark = pytest.mark.integration

GUARDED = {'kind': 'structures', 'files': ['al.xyz'], 'perturb': {'rattle_A': 0.05}}
# One seed is stable, one exceeds a limit at its first step, and one exceeds a limit later and is resumed.
SECTIONS = {
    'generation': [
        {
            'kind': 'alloy',
            'lattice': 'fcc',
            'composition': {'Cu': 0.75, 'Au': 0.25},
            'supercell': [2, 2, 2],
            'n_seeds': 1,
            'validation': {'min_width_factor': 0.5},
        },
        {**GUARDED, 'exploration': {'guards': {'force_eV_per_A': 0.3}}},
        {
            **GUARDED,
            'perturb': {'rattle_A': 0.06},
            'exploration': {'guards': {'force_eV_per_A': 1.0}, 'recovery': {'max_recoveries': 1}},
        },
    ],
    'execution': {'min_success_fraction': 0.3},
}


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp('once')


@pytest.fixture(scope='module')
def run(run_campaign, folder):
    """Return a function that runs the campaign. The first job of all loses its folder."""

    def lose_a_job(builder):
        for code in builder.codes.values():
            code['options'] = code['options'].clone()
            code['options']['prepend_text'] = f'mkdir {folder}/lost 2>/dev/null && rm -rf "$PWD"'

    return lambda: run_campaign(lose_a_job, reuse=True, **SECTIONS)


@pytest.fixture(scope='module')
def campaign(run):
    return run()


def test_failures_are_explained_with_rule_value_limit_log_and_remedy(campaign):
    explained = explain_campaign(campaign)
    assert (explained.state, explained.exit_status, explained.meaning) == ('finished', 0, None)
    assert explained.seeds == {'completed': 2, 'ERROR_NO_FRAME': 1}
    (group,) = explained.failures
    assert (group.process, group.n_failed, group.exit_status) == ('ExplorationCalculation', 1, 411)
    assert (group.rule, group.step) == ('force', 0)
    assert '0.3' in group.message
    meaning = explain('ExplorationWorkChain', 'ERROR_NO_FRAME')
    assert (group.meaning, group.remedy) == (meaning.meaning, meaning.remedy)
    assert [excerpt.name for excerpt in group.log] == ['exploration.log']
    assert '0.3' in group.log[0].lines[-1]
    failed = [node for node in campaign.called if node.exit_status == 411]
    assert [node.inputs.job.seed.seed_id for node in failed] == list(group.seeds)


def test_lost_jobs_and_recoveries_are_listed_with_what_followed(campaign):
    retried = {one.exit_label: one for one in explain_campaign(campaign).retried}
    assert retried.keys() == {'ERROR_RESULT_MISSING', 'ERROR_UNSTABLE'}
    assert all((one.n_jobs, one.n_seeds) == (1, 1) for one in retried.values())
    assert retried['ERROR_RESULT_MISSING'].action != retried['ERROR_UNSTABLE'].action


def test_the_text_contains_codes_but_no_names_of_classes(campaign, run, capsys):
    for one, expected in ((campaign, 'ERROR_RESULT_MISSING'), (run(), 'ERROR_NO_FRAME')):
        _print(explain_campaign(one))
        text = capsys.readouterr().out
        assert expected in text
        assert not re.search(r'[a-z](Calculation|WorkChain)|_seeds|_dataset', text)


def test_the_crashes_are_found_with_their_rules(campaign):
    crashes = find_crashes(campaign)
    assert sorted(zip(crashes['exit_label'], crashes['rule'], crashes['resumed'], strict=True)) == [
        ('ERROR_NO_FRAME', 'force', False),
        ('ERROR_UNSTABLE', 'force', True),
    ]
    assert set(crashes['seed_id']) < {node.seed_id for node in campaign.outputs.seeds.values()}


def test_the_costs_of_the_stages_agree_with_the_results_of_the_jobs(campaign):
    results = [node.outputs.result for node in campaign.called_descendants if 'result' in node.outputs]
    stages = {one.stage: one for one in explain_campaign(campaign).stages}
    assert list(stages) == ['generation', 'exploration', 'sampling', 'storage']
    exploration = stages['exploration']
    jobs = [result for result in results if 'force_calls' in result.get_dict()]
    assert exploration.n_force_calls == sum({result.pk: result['force_calls'] for result in jobs}.values())
    costs = measure_costs(campaign).set_index('stage')
    assert costs['core_hours']['exploration'] == pytest.approx(exploration.core_s / 3600)
    counted = count_jobs(campaign)
    assert counted['n_jobs'].sum() == exploration.n_jobs == 5
    assert counted['core_hours'].sum() == pytest.approx(exploration.core_s / 3600)
    assert list(counted.loc[counted['calculator'] == 'emt', 'n_failed']) == [2]


def test_reused_results_and_the_exception_that_ended_a_campaign_are_explained(campaign, run, monkeypatch):
    def fail(*_):
        raise RuntimeError('the disk melted')

    monkeypatch.setattr(dataset, 'link_labels', fail)
    with pytest.raises(RuntimeError):
        run()
    excepted = list_campaigns()[0]
    explained = explain_campaign(excepted)
    assert explained.state == 'excepted'
    assert str(excepted.pk) in explained.remedy
    assert any('the disk melted' in line for excerpt in explained.log for line in excerpt.lines)
    reused = {(one.process, one.source): one.n_reused for one in explained.reused}
    assert reused[('generate_seeds', 'cache')] == 1
    assert reused[('ExplorationCalculation', 'cache')] == 3
    assert explained.failures[0].exit_label == 'ERROR_NO_FRAME'
    assert {one.n_jobs for one in explained.stages} == {0}


def test_a_killed_campaign_is_explained(emt_code, campaign_config, capsys):
    builder = DatasetWorkChain.get_builder_from_config(campaign_config())
    process = instantiate_process(get_manager().create_runner(communicator=None), builder)
    process.kill('enough')
    explained = explain_campaign(process.node)
    assert (explained.state, explained.exit_status) == ('killed', None)
    assert 'enough' in explained.progress.failure
    assert explained.remedy == RUN_AGAIN
    assert (explained.seeds, explained.failures, explained.stages) == ({}, (), ())
    assert json.loads(to_json(explained))['progress']['stage'] == 'failed'
    _print(explained)
    (line,) = [one for one in capsys.readouterr().out.splitlines() if 'enough' in one]
    assert line.startswith('killed')
