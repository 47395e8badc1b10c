"""A campaign with MACE, whose jobs run in a separate environment."""

import os
import subprocess
from pathlib import Path

import pytest
from aiida import orm

pytestmark = [pytest.mark.integration, pytest.mark.mlip]

MACE_PYTHON = 'MLIP_AUTOPIPE_MACE_PYTHON'
SUPPORT = Path(__file__).parents[1] / 'support'


@pytest.mark.skipif(MACE_PYTHON not in os.environ, reason='MACE is not installed in a separate environment')
def test_a_campaign_runs_with_a_calculator_in_another_environment(emt_code, run_campaign, campaign_config, tmp_path):
    from aiida_mlip_autopipe.installation.codes import ensure_code, run_self_test

    python = os.environ[MACE_PYTHON]
    model = tmp_path / 'tiny.model'
    subprocess.run([python, SUPPORT / 'tiny_mace.py', model], check=True, capture_output=True)
    report = run_self_test('mace', python, str(model))
    assert report['device'] == 'cpu'
    ensure_code(emt_code.computer, 'mace', python)

    campaign = run_campaign(
        calculator={'kind': 'mace', 'model': str(model), 'cutoff_A': 4.0, 'device': 'cpu'},
        generation=[campaign_config().generation[0].model_dump(mode='json')],
        exploration={'n_steps': 4},
        sampling={'n_structures': 3},
    )
    assert campaign.is_finished_ok, campaign.exit_message
    job = next(node for node in campaign.called_descendants if isinstance(node, orm.CalcJobNode))
    assert job.outputs.result['calculator_name'] == 'mace'
    assert job.outputs.result['model_sha256'] == job.inputs.model.sha256
    assert job.inputs.model.base.attributes.get('elements')
