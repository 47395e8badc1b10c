"""Full trajectories remain on the cluster, where separate jobs copy them to another folder."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from aiida import orm
from support.cluster import why_ended

from aiida_mlip_autopipe.calculations.explore import ExplorationCalculation
from aiida_mlip_autopipe.calculations.stash import StashCalculation
from aiida_mlip_autopipe.exploration.full_trajectory import FullTrajectoryReader

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(400)]

LONG = {'n_steps': 1500, 'frame_interval': 50, 'checkpoint_interval': 50}


def jobs_of(node, process_class):
    return sorted((job for job in node.called if job.process_class is process_class), key=lambda job: job.pk)


@pytest.fixture
def stash_to(cluster):
    """Return a function that returns the inputs with which an exploration copies its full trajectory to a folder."""

    def make(code, folder):
        options = {'resources': {'num_machines': 1, 'num_mpiprocs_per_machine': 1}, 'max_wallclock_seconds': 600}
        return {'folder': orm.Str(str(folder)), 'metadata': {'computer': code.computer, 'options': options}}

    return make


def test_the_full_trajectory_of_a_requeued_job_has_each_step_once_and_is_stashed(
    cluster, emt_image, explore, stash_to, job_with_checkpoint, wait_for_end
):
    archive = cluster.home / 'archive of trajectories'
    node = explore(emt_image, full_trajectory_interval=1, stash=stash_to(emt_image, archive), **LONG)
    job = job_with_checkpoint(node)
    cluster.run('scontrol', 'requeue', job.get_job_id())
    wait_for_end(node)
    assert node.is_finished_ok, why_ended(node)
    assert cluster.queue_facts(job.get_job_id())['Restarts'] == '1'
    (job,), (copy,) = jobs_of(node, ExplorationCalculation), jobs_of(node, StashCalculation)
    assert 'full_trajectory.frames' not in job.outputs.retrieved.base.repository.list_object_names()
    assert copy.is_finished_ok, copy.exit_message
    # A separate Slurm job.
    assert cluster.job_facts(copy.get_job_id(), 'State') == ['COMPLETED']
    path = Path(node.outputs.stashed.leg_01.target_basepath, 'full_trajectory.frames')
    assert path.is_relative_to(archive)
    assert hashlib.sha256(path.read_bytes()).hexdigest() == job.outputs.result['full_trajectory']['sha256']
    assert FullTrajectoryReader(path).records['step'].tolist() == list(range(1, 1501))


def test_a_cancelled_job_keeps_its_full_trajectory_and_a_failed_copy_does_not_fail_the_exploration(
    cluster, emt, explore, stash_to, job_with_checkpoint, wait_for_end
):
    node = explore(emt, full_trajectory_interval=1, stash=stash_to(emt, '/root/archive'), **LONG)
    cluster.run('scancel', job_with_checkpoint(node).get_job_id())
    wait_for_end(node)
    assert node.is_finished_ok, why_ended(node)
    legs, copies = jobs_of(node, ExplorationCalculation), jobs_of(node, StashCalculation)
    assert len(legs) == len(copies) == 2
    for copy in copies:
        assert copy.exit_status == StashCalculation.exit_codes.ERROR_FOLDER.status
        assert 'Permission denied' in copy.exit_message
    assert 'stashed' not in node.outputs
    originals = [Path(leg.outputs.remote_folder.get_remote_path(), 'full_trajectory.frames') for leg in legs]
    steps = [step for original in originals for step in FullTrajectoryReader(original).records['step'].tolist()]
    assert steps == list(range(1, 1501))
