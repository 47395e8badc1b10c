"""Legs that are recovered from the folders of killed jobs."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from aiida import orm
from aiida.common import LinkType
from aiida.engine import ProcessState, run_get_node
from ase.build import bulk
from support.environments import environment_of

from aiida_mlip_autopipe.calculations.explore import ExplorationCalculation, exploration_inputs
from aiida_mlip_autopipe.calculations.remote.recover import RecoverCalculation
from aiida_mlip_autopipe.campaigns.cleaning import clean_campaign
from aiida_mlip_autopipe.data.seed import SeedData
from aiida_mlip_autopipe.exploration import RUNNER_VERSION, ExplorationSettings
from aiida_mlip_autopipe.jobs.contract import CHECKPOINT_FILE, JOB_FILE, RESULT_FILE, SEED_FILE, TRAJECTORY_FILE
from aiida_mlip_autopipe.structures.seed import Seed
from aiida_mlip_autopipe.workflows.exploration import ExplorationWorkChain
from aiida_mlip_autopipe.workflows.graph import CAMPAIGN, find_jobs, previous_job
from aiida_mlip_autopipe.workflows.legs.earlier import find_earlier_legs

pytestmark = pytest.mark.integration

ARRAYS = ('steps', 'positions', 'cells', 'energies', 'forces', 'stresses', 'temperatures')
OPTIONS = {'resources': {'num_machines': 1, 'num_mpiprocs_per_machine': 1}}
COPPER = Seed(bulk('Cu', cubic=True), {'kind': 'structures'})
SETTINGS = {'temperature_K': 500, 'n_steps': 40, 'frame_interval': 5, 'checkpoint_interval': 10}


# Runs a job and kills its process after a checkpoint at step 20 and a frame at step 25.
KILLED_RUN = """
import os, signal
from pathlib import Path
from aiida_mlip_autopipe.exploration.explore import explore
from aiida_mlip_autopipe.exploration.simulation import Simulation
from aiida_mlip_autopipe.jobs.runner import run_job
store_frame = Simulation._store_frame
def store_and_die(self, *targets):
    store_frame(self, *targets)
    if self.step == 25:
        self.recorder.flush()
        os.kill(os.getpid(), signal.SIGKILL)
Simulation._store_frame = store_and_die
run_job(Path('job.json'), explore)
"""


def damage(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def foreign_checkpoint(path: Path) -> None:
    """Replace the checkpoint by that of a run with another temperature."""
    text = (path / JOB_FILE).read_text().replace('"temperature_K": 500', '"temperature_K": 501')
    other = path / 'other'
    other.mkdir()
    shutil.copy(path / SEED_FILE, other)
    (other / JOB_FILE).write_text(text)
    run_killed(other)
    shutil.copy(other / CHECKPOINT_FILE, path)


# What happens to the folder of the killed job, and the exit code of the job that recovers its files; 401 continues.
CASES = {
    'intact': (lambda path: None, 401),
    'missing': (shutil.rmtree, 300),
    'no result': (lambda path: (path / RESULT_FILE).unlink(), 300),
    'damaged checkpoint': (lambda path: damage(path / CHECKPOINT_FILE), 304),
    'foreign checkpoint': (foreign_checkpoint, 304),
    'foreign seed': (lambda path: damage_seed_id(path / RESULT_FILE), 301),
    'truncated trajectory': (lambda path: truncate(path / TRAJECTORY_FILE), 303),
}
# Each case takes several seconds, so only the first one belongs to the short tests.
FOR_EACH_CASE = pytest.mark.parametrize(
    'case', [pytest.param(case, marks=() if case == 'intact' else pytest.mark.long) for case in CASES]
)


def damage_seed_id(path: Path) -> None:
    path.write_text(path.read_text().replace(COPPER.seed_id, 'another'))


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 3])


def run_killed(path: Path) -> None:
    done = subprocess.run([sys.executable, '-c', KILLED_RUN], cwd=path, check=False, capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr


def inputs_of(code, number=0):
    """Return the inputs of a job; the number changes them, but not its run."""
    settings = {**SETTINGS, 'recovery': {'max_recoveries': number}}
    return {
        'code': code,
        'seed': SeedData.from_seed(COPPER).store(),
        'random_seed': orm.Int(1).store(),
        'calculator': orm.Dict({'kind': 'emt'}).store(),
        'environment': orm.Dict(environment_of().model_dump(mode='json')).store(),
        **{
            name: node.store() if isinstance(node, orm.Data) else node
            for name, node in exploration_inputs(ExplorationSettings(**settings)).items()
        },
        'runner_version': orm.Str(RUNNER_VERSION).store(),
        'metadata': {'options': OPTIONS},
    }


def frames(exploration):
    legs = [leg for _, leg in sorted(exploration.outputs.legs.items())]
    return {name: np.concatenate([leg.get_array(name) for leg in legs]) for name in ARRAYS}


def jobs_of(exploration):
    return sorted(exploration.called, key=lambda job: job.pk)


def reports(exploration):
    return ' '.join(log.message for log in orm.Log.collection.get_logs_for(exploration))


def fake_campaign(code, folder: Path, inputs, state=ProcessState.KILLED) -> str:
    """Store a campaign whose only job was killed and left a folder, and return its uuid."""
    campaign = orm.WorkChainNode(process_type=CAMPAIGN)
    campaign.set_process_state(state)
    campaign.store()
    exploration = orm.WorkChainNode(process_type=ExplorationWorkChain.build_process_type())
    exploration.base.links.add_incoming(campaign, LinkType.CALL_WORK, 'explore')
    exploration.set_process_state(state)
    exploration.store()
    job = orm.CalcJobNode(computer=code.computer, process_type=ExplorationCalculation.build_process_type())
    for name, node in inputs.items():
        if isinstance(node, orm.Data):
            job.base.links.add_incoming(node, LinkType.INPUT_CALC, name)
    job.base.links.add_incoming(exploration, LinkType.CALL_CALC, 'iteration_01')
    job.set_process_state(state)
    job.set_remote_workdir(str(folder))
    job.store()
    remote = orm.RemoteData(remote_path=str(folder), computer=code.computer)
    remote.base.links.add_incoming(job, LinkType.CREATE, 'remote_folder')
    remote.store()
    return campaign.uuid


@pytest.fixture(scope='module')
def undisturbed(emt_code):
    _, node = run_get_node(ExplorationWorkChain, job=inputs_of(emt_code, 99), reuse_finished=False)
    (job,) = jobs_of(node)
    # No case may take it from the cache.
    job.base.caching.is_valid_cache = False
    return node


@pytest.fixture(scope='module')
def run_case(emt_code, undisturbed, tmp_path_factory):
    """Return a function that runs the exploration of a case, which resumes a killed one, once."""
    killed, (job,) = tmp_path_factory.mktemp('killed'), jobs_of(undisturbed)
    for name in (JOB_FILE, SEED_FILE):
        shutil.copy(Path(job.get_remote_workdir()) / name, killed)
    run_killed(killed)

    @cache
    def run(case):
        number = list(CASES).index(case)
        folder = killed.with_name(f'folder_{number}')
        shutil.copytree(killed, folder)
        CASES[case][0](folder)
        inputs = inputs_of(emt_code, number)
        resumes = fake_campaign(emt_code, folder, inputs)
        return run_get_node(ExplorationWorkChain, job=inputs, reuse_finished=True, resumes=resumes)[1]

    return run


@FOR_EACH_CASE
def test_the_files_of_a_killed_job_are_used_only_if_they_are_complete_and_belong_to_it(run_case, case):
    exploration = run_case(case)
    recovery, job = jobs_of(exploration)
    assert (recovery.process_class, recovery.exit_status) == (RecoverCalculation, CASES[case][1])
    assert (job.process_class, job.exit_status) == (ExplorationCalculation, 0)
    is_continued = case == 'intact'
    assert ('checkpoint' in job.inputs) == is_continued
    assert str(recovery.inputs.parent_folder.creator.pk) in reports(exploration)
    assert ('trajectory' in recovery.outputs) == is_continued


@FOR_EACH_CASE
def test_a_resumed_run_is_bitwise_identical_to_an_uninterrupted_one(run_case, undisturbed, case):
    assert run_case(case).is_finished_ok
    expected = frames(undisturbed)
    for name, array in frames(run_case(case)).items():
        np.testing.assert_array_equal(array, expected[name], err_msg=name)


def test_the_folder_of_a_killed_job_is_kept_unless_removal_is_forced(emt_code, tmp_path):
    folder = tmp_path / 'job'
    folder.mkdir()
    campaign = orm.load_node(fake_campaign(emt_code, folder, inputs_of(emt_code, 50)))
    (job,) = find_jobs(campaign, {})
    cleaned = clean_campaign(campaign)
    assert (cleaned.n_removed, cleaned.killed) == (0, (job.pk,))
    assert folder.is_dir()
    cleaned = clean_campaign(campaign, force=True)
    assert (cleaned.n_removed, cleaned.killed) == (1, ())


def test_a_longer_run_continues_a_run_that_was_recovered_when_it_was_complete(emt_code, undisturbed, tmp_path):
    (job,) = jobs_of(undisturbed)
    folder = tmp_path / 'complete'
    shutil.copytree(job.get_remote_workdir(), folder)
    inputs = inputs_of(emt_code, 60)
    resumes = fake_campaign(emt_code, folder, inputs)
    _, node = run_get_node(ExplorationWorkChain, job=inputs, reuse_finished=True, resumes=resumes)
    (recovery,) = jobs_of(node)
    assert (recovery.process_class, recovery.exit_status) == (RecoverCalculation, 0)
    longer = {**inputs, 'n_steps': orm.Int(2 * SETTINGS['n_steps']).store()}
    legs = find_earlier_legs(longer).legs
    assert (legs.step, [one.pk for one in legs.jobs][-1]) == (SETTINGS['n_steps'], recovery.pk)


def test_only_steps_after_the_checkpoint_are_computed(run_case):
    recovery, job = jobs_of(run_case('intact'))
    assert job.outputs.result['first_step'] == 20
    assert recovery.outputs.trajectory.get_stepids().tolist() == [5, 10, 15, 20]
    assert previous_job(job).pk == recovery.pk
    assert previous_job(recovery).pk == recovery.inputs.parent_folder.creator.pk


@pytest.mark.long
def test_a_recovered_leg_is_taken_from_the_cache(emt_code, run_case):
    """Neither the recovery nor the leg after it is repeated, although this run resumes no campaign."""
    first = run_case('intact')
    _, node = run_get_node(ExplorationWorkChain, job=inputs_of(emt_code, 0), reuse_finished=True)
    assert all(job.base.caching.is_created_from_cache for job in jobs_of(node))
    for name, array in frames(node).items():
        np.testing.assert_array_equal(array, frames(first)[name], err_msg=name)
