"""A job's hash includes its environment record but not the paths of packages."""

from __future__ import annotations

import os

import numpy as np
import pytest
from aiida import orm
from aiida.engine import run_get_node
from ase.build import bulk
from support.environments import environment_of
from support.errors import refused

from aiida_mlip_autopipe.aiida_internals import use_cache
from aiida_mlip_autopipe.calculations.explore import ExplorationCalculation, exploration_inputs
from aiida_mlip_autopipe.calculations.export_dataset import software_of
from aiida_mlip_autopipe.calculators.kinds.custom import CustomSettings
from aiida_mlip_autopipe.calculators.kinds.emt import EMTSettings
from aiida_mlip_autopipe.calculators.kinds.sevennet import SevenNetSettings
from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.data.seed import SeedData
from aiida_mlip_autopipe.exploration import RUNNER_VERSION, ExplorationSettings
from aiida_mlip_autopipe.installation.codes import store_environment, store_self_test, stored_environment
from aiida_mlip_autopipe.jobs.environment import Environment
from aiida_mlip_autopipe.jobs.resources import JobResources
from aiida_mlip_autopipe.structures.seed import Seed
from aiida_mlip_autopipe.workflows.inputs.codes import user_python_path
from aiida_mlip_autopipe.workflows.inputs.environments import Environments
from aiida_mlip_autopipe.workflows.inputs.job_code import JobCode

MINE = """
from ase.calculators.emt import EMT


class MyEMT(EMT):
    def calculate(self, *args, **kwargs):
        super().calculate(*args, **kwargs)
        for name in ('energy', 'free_energy', 'forces', 'stress'):
            self.results[name] = {factor} * self.results[name]
"""
CUSTOM = CustomSettings(calculator='mine_of_campaign:MyEMT', cutoff_A=3.0)


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """Return a function that writes the module of a custom calculator into a folder on the user's PYTHONPATH."""
    folder = tmp_path / 'modules'
    folder.mkdir()
    monkeypatch.setenv('PYTHONPATH', str(folder))
    return lambda factor: (folder / 'mine_of_campaign.py').write_text(MINE.format(factor=factor))


@pytest.fixture
def explore(emt_code):
    """Return a function that runs a small exploration and uses the cache."""

    def run(calculator, messages=None):
        one = JobCode(emt_code, calculator, JobResources())
        messages = [] if messages is None else messages
        exploration = ExplorationSettings(temperature_K=300, n_steps=4, frame_interval=2)
        with use_cache('mlip_autopipe.explore', enabled=True):
            _, node = run_get_node(
                ExplorationCalculation,
                **one.inputs(Environments(messages.append).node(one)),
                seed=SeedData.from_seed(Seed(bulk('Cu', cubic=True), {'kind': 'structures'})),
                random_seed=orm.Int(1),
                **exploration_inputs(exploration),
                runner_version=orm.Str(RUNNER_VERSION),
                python_path=user_python_path(),
            )
        assert node.is_finished_ok, node.exit_message
        return node

    return run


@pytest.mark.integration
def test_an_edited_custom_calculator_is_reported_and_only_its_first_version_is_reused(mine, explore):
    messages = []
    mine(1.0)
    first = explore(CUSTOM, messages)
    assert messages == []
    mine(3.0)
    edited = explore(CUSTOM, messages)
    assert len(messages) == 1
    assert 'mine_of_campaign' in messages[0]
    assert not edited.base.caching.is_created_from_cache
    energies = [node.outputs.trajectory.get_array('energies') for node in (first, edited)]
    assert not np.allclose(*energies)
    rows = [software_of(node.outputs.trajectory.base.attributes.get('about')) for node in (first, edited)]
    rows = [row.model_dump() for row in rows]
    assert {name for name in rows[0] if rows[0][name] != rows[1][name]} == {'environment', 'source_sha256'}
    assert rows[0]['source_sha256'] is not None
    mine(1.0)
    again = explore(CUSTOM)
    assert again.base.caching.get_cache_source() == first.uuid


@pytest.mark.integration
def test_another_python_path_changes_no_hash(mine, explore, monkeypatch, tmp_path):
    first = explore(EMTSettings())
    monkeypatch.setenv('PYTHONPATH', f'{os.environ["PYTHONPATH"]}:{tmp_path}')
    again = explore(EMTSettings())
    assert again.base.caching.is_created_from_cache
    assert again.inputs.environment.pk != first.inputs.environment.pk
    hashed = again.base.caching.get_objects_to_hash()['attributes']
    assert not hashed['environment_variables']
    assert str(tmp_path) not in str(hashed)


@pytest.fixture
def make_code(emt_code):
    """Return a function that makes a code without a record, on this machine or on a cluster."""
    clusters = {}

    def make(remote, python):
        if remote and not clusters:
            about = {'hostname': 'nowhere', 'transport_type': 'core.ssh_async', 'scheduler_type': 'core.slurm'}
            label = f'cluster-{orm.QueryBuilder().append(orm.Computer).count()}'
            clusters['one'] = orm.Computer(label=label, workdir='/scratch', **about).store()
        computer = clusters['one'] if remote else emt_code.computer
        label = f'bare-{orm.QueryBuilder().append(orm.InstalledCode).count()}'
        return orm.InstalledCode(label=label, computer=computer, filepath_executable=python).store()

    return make


@pytest.fixture
def remote(make_code):
    return make_code(True, '/usr/bin/python3')


def read_record(code, calculator, resources=None, messages=None):
    """Return the environment record of the jobs of a code."""
    one = JobCode(code, calculator, resources or JobResources())
    return Environment.model_validate(
        Environments([].append if messages is None else messages.append).node(one).get_dict()
    )


def store_record(code, kind, **changes):
    environment = environment_of({'kind': kind}).model_copy(update=changes)
    store_self_test(code, {'kind': kind}, {'environment': environment.model_dump(mode='json')})
    return environment


def test_a_remote_code_without_a_record_is_refused_with_the_command_that_records_it(remote):
    with refused(Code.ENVIRONMENT_MISSING, f'mlip-autopipe calculator test {remote.full_label}'):
        read_record(remote, EMTSettings())
    with refused(Code.ENVIRONMENT_MISSING, f'calculator test {remote.full_label} --config'):
        read_record(remote, CUSTOM)
    store_record(remote, 'emt', numpy='1.0')
    assert read_record(remote, EMTSettings()).numpy == '1.0'


@pytest.mark.integration
def test_a_local_code_without_a_record_is_tested_and_recorded(make_code, emt_code):
    code = make_code(False, str(emt_code.filepath_executable))
    assert stored_environment(code, {'kind': 'emt'}) is None
    assert read_record(code, EMTSettings()) == environment_of() == stored_environment(code, {'kind': 'emt'})


@pytest.mark.integration
def test_a_changed_package_on_this_machine_is_reported_once(emt_code):
    calculator = EMTSettings().model_dump(mode='json')
    now, messages = stored_environment(emt_code, calculator), []
    store_environment(emt_code, calculator, now.model_copy(update={'ase': '3.20.0'}))
    assert read_record(emt_code, EMTSettings(), messages=messages) == now
    assert read_record(emt_code, EMTSettings(), messages=messages) == now
    (message,) = messages
    assert f'ase 3.20.0 -> {now.ase}' in message


@pytest.mark.integration
def test_jobs_without_a_calculator_have_a_record_without_one(emt_code, remote):
    assert record_without_calculator(emt_code) == environment_of().without_calculator()
    with refused(Code.ENVIRONMENT_MISSING, f'calculator test {remote.full_label}'):
        record_without_calculator(remote)
    store_record(remote, 'lj')
    assert record_without_calculator(remote) == environment_of().without_calculator()


def record_without_calculator(code):
    node = Environments().node_without_calculator(JobCode(code, EMTSettings(), JobResources()))
    return Environment.model_validate(node.get_dict())


def test_the_record_has_the_number_of_threads_of_the_job(emt_code, remote, monkeypatch):
    store_record(remote, 'emt')
    monkeypatch.setattr(os, 'sched_getaffinity', lambda pid: {0, 1})
    assert read_record(remote, EMTSettings(), JobResources(cpus_per_job=8)).threads == 8
    assert read_record(emt_code, EMTSettings(), JobResources(cpus_per_job=8)).threads == 2
    assert read_record(emt_code, EMTSettings()).threads == 1


def test_the_device_comes_from_the_settings_or_else_from_the_self_test(remote):
    store_record(remote, 'sevennet', device='cuda')
    assert read_record(remote, SevenNetSettings()).device == 'cuda'
    assert read_record(remote, SevenNetSettings(device='cpu')).device == 'cpu'
    one = JobCode(remote, SevenNetSettings(device='cpu'), JobResources())
    assert 'device' not in one.inputs(Environments().node(one))['calculator'].get_dict()


def test_a_gpu_that_a_job_would_not_use_is_refused(remote):
    store_record(remote, 'sevennet', device='cpu')
    store_record(remote, 'emt')
    gpu = JobResources(gpus_per_job=1)
    with refused(Code.GPU_MISSING, f'calculator test {remote.full_label} gpus_per_job=1'):
        read_record(remote, SevenNetSettings(), gpu)
    assert read_record(remote, SevenNetSettings(device='cpu'), gpu).device == 'cpu'
    assert read_record(remote, EMTSettings(), gpu).device == 'cpu'
