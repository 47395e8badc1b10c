"""Deliberately caused failures of a cluster. No seed and no retrieved frame is lost."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from aiida import orm
from support.cluster import IMAGES, why_ended
from support.waiting import wait_for

from aiida_mlip_autopipe.calculations.explore import ExplorationCalculation
from aiida_mlip_autopipe.data.model import ModelData
from aiida_mlip_autopipe.generation import generate_seeds
from aiida_mlip_autopipe.workflows.exploration import ExplorationWorkChain
from aiida_mlip_autopipe.workflows.inputs.codes import choose_code, job_codes

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(400)]

JOB = ExplorationCalculation.exit_codes
# About five seconds of EMT on an idle machine, which leaves time to disturb the run.
DISTURBED = {'n_steps': 1500, 'frame_interval': 50, 'checkpoint_interval': 50}


def jobs_of(node):
    return sorted((job for job in node.called if isinstance(job, orm.CalcJobNode)), key=lambda job: job.pk)


def steps_of(node):
    return np.concatenate([leg.get_array('steps') for _, leg in sorted(node.outputs.legs.items())])


def assert_nothing_is_lost(node):
    """Check that the legs together contain each frame exactly once."""
    assert node.is_finished_ok, why_ended(node)
    np.testing.assert_array_equal(steps_of(node), range(50, 1501, 50))


def remote_folder(job):
    return Path(job.outputs.remote_folder.get_remote_path())


def test_a_cancelled_job_is_parsed_and_continued(cluster, emt, explore, job_with_checkpoint, wait_for_end):
    node = explore(emt, **DISTURBED)
    job = job_with_checkpoint(node)
    cluster.run('scancel', job.get_job_id())
    wait_for_end(node)
    assert cluster.job_facts(job.get_job_id(), 'State')[0].startswith('CANCELLED')
    assert job.exit_status == JOB.ERROR_OUT_OF_WALLTIME.status
    assert len(job.outputs.trajectory.get_stepids()) >= 1
    assert_nothing_is_lost(node)


# Ignores SIGTERM, as the prologue of a job may do. Only the first job sleeps.
IGNORES_SIGNAL = "if [ -e $HOME/once ]; then rm $HOME/once; (trap '' TERM; sleep 300); fi"


def test_a_job_that_is_cancelled_before_its_runner_starts_is_submitted_again(cluster, explore, make_code, wait_for_end):
    """One job is cancelled in the queue, the other in its prologue."""
    cluster.ssh('touch $HOME/once')
    in_prologue = explore(make_code('hpc', 'emt-prologue', prepend_text=IGNORES_SIGNAL))
    cluster.run('scontrol', 'update', 'partitionname=spare', 'state=down')
    try:
        waiting = explore(make_code('hpc', 'emt-installed'), options={'queue_name': 'spare'})
        wait_for(lambda: submitted(waiting), 60, 'the waiting job')
        assert cluster.queue_facts(submitted(waiting).get_job_id())['JobState'] == 'PENDING'
        cluster.run('scancel', submitted(waiting).get_job_id())
        wait_for(lambda: submitted(in_prologue) and not (cluster.home / 'once').exists(), 60, 'the job in its prologue')
        cluster.run('scancel', submitted(in_prologue).get_job_id())
        wait_for(lambda: jobs_of(waiting)[0].is_terminated, 60, 'the end of the waiting job')
    finally:
        cluster.run('scontrol', 'update', 'partitionname=spare', 'state=up')
    for node in (waiting, in_prologue):
        wait_for_end(node)
        first, second = jobs_of(node)
        assert first.exit_status == JOB.ERROR_CANCELLED.status, first.exit_message
        assert second.is_finished_ok
        assert node.is_finished_ok, why_ended(node)


def test_an_exploration_fails_after_three_cancelled_jobs(cluster, emt, explore, wait_for_end):
    node = explore(emt, options={'custom_scheduler_commands': '#SBATCH --hold'})
    for number in (1, 2, 3):
        job = wait_for(lambda number=number: submitted(node, number), 60, f'job {number}')
        cluster.run('scancel', job.get_job_id())
    wait_for_end(node)
    assert node.exit_status == ExplorationWorkChain.exit_codes.ERROR_JOBS_LOST.status
    assert len(jobs_of(node)) == 3


def submitted(node, number=1):
    """Return a job of an exploration once the scheduler has it."""
    jobs = jobs_of(node)
    return jobs[number - 1] if len(jobs) >= number and jobs[number - 1].get_job_id() else None


def test_a_leg_does_not_need_the_folder_of_an_earlier_leg(
    cluster, emt_image, explore, job_with_checkpoint, wait_for_end
):
    node = explore(emt_image, **DISTURBED)
    first = job_with_checkpoint(node)
    cluster.run('scancel', first.get_job_id())
    job_with_checkpoint(node, leg=2)
    cluster.ssh(f'rm -rf {remote_folder(first)}')
    wait_for_end(node)
    assert len(jobs_of(node)) == 2
    assert not remote_folder(first).exists()
    assert_nothing_is_lost(node)


def test_a_requeued_job_continues_from_its_checkpoint(cluster, emt_image, explore, job_with_checkpoint, wait_for_end):
    node = explore(emt_image, **DISTURBED)
    job = job_with_checkpoint(node)
    cluster.run('scontrol', 'requeue', job.get_job_id())
    wait_for_end(node)
    assert cluster.queue_facts(job.get_job_id())['Restarts'] == '1'
    # AiiDA does not notice the requeue, so there is one job.
    assert [one.pk for one in jobs_of(node)] == [job.pk]
    assert job.outputs.result['first_step'] == 0
    assert_nothing_is_lost(node)


@pytest.mark.alone
def test_a_preempted_job_continues_from_its_checkpoint(cluster, emt, explore, job_with_checkpoint, wait_for_end):
    node = explore(emt, **DISTURBED)
    job = job_with_checkpoint(node)
    cluster.ssh('sbatch --partition=urgent --nodes=2 --exclusive --output=/dev/null --wrap=true')
    wait_for_end(node)
    assert cluster.queue_facts(job.get_job_id())['Restarts'] == '1'
    assert [one.pk for one in jobs_of(node)] == [job.pk]
    assert_nothing_is_lost(node)


@pytest.mark.alone
@pytest.mark.parametrize('requeue', [True, False], ids=['Slurm requeues it', 'Slurm ends it'])
def test_a_job_whose_node_goes_down_is_continued(cluster, emt, explore, job_with_checkpoint, wait_for_end, requeue):
    node = explore(emt, options={'rerunnable': requeue}, **DISTURBED)
    job = job_with_checkpoint(node)
    where = cluster.queue_facts(job.get_job_id())['NodeList']
    cluster.run('scontrol', 'update', f'nodename={where}', 'state=down', 'reason=test')
    try:
        wait_for_end(node)
    finally:
        cluster.bring_up(where)
    if requeue:
        assert cluster.queue_facts(job.get_job_id())['Restarts'] == '1'
        assert len(jobs_of(node)) == 1
    else:
        # An administrator set the node to DOWN, so the runner gets a signal and writes its checkpoint.
        assert cluster.job_facts(job.get_job_id(), 'State') == ['NODE_FAIL']
        assert job.exit_status == JOB.ERROR_OUT_OF_WALLTIME.status
        assert len(jobs_of(node)) == 2
    assert_nothing_is_lost(node)


def test_a_job_that_ran_out_of_memory_runs_again_with_more_memory(cluster, emt, explore, wait_for_end):
    node = explore(emt, options={'max_memory_kb': 30 * 1024}, retry_memory_factor=20.0)
    wait_for_end(node)
    first, second = jobs_of(node)
    assert cluster.job_facts(first.get_job_id(), 'State') == ['OUT_OF_MEMORY']
    assert first.exit_status == JOB.ERROR_SCHEDULER_OUT_OF_MEMORY.status
    assert second.get_option('max_memory_kb') == 600 * 1024
    assert node.is_finished_ok, why_ended(node)


def test_an_exploration_fails_after_two_jobs_ran_out_of_memory(emt, explore, wait_for_end):
    node = explore(emt, options={'max_memory_kb': 15 * 1024}, retry_memory_factor=2.0)
    wait_for_end(node)
    assert len(jobs_of(node)) == 2
    assert node.exit_status == ExplorationWorkChain.exit_codes.ERROR_OUT_OF_MEMORY.status


@pytest.mark.alone
def test_nothing_is_lost_if_the_cluster_is_unreachable_for_half_a_minute(
    cluster, emt, explore, job_with_checkpoint, wait_for_end
):
    node = explore(emt, **DISTURBED)
    job_with_checkpoint(node)
    cluster.stop_sshd()
    try:
        time.sleep(30)  # the outage to test
    finally:
        cluster.start_sshd()
    wait_for_end(node)
    assert len(jobs_of(node)) == 1
    assert_nothing_is_lost(node)


@pytest.fixture
def small_disk(cluster, add_computer):
    """The cluster with a work directory of one megabyte."""
    folder = cluster.home / 'small'
    folder.mkdir(exist_ok=True)
    cluster.run('mount', '-t', 'tmpfs', '-o', 'size=1m,mode=777', 'tmpfs', folder)
    yield add_computer('small', folder).label
    cluster.run('umount', '--lazy', folder)
    folder.rmdir()


def find_random_seed(random_seeds, codes, config):
    """Return the first random seed for which each of two codes gets one of two seeds."""
    keys = [one.key for one in codes]
    for random_seed in random_seeds:
        seeds = generate_seeds(config.generation, random_seed=random_seed, cutoff_A=5.0).seeds
        chosen = {choose_code(random_seed, f'seed_{seed.seed_id}', keys) for seed in seeds}
        if len(seeds) == len(chosen) == 2:
            return random_seed
    raise AssertionError('no random seed assigns the seeds to two codes')


@pytest.mark.chaos
def test_an_exploration_that_fills_the_disk_keeps_its_frames_and_the_campaign_continues(
    small_disk, emt, make_code, run_campaign, campaign_config
):
    """A frame takes 2 kB, so the disk is full before the last of 1,500."""
    small_disk_code = make_code(small_disk, 'emt-small-disk')
    sections = {
        'generation': [{'kind': 'structures', 'files': ['al.xyz'], 'perturb': {'rattle_A': 0.05, 'n_variants': 2}}],
        'exploration': {'n_steps': 1500, 'frame_interval': 1, 'checkpoint_interval': 100},
        'sampling': {'kind': 'random', 'n_structures': 10},
        'execution': {'codes': [{'code': emt.full_label}, {'code': small_disk_code.full_label}]},
    }
    config = campaign_config(**sections)
    sections['random_seed'] = find_random_seed(range(50), job_codes(config), config)
    campaign = run_campaign(sections.pop('execution'), seconds=200, **sections)
    nodes = [node for node in campaign.called if node.process_class is ExplorationWorkChain]
    (full,) = [node for node in nodes if jobs_of(node)[0].computer.label == small_disk]
    (other,) = [node for node in nodes if node != full]
    (job,) = jobs_of(full)
    assert job.exit_status == JOB.ERROR_DISK_FULL.status
    assert 'No space left on device' in why_ended(full)
    # All frames on the disk are retrieved, including those after the last checkpoint.
    steps = steps_of(full)
    assert len(steps) > 100
    np.testing.assert_array_equal(steps, range(1, len(steps) + 1))
    assert len(steps) >= job.outputs.result['n_frames'] - 1
    assert other.is_finished_ok
    assert campaign.is_finished_ok, campaign.exit_message


def test_a_missing_image_ends_the_exploration(make_code, explore, wait_for_end):
    node = explore(make_code('hpc', 'emt-nowhere', '/nowhere/base.sif'))
    wait_for_end(node)
    (job,) = jobs_of(node)
    assert job.exit_status == JOB.ERROR_IMAGE_MISSING.status
    assert '/nowhere/base.sif' in why_ended(node)


def test_an_unexpected_image_is_refused(emt_image, explore, wait_for_end):
    node = explore(emt_image, image_sha256='0' * 64)
    wait_for_end(node)
    (job,) = jobs_of(node)
    assert job.exit_status == JOB.ERROR_MODEL_MISMATCH.status
    assert 'image' in why_ended(node)


def test_an_unexpected_model_is_refused(make_code, explore, wait_for_end):
    code = make_code('hpc', 'sevennet-image', IMAGES / 'sevennet.sif')
    model = ModelData.from_shipped('7net-0', '0' * 64, 'sevennet')
    node = explore(code, calculator={'kind': 'sevennet'}, model=model)
    wait_for_end(node)
    (job,) = jobs_of(node)
    assert job.exit_status == JOB.ERROR_MODEL_MISMATCH.status
    assert '000000000000' in why_ended(node)


@pytest.mark.long
def test_a_job_that_reaches_its_wall_time_continues_from_its_checkpoint(cluster, emt, explore, wait_for_end):
    """The time limits of Slurm are multiples of one minute, so this test takes at least a minute."""
    settings = {'n_steps': 22000, 'frame_interval': 1000, 'checkpoint_interval': 1000}
    node = explore(emt, options={'max_wallclock_seconds': 60}, **settings)
    wait_for_end(node, 360)
    assert node.is_finished_ok, why_ended(node)
    jobs = jobs_of(node)
    assert len(jobs) > 1
    assert all(job.exit_status == JOB.ERROR_OUT_OF_WALLTIME.status for job in jobs[:-1])
    np.testing.assert_array_equal(steps_of(node), range(1000, 22001, 1000))
