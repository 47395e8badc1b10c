"""A round with a model that is trained from scratch, and campaigns that extend it."""

import pytest
from aiida import orm
from aiida.engine import run_get_node
from support.cheap_rounds import N_RANDOM, N_SELECTED, SECTIONS, record_environment, write_parents
from support.errors import refused

from aiida_mlip_autopipe.campaigns.export import read_rows
from aiida_mlip_autopipe.campaigns.extending import mark_extension, plan_extension
from aiida_mlip_autopipe.campaigns.progress import read_progress
from aiida_mlip_autopipe.config import validate_config
from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.workflows.graph import find_round_reports, find_rounds
from aiida_mlip_autopipe.workflows.rounds.campaign import CampaignWorkChain

pytestmark = [pytest.mark.integration, pytest.mark.mlip, pytest.mark.timeout(900)]

N_LABELS = N_RANDOM + N_SELECTED


def run(config):
    return run_get_node(CampaignWorkChain.get_builder_from_config(config, notify=lambda message: None))[1]


def extend(campaign, *overrides):
    extension = plan_extension(campaign, overrides)
    builder = CampaignWorkChain.get_builder_from_config(extension.config, notify=lambda message: None)
    mark_extension(builder, extension.campaign)
    return run_get_node(builder)[1]


@pytest.fixture(scope='module')
def one_round(emt_code_uuid, tmp_path_factory):
    folder = tmp_path_factory.mktemp('cheap')
    write_parents(folder)
    record_environment(orm.load_node(emt_code_uuid))
    node = run(validate_config(SECTIONS | {'random_seed': 51}, folder))
    assert node.is_finished_ok, node.exit_message
    return node


@pytest.fixture(scope='module')
def two_rounds(one_round):
    node = extend(one_round, 'rounds.maximum=2')
    assert node.is_finished_ok, node.exit_message
    return node


def jobs(node):
    return [one for one in node.called_descendants if isinstance(one, orm.CalcJobNode)]


def new_jobs(node):
    return [one for one in jobs(node) if not one.base.caching.is_created_from_cache]


def test_the_first_round_explores_with_the_calculator_and_compares_with_no_model(one_round):
    (chain,) = find_rounds(one_round)
    (code,) = chain.inputs.codes.values()
    assert code.calculator['kind'] == 'emt'
    (report,) = find_round_reports(one_round)
    assert report['failures'] == {}
    assert report['judgement'].keys() >= {'accepted', 'errors'}
    assert (report['judgement']['gain'], report['judgement']['errors'].keys()) == (None, {'new'})
    assert report['decision']['reason'] == 'maximum_rounds'
    assert report['judgement']['accepted'], report['judgement']['failures']
    assert one_round.outputs.model.sha256 == one_round.outputs.rounds.round_1.models.tuning_0.sha256


def test_another_round_repeats_nothing_and_explores_with_the_new_model(one_round, two_rounds):
    first, second = find_rounds(two_rounds)
    assert new_jobs(first) == []
    (code,) = second.inputs.codes.values()
    assert code.model.sha256 == one_round.outputs.model.sha256
    assert 'uncertainties' in second.outputs
    trained = [one for one in new_jobs(two_rounds) if one.process_label == 'TrainingCalculation']
    assert len(trained) == 3
    before, (again, last) = find_round_reports(one_round)[0], find_round_reports(two_rounds)
    assert again['errors'] == before['errors']
    assert (again['decision']['reason'], last['decision']['reason']) == (None, 'maximum_rounds')
    assert last['judgement']['errors'].keys() == {'new', 'former'}
    assert last['n_labels'] == 2 * N_LABELS


def test_the_plan_of_an_extension_counts_the_finished_rounds(two_rounds):
    longer = plan_extension(two_rounds, ['rounds.maximum=3']).reuse
    assert (longer.n_rounds, longer.n_seeds_kept, longer.n_repeated) == (2, 12, 12)
    changed = plan_extension(two_rounds, ['rounds.random_labels=8']).reuse
    assert (changed.n_rounds, changed.n_repeated) == (0, 12)
    with refused(Code.EXTENSION_EMPTY):
        plan_extension(two_rounds, ['rounds.maximum=2'])


def test_the_rows_of_all_rounds_name_the_extension_and_keep_their_groups(one_round, two_rounds):
    rows = read_rows(two_rounds)
    assert {row.provenance.campaign for row in rows} == {two_rounds.label}
    assert {row.provenance.extends.uuid for row in rows} == {one_round.uuid}
    assert [row.provenance.round for row in rows] == [1] * N_LABELS + [2] * N_LABELS
    tested = {row.key_value_pairs['parent'] for row in rows if row.provenance.split == 'test'}
    assert not tested & {row.key_value_pairs['parent'] for row in rows if row.provenance.split != 'test'}


def test_another_target_runs_no_job(two_rounds):
    node = extend(two_rounds, 'rounds.target_force_error_eV_A=0.02', 'rounds.label_budget=100')
    assert node.is_finished_ok, node.exit_message
    assert new_jobs(node) == []
    assert len(find_round_reports(node)) == 2
    assert node.outputs.model.sha256 == two_rounds.outputs.model.sha256
    progress = read_progress(node)
    assert (progress.rounds.target_force_error_eV_A, progress.rounds.n_labels) == (0.02, 2 * N_LABELS)
