"""Training with the unchanged configs gives small errors for the test set, on 60 and on 600 rows."""

import csv
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from support.alloy_rows import alloy_rows

from aiida_mlip_autopipe.storage import export_dataset
from aiida_mlip_autopipe.training.split_dataset import split_dataset

pytestmark = [pytest.mark.mlip, pytest.mark.long, pytest.mark.timeout(3600)]
# Upper limits of the root mean square errors of energies (eV/atom) and forces (eV/Å) for the test set. The forces have
# a root mean square of 0.9 eV/Å, and the energies without E0s a standard deviation of 0.07 eV/atom.
LIMITS = {60: (0.03, 0.2), 600: (0.02, 0.15)}


@pytest.fixture(params=sorted(LIMITS))
def n_rows(request):
    return request.param


@pytest.fixture
def sets(n_rows, tmp_path):
    """Write the sets and the configs, and return the name of the folder."""
    export_dataset(tmp_path / 'cu.db', alloy_rows(n_rows))
    split_dataset(tmp_path / 'cu.db', tmp_path / 'cu.extxyz', trainers=['mace', 'sevennet'])
    return tmp_path


def run(command, folder):
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.skipif(
    'MLIP_AUTOPIPE_MACE_PYTHON' not in os.environ, reason='MACE is not installed in a separate environment'
)
def test_mace_reaches_small_test_errors_with_the_written_config(sets, n_rows):
    program = Path(os.environ['MLIP_AUTOPIPE_MACE_PYTHON']).with_name('mace_run_train')
    log = run([program, '--config', 'cu-mace.yaml'], sets)
    # The last table is that of the second stage, in meV.
    table = log[log.rindex('Error-table on TEST') :]
    rows = [[float(cell) for cell in re.findall(r'\|\s+([\d.]+)\s+(?=\|)', line)] for line in table.splitlines()]
    energy, force, *_ = next(row for row in rows if row)
    print(f'MACE, {n_rows} rows: {energy} meV/atom, {force} meV/Å')
    assert (np.array([energy, force]) / 1000 < LIMITS[n_rows]).all()


def test_sevennet_reaches_small_test_errors_with_the_written_config(sets, n_rows):
    run([Path(sys.executable).with_name('sevenn'), 'train', 'cu-sevennet.yaml'], sets)
    *_, last = csv.DictReader((sets / 'lc.csv').read_text().splitlines())
    errors = {key.strip(): float(value) for key, value in last.items()}
    energy, force = errors['testset_Energy_RMSE'], errors['testset_Force_RMSE']
    print(f'SevenNet, {n_rows} rows: {1000 * energy:.1f} meV/atom, {1000 * force:.1f} meV/Å')
    assert (np.array([energy, force]) < LIMITS[n_rows]).all()
