"""The part of a job script that precedes the program, run by a real shell."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from aiida import orm
from aiida.engine import run_get_node

from aiida_mlip_autopipe.calculations.batch_shell import prepend_text
from aiida_mlip_autopipe.calculations.self_test import SelfTestCalculation
from aiida_mlip_autopipe.installation.images import PYTHON_IN_IMAGE, engine_command
from aiida_mlip_autopipe.jobs.resources import JobResources
from aiida_mlip_autopipe.workflows.inputs.codes import job_options


@pytest.fixture(scope='module')
def cluster(aiida_profile):
    return orm.Computer(
        label='cluster-of-shell',
        hostname='nowhere',
        transport_type='core.ssh_async',
        scheduler_type='core.slurm',
        workdir='/scratch',
    ).store()


@pytest.fixture(scope='module')
def image(cluster):
    return orm.ContainerizedCode(
        label='image',
        computer=cluster,
        filepath_executable=PYTHON_IN_IMAGE,
        image_name='/images/mace.sif',
        engine_command=engine_command('/models'),
    ).store()


def variables(code, python_path='', threads=1, device=None, **environment):
    """Return the environment variables of a job's program, for a script with these variables."""
    # In AiiDA's order: the lines of the code come first.
    script = f'{code.prepend_text}\n{prepend_text(code, python_path, threads, device)}\nenv -0'
    start = {'PATH': os.environ['PATH'], 'MLIP_AUTOPIPE_INNER': '1', **environment}
    done = subprocess.run(['bash', '-c', script], env=start, capture_output=True, text=True, check=True)
    return dict(line.split('=', 1) for line in done.stdout.split('\0') if line)


def test_a_local_job_uses_the_python_path_of_the_user_and_not_of_the_daemon(emt_code):
    assert variables(emt_code, "/the user's", PYTHONPATH='/of/the/daemon')['PYTHONPATH'] == "/the user's"
    assert variables(emt_code, PYTHONPATH='/of/the/daemon')['PYTHONPATH'] == ''


def test_the_lines_of_a_code_can_extend_the_python_path_of_the_user(emt_code):
    code = orm.InstalledCode(
        label='with-module',
        computer=emt_code.computer,
        filepath_executable='/usr/bin/python3',
        prepend_text='export PYTHONPATH=/of/a/module:$PYTHONPATH',
    )
    found = variables(code, '/of/the/user', PYTHONPATH='/of/the/daemon')
    assert found['PYTHONPATH'] == '/of/a/module:/of/the/user'


def test_a_remote_job_keeps_the_python_path_of_its_login_shell(image):
    assert variables(image, '/of/the/user', PYTHONPATH='/there')['PYTHONPATH'] == '/there'


def test_the_number_of_threads_is_set(emt_code, image):
    assert variables(emt_code, threads=3, OMP_NUM_THREADS='8')['OMP_NUM_THREADS'] == '3'
    assert variables(image, threads=2)['OMP_NUM_THREADS'] == '2'


def test_a_container_gets_the_gpu_if_one_is_allocated_or_expected(emt_code, image):
    assert variables(image, device='cuda')['APPTAINER_NV'] == '1'
    assert variables(image, SLURM_JOB_GPUS='0')['APPTAINER_NV'] == '1'
    assert variables(image, CUDA_VISIBLE_DEVICES='0')['APPTAINER_NV'] == '1'
    assert 'APPTAINER_NV' not in variables(image, device='cpu')
    assert 'APPTAINER_NV' not in variables(emt_code, device='cuda')


def test_a_slurm_script_requests_the_gpu_and_sets_the_variables_before_it_runs_itself_again(
    image, tmp_path, monkeypatch
):
    # A dry run writes to the current folder.
    monkeypatch.chdir(tmp_path)
    builder = SelfTestCalculation.get_builder()
    builder.code = image
    builder.calculator = orm.Dict({'kind': 'emt'})
    builder.metadata.options = job_options(JobResources(gpus_per_job=1, cpus_per_job=4), image.computer)
    builder.metadata.dry_run = True
    builder.metadata.store_provenance = False
    folder = run_get_node(builder)[1].dry_run_info['folder']
    lines = Path(folder, '_aiidasubmit.sh').read_text().splitlines()
    assert '#SBATCH --gres=gpu:1' in lines
    places = [
        next(number for number, line in enumerate(lines) if words in line)
        for words in ('export APPTAINER_NV=1', 'bash "$0"', 'apptainer')
    ]
    assert places == sorted(places)
