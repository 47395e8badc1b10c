"""A round that fails leaves the results of the earlier ones."""

import pytest
from aiida import orm
from aiida.engine import run_get_node
from support.cheap_rounds import N_PARENTS, N_RANDOM, SECTIONS, record_environment, write_parents

from aiida_mlip_autopipe.campaigns.export import read_rows
from aiida_mlip_autopipe.campaigns.progress import read_progress
from aiida_mlip_autopipe.config import validate_config
from aiida_mlip_autopipe.workflows.graph import find_round_reports
from aiida_mlip_autopipe.workflows.rounds.campaign import CampaignWorkChain

pytestmark = [pytest.mark.integration, pytest.mark.mlip, pytest.mark.long, pytest.mark.timeout(900)]

# The first round takes the only frame of each seed. Its model does not survive the hot run, so the second round
# explores the same frames again, and has none to label.
CHANGES = {
    'random_seed': 53,
    'exploration': {'temperature_K': 300, 'n_steps': 4, 'frame_interval': 4},
    'sampling': {'kind': 'random', 'n_structures': N_PARENTS - N_RANDOM},
    'rounds': SECTIONS['rounds'] | {'maximum': 2, 'hot_runs': {'n_runs': 1, 'n_steps': 50, 'temperature_K': 1e7}},
}


def test_a_round_that_fails_leaves_the_rows_and_models_of_the_earlier_ones(emt_code_uuid, tmp_path):
    write_parents(tmp_path)
    record_environment(orm.load_node(emt_code_uuid))
    config = validate_config(SECTIONS | CHANGES, tmp_path)
    _, node = run_get_node(CampaignWorkChain.get_builder_from_config(config, notify=lambda message: None))
    assert node.exit_status == CampaignWorkChain.exit_codes.ERROR_ROUND.status, node.exit_message
    (report,) = find_round_reports(node)
    assert [one['condition'] for one in report['judgement']['failures']] == ['stable_dynamics']
    assert report['errors']['force_error'] == {'value': None, 'upper_limit': None}
    assert 'model' not in node.outputs
    assert set(node.outputs.rounds.round_1.models) == {'tuning_0', 'tuning_1', 'tuning_2'}
    rows = read_rows(node)
    assert (len(rows), {row.provenance.round for row in rows}) == (N_PARENTS, {1})
    progress = read_progress(node)
    assert (progress.stage, progress.rounds.number, len(progress.rounds.finished)) == ('failed', 2, 1)
