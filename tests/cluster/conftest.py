"""Fixtures of the cluster that ``up.sh`` started: computers, codes, campaigns and explorations."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
from aiida import orm
from support.aiida_fixtures import *  # noqa: F403
from support.cluster import IMAGES, SOFTWARE, STACK, Cluster
from support.tiny_campaign import change_campaign, write_structures
from support.waiting import wait_for

from aiida_mlip_autopipe.calculations.explore import exploration_inputs
from aiida_mlip_autopipe.data.seed import SeedData
from aiida_mlip_autopipe.exploration import CALCULATORS, RUNNER_VERSION, ExplorationSettings
from aiida_mlip_autopipe.installation.codes import store_self_test, stored_environment
from aiida_mlip_autopipe.installation.images import PYTHON_IN_IMAGE
from aiida_mlip_autopipe.jobs.resources import JobResources
from aiida_mlip_autopipe.structures.seed import Seed
from aiida_mlip_autopipe.workflows.exploration import ExplorationWorkChain
from aiida_mlip_autopipe.workflows.inputs.job_code import JobCode
from aiida_mlip_autopipe.workflows.inputs.models import model_node, place_models

ENGINE = 'apptainer exec --bind $PWD --pwd $PWD {image_name}'


@pytest.fixture(scope='session', autouse=True)
def cluster():
    """The cluster; ``make test-cluster`` starts it."""
    assert (STACK / 'environment').is_file(), f'no cluster in {STACK}; start it with tests/cluster/up.sh'
    with pytest.MonkeyPatch.context() as patch:
        # SSH connections, including those of the daemon, read ~/.ssh/config.
        patch.setenv('HOME', str(STACK / 'home'))
        patch.setenv('SLURM_CONF', str(STACK / 'slurm' / 'slurm.conf'))
        # The cluster must not import from the folders of the user.
        patch.delenv('PYTHONPATH', raising=False)
        # Jobs without SSH run as root, and root may lack privileges in a container.
        patch.setenv('APPTAINER_NO_PRIVS', '1')
        yield Cluster()


@pytest.fixture(scope='session')
def daemon(cluster, aiida_profile):
    """A daemon that retries a failed transport task after 4 s, 8 s, 16 s and 32 s."""
    from aiida.engine.daemon.client import get_daemon_client
    from aiida.manage.configuration import get_config

    config = get_config()
    config.set_option('transport.task_retry_initial_interval', 4, scope=aiida_profile.name)
    config.store()
    client = get_daemon_client()
    client.start_daemon()
    yield client
    client.stop_daemon(wait=False)
    wait_for(lambda: not client.is_daemon_running, 60, 'the end of the daemon')


@pytest.fixture(scope='session')
def computers(cluster, add_computer):
    """The computers ``localhost`` (this machine, without a scheduler) and ``hpc`` (the cluster, over SSH)."""
    from aiida_mlip_autopipe.installation.codes import ensure_computer

    local, _ = ensure_computer()
    local.set_use_double_quotes(True)
    add_computer('hpc', cluster.home / 'scratch')
    return ('localhost', 'hpc')


@pytest.fixture(scope='session')
def add_computer(aiida_profile):
    """Return a function that adds the cluster as a computer with a work directory."""

    def add(label, work_folder):
        computer = orm.Computer(
            label=label,
            hostname='hpc',
            transport_type='core.ssh_async',
            scheduler_type='core.slurm',
            workdir=str(work_folder),
        ).store()
        computer.set_use_double_quotes(True)
        computer.set_minimum_job_poll_interval(1)
        computer.set_default_mpiprocs_per_machine(1)
        computer.configure(safe_interval=0)
        return computer

    return add


@pytest.fixture(scope='session')
def read_record(cluster):
    """Return a function that reads the environment record of an image or an interpreter."""

    @cache
    def read(image, python, kind):
        settings = json.dumps({'kind': kind, 'model': 'any'} if kind == 'mace' else {'kind': kind})
        start = [python] if image is None else ['apptainer', '--quiet', 'exec', image, python]
        found = cluster.run(*start, '-m', 'aiida_mlip_autopipe.exploration', '--environment', settings)
        return {**json.loads(found), 'device': 'cpu', 'threads': 1}

    return read


@pytest.fixture(scope='session')
def make_code(computers, read_record):
    """Return a function that creates the code of an environment or an image, once for each computer and name.

    The codes have environment records, as after a self-test. A code that cannot run has those of another code.
    """
    made = {}
    base = str(SOFTWARE / 'base' / 'bin' / 'python')

    def record(code, image, python):
        for kind in ('emt', 'lj', 'sevennet', 'mace', 'gpaw'):
            try:
                environment = read_record(image, python, kind)
            except (AssertionError, OSError):
                environment = read_record(None, base, kind)
            store_self_test(code, {'kind': kind}, {'calculator': kind, 'environment': environment})

    def make(computer, name, image=None, python=None, engine=ENGINE, prepend_text=''):
        if (computer, name) not in made:
            common = {
                'prepend_text': prepend_text,
                'label': name,
                'computer': orm.load_computer(computer),
                'default_calc_job_plugin': 'mlip_autopipe.explore',
                'with_mpi': False,
            }
            if image is None:
                code = orm.InstalledCode(filepath_executable=str(python or base), **common)
            else:
                code = orm.ContainerizedCode(
                    filepath_executable=python or PYTHON_IN_IMAGE,
                    engine_command=engine,
                    image_name=str(image),
                    **common,
                )
            made[computer, name] = code.store()
            record(code, image and str(image), str(python or (base if image is None else PYTHON_IN_IMAGE)))
        return made[computer, name]

    return make


@pytest.fixture(scope='session')
def emt(make_code):
    """EMT in an environment on the cluster."""
    return make_code('hpc', 'emt-installed')


@pytest.fixture(scope='session')
def emt_image(make_code):
    """EMT in a container on the cluster."""
    return make_code('hpc', 'emt-image', IMAGES / 'base.sif')


@pytest.fixture(scope='session')
def campaign_config(tmp_path_factory):
    """Return a function that makes the config of the integration campaign, with some sections changed."""
    folder = write_structures(tmp_path_factory.mktemp('campaign'))

    def make(execution, **sections):
        return change_campaign(folder, {'execution': {'reuse_finished': False, **execution}, **sections})

    return make


@pytest.fixture(scope='session')
def run_campaign(daemon, campaign_config):
    """Return a function that runs the integration campaign with some sections changed, and returns its node."""
    from aiida.engine import submit

    from aiida_mlip_autopipe.workflows.dataset import DatasetWorkChain

    def run(execution, seconds=120, **sections):
        node = submit(DatasetWorkChain.get_builder_from_config(campaign_config(execution, **sections)))
        wait_for(lambda: node.is_terminated, seconds, f'the campaign {node.pk}')
        return node

    return run


@pytest.fixture(scope='session')
def explore(daemon):
    """Return a function that submits the exploration of a seed of copper and returns its node."""
    from aiida.engine import submit
    from ase.build import bulk

    def start(
        code,
        options=None,
        calculator=None,
        retry_memory_factor=1.0,
        image_sha256=None,
        full_trajectory_interval=None,
        stash=None,
        model=None,
        **settings,
    ):
        calculator = calculator or {'kind': 'emt'}
        job_code = JobCode(code, CALCULATORS.load(calculator['kind']).settings_class(**calculator), JobResources())
        job_code = replace(job_code, model=model or model_node(job_code.calculator, code))
        place_models([job_code], print)
        exploration = ExplorationSettings(
            **{'temperature_K': 300, 'n_steps': 100, 'frame_interval': 10, 'checkpoint_interval': 50, **settings}
        )
        job = {
            **job_code.inputs(orm.Dict(stored_environment(code, calculator).model_dump(mode='json'))),
            'seed': SeedData.from_seed(Seed(bulk('Cu', cubic=True) * (2, 2, 2), {'kind': 'structures'})),
            'random_seed': orm.Int(1),
            **exploration_inputs(exploration),
            'runner_version': orm.Str(RUNNER_VERSION),
            'metadata': {
                'options': {
                    'resources': {'num_machines': 1, 'num_mpiprocs_per_machine': 1},
                    'max_wallclock_seconds': 600,
                    'rerunnable': True,
                    **(options or {}),
                }
            },
        }
        if image_sha256:
            job['image_sha256'] = orm.Str(image_sha256)
        if full_trajectory_interval:
            job['full_trajectory_interval'] = orm.Int(full_trajectory_interval)
        return submit(
            ExplorationWorkChain,
            job=job,
            **({} if stash is None else {'stash': stash}),
            max_iterations=orm.Int(6),
            retry_memory_factor=retry_memory_factor,
        )

    return start


@pytest.fixture(scope='session')
def wait_for_end():
    """Return a function that waits until a process has ended and returns its node."""

    def wait(node, seconds=200):
        wait_for(lambda: node.is_terminated, seconds, f'{node.process_label} {node.pk}')
        return node

    return wait


@pytest.fixture(scope='session')
def job_with_checkpoint():
    """Return a function that waits for the first checkpoint of a leg of an exploration and returns the job."""

    def wait(node, leg=1, seconds=120):
        def find():
            jobs = sorted((job for job in node.called if isinstance(job, orm.CalcJobNode)), key=lambda job: job.pk)
            if len(jobs) < leg or 'remote_folder' not in jobs[leg - 1].outputs:
                return None
            job = jobs[leg - 1]
            folder = Path(job.outputs.remote_folder.get_remote_path())
            return job if job.get_job_id() and os.path.exists(folder / 'checkpoint.npz') else None

        return wait_for(find, seconds, f'leg {leg} of {node.pk}')

    return wait
