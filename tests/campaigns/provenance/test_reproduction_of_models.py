"""Rows of machine-learning potentials are computed again, and another or an altered model is found and named."""

from __future__ import annotations

import os
import shutil
import subprocess
from contextlib import ExitStack
from pathlib import Path

import pytest
from support.altered import altered_bit, stored_file

from aiida_mlip_autopipe.calculators.kinds.sevennet import SevenNetSettings
from aiida_mlip_autopipe.campaigns.provenance.origin import find_origin, open_dataset
from aiida_mlip_autopipe.campaigns.provenance.reproduction import reproduce_rows
from aiida_mlip_autopipe.campaigns.provenance.rerun import Means
from aiida_mlip_autopipe.core.hashing import file_sha256
from aiida_mlip_autopipe.data.model_store import FOLDER, find_model
from aiida_mlip_autopipe.exploration import resolve_model
from aiida_mlip_autopipe.installation.codes import ensure_code

pytestmark = [pytest.mark.integration, pytest.mark.mlip, pytest.mark.long, pytest.mark.timeout(1800)]

MACE_PYTHON = 'MLIP_AUTOPIPE_MACE_PYTHON'
SUPPORT = Path(__file__).parents[2] / 'support'
ALUMINIUM = {'kind': 'structures', 'files': ['al.xyz'], 'perturb': {'rattle_A': 0.05}}
COPPER_GOLD = {
    'kind': 'alloy',
    'lattice': 'fcc',
    'composition': {'Cu': 0.5, 'Au': 0.5},
    'supercell': [2, 2, 2],
    'n_seeds': 1,
    'validation': {'min_width_factor': 0.5},
}


@pytest.fixture(scope='module')
def explore(emt_code, run_campaign, tmp_path_factory):
    """Return a function that explores a seed with a calculator, and returns the campaign."""
    emt_code.computer.set_property(FOLDER, str(tmp_path_factory.mktemp('models')))
    ensure_code(emt_code.computer, 'sevennet')

    def run(calculator, seed):
        campaign = run_campaign(
            generation=[seed],
            calculator=calculator,
            exploration={'temperature_K': 300, 'n_steps': 4, 'frame_interval': 2},
            sampling={'kind': 'random', 'n_structures': 2},
        )
        assert campaign.is_finished_ok, campaign.exit_message
        return campaign

    return run


@pytest.fixture
def checkpoint(tmp_path):
    """A checkpoint file of SevenNet."""
    return Path(shutil.copy(resolve_model(SevenNetSettings(model='7net-0')), tmp_path / 'mine.pth'))


def place_of_weight(checkpoint):
    """Return the position of the first weight of a radial network in a checkpoint of SevenNet."""
    import torch

    weights = torch.load(checkpoint, map_location='cpu', weights_only=False)['model_state_dict']
    content = next(array for name, array in weights.items() if 'weight_nn' in name).numpy().tobytes()
    return checkpoint.read_bytes().index(content)


def outcomes(campaign):
    dataset = open_dataset(campaign.uuid)
    found = list(reproduce_rows(dataset, [row.id for row in dataset.rows()]))
    return [(one.frame.outcome, one.frame.differences, one.frame.not_recorded, one.altered) for one in found]


def test_rows_of_a_shipped_sevennet_model_are_identical(explore):
    campaign = explore({'kind': 'sevennet', 'model': '7net-0'}, ALUMINIUM)
    assert outcomes(campaign) == [('identical', (), (), ())] * 2


def test_another_model_and_an_altered_bit_of_a_weight_are_named(explore, checkpoint, tmp_path):
    campaign = explore({'kind': 'sevennet', 'model': str(checkpoint)}, ALUMINIUM)
    dataset = open_dataset(campaign.uuid)
    origin = find_origin(dataset.row(1), dataset.node)
    job = origin.jobs[0]
    model, computer = job.inputs.model, job.inputs.code.computer
    placed, stored = Path(find_model(computer, model.sha256)), stored_file(model, model.FILE)
    assert placed not in (stored, checkpoint)

    def reproduce(*models):
        (one,) = reproduce_rows(dataset, [1], Means(models=models))
        return one

    def change_to(file):
        return f'model {model.sha256[:12]}… -> {file_sha256(file)[:12]}…'

    assert reproduce().is_identical
    weight = place_of_weight(checkpoint)
    with ExitStack() as altered:
        # The bit changes the weight by a quarter to a half.
        altered.enter_context(altered_bit(placed, weight + 2, bit=6))
        one = reproduce()
        assert one.frame.outcome == 'identical', 'the stored model is used'
        assert len(one.altered) == 1
        assert str(placed) in one.altered[0]
        assert not one.is_identical

        altered.enter_context(altered_bit(stored, weight + 2, bit=6))
        one = reproduce()
        assert one.frame.outcome == 'differs'
        assert one.frame.differences == (change_to(placed),)
        assert {deviation.quantity for deviation in one.frame.deviations} >= {'positions', 'energy', 'forces'}
        assert any(str(placed) in text for text in one.altered)
        assert any(f'{model.pk} (ModelData)' in text for text in one.altered)

        one = reproduce(checkpoint)
        assert one.frame.outcome == 'identical'
        assert [str(model.pk) in text for text in one.altered] == [True]
    other = resolve_model(SevenNetSettings(model='7net-0_22May2024'))
    one = reproduce(other)
    assert (one.frame.outcome, one.altered) == ('differs', ())
    assert one.frame.differences == (change_to(other),)


@pytest.mark.skipif(MACE_PYTHON not in os.environ, reason='MACE is not installed in a separate environment')
def test_rows_of_mace_in_another_environment_are_identical(emt_code, explore, tmp_path):
    python, model = os.environ[MACE_PYTHON], tmp_path / 'tiny.model'
    subprocess.run([python, SUPPORT / 'tiny_mace.py', model], check=True, capture_output=True)
    ensure_code(emt_code.computer, 'mace', python)
    calculator = {'kind': 'mace', 'model': str(model), 'cutoff_A': 4.0, 'device': 'cpu'}
    assert outcomes(explore(calculator, COPPER_GOLD)) == [('identical', (), (), ())] * 2
