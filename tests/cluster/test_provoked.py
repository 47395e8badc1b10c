"""What clusters do to jobs, done on purpose: no seed is lost, and no frame that was retrieved."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from aiida import orm
from support.cluster import IMAGES

from aiida_mlip_autopipe.calculations.explore import ExplorationCalculation
from aiida_mlip_autopipe.workflows.exploration import ExplorationWorkChain, why_ended

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(400)]

JOB = ExplorationCalculation.exit_codes
# About five seconds of EMT on an idle machine: long enough to be disturbed.
DISTURBED = {'n_steps': 1500, 'frame_interval': 50, 'checkpoint_interval': 50}


def jobs_of(node):
    return sorted((job for job in node.called if isinstance(job, orm.CalcJobNode)), key=lambda job: job.pk)


def steps_of(node):
    return np.concatenate([leg.get_array('steps') for _, leg in sorted(node.outputs.legs.items())])


def assert_nothing_is_lost(node):
    """All frames are there, once each, over all legs."""
    assert node.is_finished_ok, why_ended(node)
    np.testing.assert_array_equal(steps_of(node), range(50, 1501, 50))


def remote_folder(job):
    return Path(job.outputs.remote_folder.get_remote_path())


def test_a_job_that_is_cancelled_by_hand_is_parsed_and_continued(cluster, emt, start_exploration, job_at_work, ended):
    node = start_exploration(emt, **DISTURBED)
    job = job_at_work(node)
    cluster.run('scancel', job.get_job_id())
    ended(node)
    assert cluster.job_facts(job.get_job_id(), 'State')[0].startswith('CANCELLED')
    assert job.exit_status == JOB.ERROR_OUT_OF_WALLTIME.status
    assert len(job.outputs.trajectory.get_stepids()) >= 1
    assert_nothing_is_lost(node)


def test_a_folder_purged_between_legs_is_not_missed(cluster, emt_image, start_exploration, job_at_work, ended):
    node = start_exploration(emt_image, **DISTURBED)
    first = job_at_work(node)
    cluster.run('scancel', first.get_job_id())
    job_at_work(node, leg=2)
    cluster.ssh(f'rm -rf {remote_folder(first)}')
    ended(node)
    assert len(jobs_of(node)) == 2
    assert not remote_folder(first).exists()
    assert_nothing_is_lost(node)


def test_a_job_that_is_requeued_continues_its_own_checkpoint(cluster, emt_image, start_exploration, job_at_work, ended):
    node = start_exploration(emt_image, **DISTURBED)
    job = job_at_work(node)
    cluster.run('scontrol', 'requeue', job.get_job_id())
    ended(node)
    assert cluster.queue_facts(job.get_job_id())['Restarts'] == '1'
    # One job for AiiDA, which heard nothing of it.
    assert [one.pk for one in jobs_of(node)] == [job.pk]
    assert job.outputs.result['first_step'] == 0
    assert_nothing_is_lost(node)


@pytest.mark.parametrize('requeue', [True, False], ids=['that Slurm runs again', 'that Slurm gives up'])
def test_a_job_whose_node_goes_down(cluster, emt, start_exploration, job_at_work, ended, requeue):
    node = start_exploration(emt, options={'rerunnable': requeue}, **DISTURBED)
    job = job_at_work(node)
    where = cluster.queue_facts(job.get_job_id())['NodeList']
    cluster.run('scontrol', 'update', f'nodename={where}', 'state=down', 'reason=test')
    try:
        ended(node)
    finally:
        cluster.bring_up(where)
    if requeue:
        assert cluster.queue_facts(job.get_job_id())['Restarts'] == '1'
        assert len(jobs_of(node)) == 1
    else:
        # An administrator sets it down, so the runner is told and writes its checkpoint.
        assert cluster.job_facts(job.get_job_id(), 'State') == ['NODE_FAIL']
        assert job.exit_status == JOB.ERROR_OUT_OF_WALLTIME.status
        assert len(jobs_of(node)) == 2
    assert_nothing_is_lost(node)


def test_a_job_out_of_memory_is_run_once_more_with_more(cluster, emt, start_exploration, ended):
    node = start_exploration(emt, options={'max_memory_kb': 30 * 1024}, retry_memory_factor=20.0)
    ended(node)
    first, second = jobs_of(node)
    assert cluster.job_facts(first.get_job_id(), 'State') == ['OUT_OF_MEMORY']
    assert first.exit_status == JOB.ERROR_SCHEDULER_OUT_OF_MEMORY.status
    assert second.get_option('max_memory_kb') == 600 * 1024
    assert node.is_finished_ok, why_ended(node)


def test_a_job_out_of_memory_again_is_given_up(emt, start_exploration, ended):
    node = start_exploration(emt, options={'max_memory_kb': 15 * 1024}, retry_memory_factor=2.0)
    ended(node)
    assert len(jobs_of(node)) == 2
    assert node.exit_status == ExplorationWorkChain.exit_codes.ERROR_OUT_OF_MEMORY.status


def test_a_cluster_that_cannot_be_reached_for_half_a_minute_loses_nothing(
    cluster, emt, start_exploration, job_at_work, ended
):
    node = start_exploration(emt, **DISTURBED)
    job_at_work(node)
    cluster.stop_sshd()
    try:
        time.sleep(30)  # the outage is what is tested
    finally:
        cluster.start_sshd()
    ended(node)
    assert len(jobs_of(node)) == 1
    assert_nothing_is_lost(node)


def test_an_image_that_is_not_there_ends_the_seed_at_once(make_code, start_exploration, ended):
    node = start_exploration(make_code('hpc', 'emt-nowhere', '/nowhere/base.sif'))
    ended(node)
    (job,) = jobs_of(node)
    assert job.exit_status == JOB.ERROR_IMAGE_MISSING.status
    assert '/nowhere/base.sif' in why_ended(node)


def test_an_image_that_is_not_the_one_expected_is_refused(emt_image, start_exploration, ended):
    node = start_exploration(emt_image, image_sha256='0' * 64)
    ended(node)
    (job,) = jobs_of(node)
    assert job.exit_status == JOB.ERROR_MODEL_MISMATCH.status
    assert 'image' in why_ended(node)


def test_a_model_that_is_not_the_one_expected_is_refused(make_code, start_exploration, ended):
    code = make_code('hpc', 'sevennet-image', IMAGES / 'sevennet.sif')
    calculator = {'kind': 'sevennet', 'model': '7net-0', 'model_sha256': '0' * 64}
    node = start_exploration(code, calculator=calculator)
    ended(node)
    (job,) = jobs_of(node)
    assert job.exit_status == JOB.ERROR_MODEL_MISMATCH.status
    assert 'expected was 000000000000' in why_ended(node)


def test_a_job_that_reaches_its_wall_time_is_continued_from_its_checkpoint(cluster, emt, start_exploration, ended):
    """Slurm's limits are whole minutes, so this test takes one."""
    settings = {'n_steps': 22000, 'frame_interval': 1000, 'checkpoint_interval': 1000}
    node = start_exploration(emt, options={'max_wallclock_seconds': 60}, **settings)
    ended(node, 360)
    assert node.is_finished_ok, why_ended(node)
    jobs = jobs_of(node)
    assert len(jobs) > 1
    assert all(job.exit_status == JOB.ERROR_OUT_OF_WALLTIME.status for job in jobs[:-1])
    np.testing.assert_array_equal(steps_of(node), range(1000, 22001, 1000))
