"""A training job of MACE, in its environment, from a model with random weights."""

import json
import os
import subprocess
from pathlib import Path

import pytest
from ase.build import bulk
from ase.io import write
from support.alloy_rows import ISOLATED, alloy_rows, relabel

from aiida_mlip_autopipe.jobs.contract import JOB_FILE, RESULT_FILE, read_result
from aiida_mlip_autopipe.jobs.version import TRAINING_VERSION
from aiida_mlip_autopipe.training.contract import LOG_FILE, REPLAY_FILE, TRAINING_FILE, Training
from aiida_mlip_autopipe.training.sets import choose_sets, write_sets

MACE_PYTHON = 'MLIP_AUTOPIPE_MACE_PYTHON'
ROOT = Path(__file__).parents[3]
pytestmark = [
    pytest.mark.mlip,
    pytest.mark.timeout(900),
    pytest.mark.skipif(MACE_PYTHON not in os.environ, reason='MACE is not installed in a separate environment'),
]
# The environment record can only be read in the environment itself.
WRITE = """
import json, sys
from pathlib import Path
from aiida_mlip_autopipe.jobs.environment import read_environment
from aiida_mlip_autopipe.jobs.loading import make_loader
from aiida_mlip_autopipe.training.contract import TrainingJob
job = json.loads(sys.argv[1])
environment = read_environment(make_loader(job['calculator']), 'cpu')
Path('job.json').write_text(TrainingJob(environment=environment, **job).model_dump_json())
"""


@pytest.fixture
def folder(tmp_path):
    """Return a folder with the sets of rows whose isolated atoms have energies different from those of the model."""
    rows = relabel(alloy_rows(12), {'Cu': -20.0, 'Au': 10.0})
    write_sets(tmp_path / 'set.extxyz', rows, choose_sets(rows, None, 0).splits, 1)
    run(tmp_path, str(ROOT / 'tests' / 'support' / 'tiny_mace.py'), 'tiny.model')
    return tmp_path


def run(folder, *arguments):
    done = subprocess.run(
        [os.environ[MACE_PYTHON], *arguments],
        cwd=folder,
        env=os.environ | {'PYTHONPATH': str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def train(folder, n_epochs, **training):
    is_new = training.get('recipe') == 'scratch'
    job = {
        'training_version': TRAINING_VERSION,
        'calculator': {'kind': 'mace', 'device': 'cpu', 'dtype': 'float64', 'model': 'new' if is_new else 'tiny.model'},
        'training': {'kind': 'mace', 'n_epochs': n_epochs, 'ema_decay': 0.5, 'learning_rate': 0.01, **training},
        'replay': REPLAY_FILE if (folder / REPLAY_FILE).is_file() else None,
        'sets': {'train': 'set-train.extxyz', 'valid': 'set-valid.extxyz'},
        'random_seed': 3,
    }
    run(folder, '-c', WRITE, json.dumps(job))
    run(folder, '-m', 'aiida_mlip_autopipe.training', JOB_FILE)
    result = read_result((folder / RESULT_FILE).read_bytes())
    assert result.outcome == 'completed', result.message + (folder / LOG_FILE).read_text()
    return Training.model_validate_json((folder / TRAINING_FILE).read_bytes())


@pytest.mark.long
def test_mace_starts_with_energies_that_fit_the_labels_and_continues(folder):
    report = train(folder, 3)
    # The model has E0s of −3 and −3.5 eV and hardly any interaction.
    expected = {'Cu': ISOLATED['Cu'] - 20 + 3, 'Au': ISOLATED['Au'] + 10 + 3.5}
    assert report.offsets_eV == pytest.approx(expected, abs=4)
    assert report.offsets_determined
    assert report.initial_errors['valid'].energy_rmse_eV_atom < 0.3
    assert report.epochs[0].valid_energy_rmse_eV_atom == pytest.approx(
        report.initial_errors['valid'].energy_rmse_eV_atom, abs=0.1
    )
    assert [epoch.epoch for epoch in report.epochs] == [1, 2, 3]
    losses = [epoch.valid_loss for epoch in report.epochs]
    assert report.best_epoch == losses.index(min(losses)) + 1
    # The final errors, evaluated with the model file, are those that MACE reports for this epoch.
    best = report.epochs[report.best_epoch - 1]
    assert report.final_errors['valid'].force_rmse_eV_A == pytest.approx(best.valid_force_rmse_eV_A, rel=1e-3)
    assert (set(report.elements), report.cutoff_A) == ({'Cu', 'Au'}, 4.0)
    # A longer training run in the same folder continues after the last epoch.
    longer = train(folder, 5)
    assert longer.continued_after == (3,)
    assert [epoch.epoch for epoch in longer.epochs] == [1, 2, 3, 4, 5]
    assert longer.epochs[:3] == report.epochs


def test_replay_trains_a_second_head_which_the_model_does_not_contain(folder):
    # The tiny model supports only these elements, so the structures are of a system of the dataset.
    write(folder / REPLAY_FILE, [bulk('Cu', cubic=True) * (1, 1, n) for n in (1, 2)])
    report = train(folder, 2, recipe='replay')
    assert (report.n_replayed, [epoch.epoch for epoch in report.epochs]) == (2, [1, 2])
    best = report.epochs[report.best_epoch - 1]
    assert report.final_errors['valid'].force_rmse_eV_A == pytest.approx(best.valid_force_rmse_eV_A, rel=1e-3)
    assert set(report.elements) == {'Cu', 'Au'}


@pytest.mark.long
def test_a_new_model_has_the_given_size_and_the_fitted_energies(folder):
    report = train(folder, 3, recipe='scratch', n_channels=4, max_l=0, cutoff_A=4.0)
    assert (report.recipe, report.initial_errors, report.cutoff_A) == ('scratch', {}, 4.0)
    best = report.epochs[report.best_epoch - 1]
    assert report.final_errors['valid'].force_rmse_eV_A == pytest.approx(best.valid_force_rmse_eV_A, rel=1e-3)
    assert report.final_errors['valid'].energy_rmse_eV_atom < 0.5
