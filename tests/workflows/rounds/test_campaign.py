"""Two rounds with SevenNet as the model and EMT as the reference method."""

import json

import pytest
from aiida import orm
from aiida.engine import run_get_node
from ase.build import bulk

from aiida_mlip_autopipe.campaigns.export import dataset_of, read_rows
from aiida_mlip_autopipe.campaigns.history.explain import explain_campaign
from aiida_mlip_autopipe.campaigns.history.frames import find_frames, find_rows
from aiida_mlip_autopipe.campaigns.history.queries import count_jobs
from aiida_mlip_autopipe.campaigns.progress import read_progress
from aiida_mlip_autopipe.campaigns.provenance.origin import find_origin
from aiida_mlip_autopipe.campaigns.provenance.trace import trace_row
from aiida_mlip_autopipe.campaigns.report import read_campaign_report, write_campaign_report
from aiida_mlip_autopipe.config import validate_config
from aiida_mlip_autopipe.core.plain import to_json
from aiida_mlip_autopipe.storage.sets.keys import group_of
from aiida_mlip_autopipe.workflows.graph import find_round_reports, find_rounds, list_campaigns, load_campaign
from aiida_mlip_autopipe.workflows.rounds.campaign import CampaignWorkChain

pytestmark = [pytest.mark.integration, pytest.mark.mlip, pytest.mark.long, pytest.mark.timeout(1800)]

CODE = 'autopipe-emt@localhost'
N_PARENTS = 12
SECTIONS = {
    'name': 'two_rounds',
    'random_seed': 7,
    'generation': [
        {'kind': 'structures', 'files': [f'{number}.xyz'], 'perturb': {'rattle_A': 0.05}} for number in range(N_PARENTS)
    ],
    'calculator': {'kind': 'sevennet', 'device': 'cpu'},
    'exploration': {'temperature_K': 300, 'n_steps': 4, 'frame_interval': 1},
    'sampling': {'kind': 'environment', 'n_structures': 10},
    'labelling': {'kind': 'calculator', 'calculator': {'kind': 'emt'}, 'code': CODE},
    'training': {'kind': 'sevennet', 'n_epochs': 3, 'code': CODE},
    'rounds': {
        'maximum': 2,
        'target_force_error_eV_A': 0.01,
        'random_labels': 6,
        'hot_runs': {'n_runs': 2, 'n_steps': 5},
    },
    'execution': {'code': CODE, 'reuse_finished': True},
}


@pytest.fixture(scope='module')
def run_rounds(emt_code_uuid, tmp_path_factory):
    """Return a function that runs two rounds from seeds of several parents."""
    folder = tmp_path_factory.mktemp('rounds')
    for number in range(N_PARENTS):
        symbol, a = ('Au', 3.95 + 0.05 * number) if number % 2 else ('Cu', 3.5 + 0.05 * number)
        bulk(symbol, a=a).repeat((1, 1, 2)).write(folder / f'{number}.xyz')

    def run(**sections):
        config = validate_config(SECTIONS | sections, folder)
        return run_get_node(CampaignWorkChain.get_builder_from_config(config, notify=lambda message: None))[1]

    return run


@pytest.fixture(scope='module')
def campaign_uuid(run_rounds):
    node = run_rounds()
    assert node.is_finished_ok, node.exit_message
    return node.uuid


@pytest.fixture
def campaign(campaign_uuid):
    return orm.load_node(campaign_uuid)


def test_the_rows_of_both_rounds_are_in_the_dataset_and_no_group_is_tested_and_trained_on(campaign):
    rows = read_rows(campaign)
    assert {row.provenance.round for row in rows} == {1, 2}
    roles = [(row.provenance.round, row.provenance.role) for row in rows]
    for number in (1, 2):
        assert sum(found == number and role is not None for found, role in roles) == 6
        assert sum(found == number and role is None for found, role in roles) == 10
    tested = {group_of(row, 0, 'parent') for row in rows if row.provenance.split == 'test'}
    trained = {group_of(row, 0, 'parent') for row in rows if row.provenance.split != 'test'}
    assert len(tested) >= 3
    assert not tested & trained


def test_each_round_reports_the_errors_the_bounds_and_the_decision(campaign):
    first, second = find_round_reports(campaign)
    for report in (first, second):
        assert report['failures'] == {}
        assert report['errors']['force_error']['upper_limit'] > report['errors']['force_error']['value'] > 0
        assert report['bounds']['bounds'].keys() == {'force_eV_A', 'stress_GPa', 'energy_eV_atom'}
    assert (first['decision']['reason'], second['decision']['reason']) == (None, 'maximum_rounds')
    assert (first['n_labels'], second['n_labels']) == (16, 32)
    assert first['label_estimate'] is not None
    if first['errors']['accepted']:
        assert second['coverage']['force_eV_A']['n_errors'] == 6


def test_the_second_round_explores_with_the_candidate_if_it_was_accepted(campaign):
    first, second = find_rounds(campaign)
    starting = campaign.inputs.training.model
    (code,) = first.inputs.codes.values()
    assert code.model.sha256 == starting.sha256
    accepted = find_round_reports(campaign)[0]['errors']['accepted']
    expected = campaign.outputs.rounds.round_1.models.tuning_0 if accepted else starting
    (code,) = second.inputs.codes.values()
    assert code.model.sha256 == expected.sha256
    assert 'uncertainties' in second.outputs


def test_the_status_shows_the_rounds(campaign):
    progress = read_progress(campaign)
    assert (progress.stage, progress.name) == ('finished', 'two_rounds')
    assert (progress.rounds.number, progress.rounds.n_labels, progress.rounds.reason) == (2, 32, 'maximum_rounds')
    assert [one.number for one in progress.rounds.finished] == [1, 2]
    listed = [node.pk for node in list_campaigns()]
    assert campaign.pk in listed
    assert not {node.pk for node in find_rounds(campaign)} & set(listed)
    assert load_campaign('two_rounds').pk == campaign.pk


def test_the_report_card_shows_the_rounds(campaign, tmp_path):
    assert write_campaign_report(campaign, tmp_path / 'rounds.html') == 32
    report = read_campaign_report(campaign)
    assert json.loads((tmp_path / 'rounds.json').read_text())['rounds'] == to_json(report.rounds)
    first, second = report.rounds['rounds']
    assert (first['n_labels'], second['n_labels']) == (16, 32)
    assert first['trainings'].keys() == {'quarter', 'half', 'tuning_0', 'tuning_1', 'tuning_2'}
    assert second['trainings'].keys() == {'tuning_0', 'tuning_1', 'tuning_2'}
    # All seeds have one kind, so its error is that of the test set.
    (error,) = report.rounds['errors_by_kind'].values()
    assert error['force_error_eV_A'] == pytest.approx(second['errors']['force_error']['value'])


def test_the_explorations_of_all_rounds_are_explained_and_found(campaign):
    explained = explain_campaign(campaign)
    assert explained.seeds['completed'] == 2 * N_PARENTS
    assert explained.frames.n_selected == 20
    assert explained.retried == ()
    assert {'exploration', 'labelling', 'training', 'assessment'} <= {one.stage for one in explained.stages}
    assert len(set(find_frames(campaign)['trajectory'])) == 2 * N_PARENTS
    assert len(find_rows(campaign)) == 32
    assert {'TrainingCalculation', 'AssessmentCalculation'} <= set(count_jobs(campaign)['process'])


def test_rows_of_both_rounds_can_be_traced(campaign):
    dataset = dataset_of(campaign)
    for row in dataset.rows():
        traced = trace_row(find_origin(row, dataset))
        assert traced.frame.step == row.provenance.step
        assert traced.jobs


def test_the_same_campaign_repeats_no_job(campaign, run_rounds):
    again = run_rounds()
    assert again.is_finished_ok, again.exit_message
    jobs = [node for node in again.called_descendants if isinstance(node, orm.CalcJobNode)]
    assert jobs
    assert [job.process_label for job in jobs if not job.base.caching.is_created_from_cache] == []
    assert again.outputs.model.sha256 == campaign.outputs.model.sha256
