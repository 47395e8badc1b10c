"""MACE trains and fine-tunes with the configs, in its environment."""

import os
import re
import subprocess

import pytest
from support.alloy_rows import ISOLATED, alloy_rows, relabel

from aiida_mlip_autopipe.storage import export_dataset
from aiida_mlip_autopipe.training.base import FineTuning

pytestmark = [
    pytest.mark.mlip,
    pytest.mark.skipif(
        'MLIP_AUTOPIPE_MACE_PYTHON' not in os.environ, reason='MACE is not installed in a separate environment'
    ),
]
SPLITS = (*['train'] * 4, 'valid', 'test')
# One process for all configs, because importing MACE takes most of the time.
RUN = """
import sys
from mace.cli.run_train import main
for config in sys.argv[1:]:
    print('CONFIG', config, flush=True)
    sys.argv = ['mace_run_train', '--config', config]
    main()
"""


@pytest.fixture
def train(tmp_path):
    """Return a function that trains with configs in turn, and returns the log of each."""

    def train(*names):
        command = [os.environ['MLIP_AUTOPIPE_MACE_PYTHON'], '-c', RUN, *names]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.split('CONFIG ')[1:]

    return train


def initial_error(log):
    """Return the error of the energy before the first step, eV/atom."""
    return float(re.findall(r'Initial: head: Default.*?RMSE_E_per_atom=\s*([\d.]+) meV', log)[0]) / 1000


def test_mace_trains_and_fine_tunes_with_the_configs(write, change, train, tmp_path):
    rows = alloy_rows(6)
    write(rows, splits=SPLITS)
    change('cu-mace.yaml', max_num_epochs=3, start_swa=2, eval_interval=1, num_channels=4)
    base = tmp_path / 'cu-mace' / 'cu-mace_stagetwo.model'
    base.parent.mkdir()
    base.touch()
    # The same labels, but with other energies of isolated atoms.
    shift = {'Cu': -20.0, 'Au': 10.0}
    tuned = relabel(rows, shift)
    export_dataset(tmp_path / 'pool.extxyz', rows)
    write(tuned, splits=SPLITS, name='naive', fine_tuning=FineTuning(str(base)))
    write(tuned, splits=SPLITS, name='replay', fine_tuning=FineTuning(str(base), str(tmp_path / 'pool.extxyz')))
    for name in ('naive', 'replay'):
        change(f'{name}-mace.yaml', max_num_epochs=1)
    new, naive, replay = train('cu-mace.yaml', 'naive-mace.yaml', 'replay-mace.yaml')
    assert 'Total Training set [energy: 4, stress: 4' in new
    assert f'for head Default: {{29: {ISOLATED["Cu"]}, 79: {ISOLATED["Au"]}}}' in new
    assert 'Changing loss based on Stage Two Weights' in new
    # The base model has learned next to nothing, so the error is the cohesive energy, if MACE uses the new E0s.
    assert initial_error(replay) == pytest.approx(initial_error(new), abs=0.2)
    # MACE 0.3.16 keeps the E0s of a model with as many elements, as the documentation warns.
    assert abs(initial_error(naive) - initial_error(new)) > 1
    assert 'multiheads finetuning' not in naive
    assert 'Using multiheads finetuning mode' in replay
    # No validation frames are drawn from other sets.
    assert not any('Random Split' in log for log in (new, naive, replay))
    for name in ('naive', 'replay'):
        assert (tmp_path / f'{name}-mace' / f'{name}-mace.model').is_file()
