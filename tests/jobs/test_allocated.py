import os
import subprocess
import sys

import pytest

from aiida_mlip_autopipe.jobs.allocated import allocated_threads


@pytest.fixture(autouse=True)
def machine_with_sixteen_cores(monkeypatch):
    monkeypatch.setattr(os, 'sched_getaffinity', lambda pid: set(range(16)))


@pytest.mark.parametrize(
    ('environment', 'threads'),
    [
        ({}, 1),
        ({'OMP_NUM_THREADS': '4'}, 4),
        ({'OMP_NUM_THREADS': '1', 'SLURM_CPUS_PER_TASK': '8'}, 8),
        ({'OMP_NUM_THREADS': '8', 'NSLOTS': '2'}, 2),
        ({'OMP_NUM_THREADS': '64'}, 16),
        ({'OMP_NUM_THREADS': '2,4'}, 1),
        ({'SLURM_CPUS_PER_TASK': ''}, 1),
    ],
)
def test_the_number_of_threads_is_the_number_of_allocated_cores(environment, threads):
    assert allocated_threads(environment) == threads


@pytest.mark.integration
def test_a_job_restarts_with_the_allocated_threads_before_numpy_is_imported():
    environment = {**os.environ, 'OMP_NUM_THREADS': '7', 'SLURM_CPUS_PER_TASK': '1'}
    code = (
        'import os; from aiida_mlip_autopipe.jobs.allocated import use_allocated_threads\n'
        'print("start", os.environ["OMP_NUM_THREADS"]); use_allocated_threads()'
    )
    done = subprocess.run(
        [sys.executable, '-u', '-c', code], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ['start', '7', 'start', '1']
