"""Full trajectories, which remain on the computer, and the jobs that copy them."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from aiida import orm

from aiida_mlip_autopipe.calculations.explore import ExplorationCalculation
from aiida_mlip_autopipe.calculations.stash import StashCalculation
from aiida_mlip_autopipe.campaigns.cleaning import clean_campaign
from aiida_mlip_autopipe.campaigns.export import write_dataset
from aiida_mlip_autopipe.campaigns.full_trajectories import find_full_trajectories
from aiida_mlip_autopipe.exploration.full_trajectory import FullTrajectoryReader
from aiida_mlip_autopipe.storage import Dataset

pytestmark = pytest.mark.integration

FAILURES = StashCalculation.exit_codes


def sections(reuse=False, stash=None, **exploration):
    """Return the sections of a campaign of one seed."""
    entry = {'kind': 'structures', 'files': ['al.xyz'], 'perturb': {'rattle_A': 0.05}}
    execution = {'reuse_finished': reuse, **({} if stash is None else {'stash': {'folder': str(stash)}})}
    return {
        'generation': [entry],
        'exploration': {'n_steps': 12, 'frame_interval': 4, **exploration},
        'sampling': {'n_structures': 3},
        'execution': execution,
    }


EVERY_STEP = {'full_trajectory_interval': 1}


def jobs_of(campaign, process_class):
    jobs = [job for job in campaign.called_descendants if job.process_class is process_class]
    return sorted(jobs, key=lambda job: job.pk)


def reports_of(campaign):
    return [log.message for node in campaign.called for log in orm.Log.collection.get_logs_for(node)]


@pytest.fixture(scope='module')
def stashed(run_campaign, tmp_path_factory):
    """A campaign whose full trajectory was copied, and the folder of the copies, which did not exist."""
    folder = tmp_path_factory.mktemp('archive') / "of 'mine'"
    return run_campaign(**sections(stash=folder, **EVERY_STEP)), folder


@pytest.fixture(scope='module')
def kept(run_campaign):
    """A campaign whose full trajectory was not copied."""
    return run_campaign(**sections(**EVERY_STEP))


def test_the_full_trajectory_remains_in_the_folder_of_the_job(kept):
    assert kept.is_finished_ok, kept.exit_message
    assert not jobs_of(kept, StashCalculation)
    (job,) = jobs_of(kept, ExplorationCalculation)
    assert 'full_trajectory.frames' not in job.outputs.retrieved.base.repository.list_object_names()
    (found,) = find_full_trajectories(kept)
    assert found.path == f'{job.outputs.remote_folder.get_remote_path()}/full_trajectory.frames'
    assert (found.computer, found.is_stashed, found.stash_error) == ('localhost', False, '')
    assert found.seed_id == job.inputs.seed.seed_id
    assert FullTrajectoryReader(found.path).records['step'].tolist() == list(range(1, 13))


def test_a_copy_has_the_sha256_that_the_exploration_reported_and_its_provenance_is_stored(stashed):
    campaign, folder = stashed
    assert campaign.is_finished_ok, campaign.exit_message
    (job,), (copy,) = jobs_of(campaign, ExplorationCalculation), jobs_of(campaign, StashCalculation)
    node = copy.caller.outputs.stashed.leg_01
    assert node.uuid == copy.outputs.stashed.uuid
    assert isinstance(node, orm.RemoteStashFolderData)
    assert (copy.inputs.source.uuid, copy.inputs.result.uuid) == (
        job.outputs.remote_folder.uuid,
        job.outputs.result.uuid,
    )
    # The copy starts after the exploration has been parsed.
    assert copy.ctime > job.mtime
    path = Path(node.target_basepath, *node.source_list)
    assert path == folder / f'seed_{job.inputs.seed.seed_id}' / job.uuid / 'full_trajectory.frames'
    recorded = job.outputs.result['full_trajectory']
    assert hashlib.sha256(path.read_bytes()).hexdigest() == recorded['sha256']
    assert sorted(one.name for one in path.parent.iterdir()) == [path.name, f'{path.name}.sha256']
    (found,) = find_full_trajectories(campaign)
    assert (found.path, found.is_stashed) == (str(path), True)


def test_the_frame_of_a_row_is_found_in_the_full_trajectory(stashed, tmp_path):
    campaign, folder = stashed
    write_dataset(campaign, tmp_path / 'a.db')
    with Dataset(tmp_path / 'a.db') as dataset:
        rows = list(dataset.query())
    assert rows
    for row in rows:
        origin = row.provenance
        reader = FullTrajectoryReader(folder / f'seed_{origin.seed_id}' / origin.exploration / 'full_trajectory.frames')
        frame = reader.at_step(origin.step)
        np.testing.assert_array_equal(frame.positions, row.atoms.positions)
        assert frame.get_potential_energy() == row.atoms.get_potential_energy()


@pytest.mark.long
def test_full_trajectories_affect_no_other_result_and_copying_repeats_no_exploration(run_campaign, tmp_path):
    # No other test has explored this many steps.
    settings = {'reuse': True, 'n_steps': 10}
    plain = run_campaign(**sections(**settings))
    kept = run_campaign(**sections(**settings, **EVERY_STEP))
    (without,), (job,) = jobs_of(plain, ExplorationCalculation), jobs_of(kept, ExplorationCalculation)
    assert not job.base.caching.is_created_from_cache
    assert job.outputs.trajectory.base.caching.get_hash() == without.outputs.trajectory.base.caching.get_hash()
    assert 'full_trajectory_interval' not in without.inputs
    assert 'full_trajectory_interval' not in without.inputs.exploration.get_dict()

    for is_copied in (False, True):
        stashed = run_campaign(**sections(**settings, stash=tmp_path, **EVERY_STEP))
        (again,), (copy,) = jobs_of(stashed, ExplorationCalculation), jobs_of(stashed, StashCalculation)
        assert again.base.caching.is_created_from_cache
        assert copy.base.caching.is_created_from_cache is is_copied
    # Both campaigns have the same file, so that of the first campaign counts as copied, too.
    assert [one.is_stashed for one in find_full_trajectories(kept)] == [True]


def test_a_run_with_a_recovery_has_a_file_for_each_leg(run_campaign, tmp_path):
    crash = {'guards': {'force_eV_per_A': 0.9}, 'recovery': {'max_recoveries': 1}, 'frame_interval': 1, 'n_steps': 60}

    def accept_failures(builder):
        builder.min_success_fraction = 0.0

    settings = sections(stash=tmp_path, **crash, **EVERY_STEP)
    campaign = run_campaign(accept_failures, **{**settings, 'sampling': {'n_structures': 3, 'crash_fraction': 1.0}})
    jobs = jobs_of(campaign, ExplorationCalculation)
    recorded = [job.outputs.result['full_trajectory'] for job in jobs]
    found = find_full_trajectories(campaign)
    assert [one.record.model_dump() for one in found] == [one for one in recorded if one]
    assert len(found) == len({one.path for one in found}) >= 1
    assert all(one.is_stashed for one in found)
    assert FullTrajectoryReader(found[0].path).records['step'].tolist() == list(
        range(1, jobs[0].outputs.result['last_step'])
    )


def test_a_folder_that_cannot_be_written_is_not_fatal_and_the_original_remains(run_campaign, tmp_path):
    (tmp_path / 'file').touch()
    campaign = run_campaign(**sections(stash=tmp_path / 'file' / 'archive', **EVERY_STEP))
    assert campaign.is_finished_ok, campaign.exit_message
    (copy,) = jobs_of(campaign, StashCalculation)
    assert copy.exit_status == FAILURES.ERROR_FOLDER.status
    assert 'Not a directory' in copy.exit_message
    (found,) = find_full_trajectories(campaign)
    assert not found.is_stashed
    assert 'Not a directory' in found.stash_error
    assert len(FullTrajectoryReader(found.path)) == 12
    assert any(' leg 1 ' in line and str(Path(found.path).parent) in line for line in reports_of(campaign))


@pytest.fixture(scope='module')
def explored(kept):
    """The job that wrote the full trajectory."""
    (job,) = jobs_of(kept, ExplorationCalculation)
    return job


@pytest.fixture
def stash(explored, tmp_path):
    """Return a function that copies a full trajectory and returns the node of the job."""
    from aiida.engine import run_get_node

    def run(prepend_text='', **changes):
        result = explored.outputs.result.get_dict()
        result['full_trajectory'].update(changes)
        builder = StashCalculation.get_builder()
        builder.source, builder.folder = explored.outputs.remote_folder, orm.Str(str(tmp_path / 'archive'))
        builder.result = orm.Dict(result) if changes else explored.outputs.result
        builder.metadata.computer = explored.computer
        builder.metadata.options.prepend_text = prepend_text
        return run_get_node(builder)[1]

    return run


def copies(folder):
    return [path for path in (folder / 'archive').rglob('*') if path.is_file()]


def test_a_file_that_has_changed_is_not_copied(stash, tmp_path):
    copy = stash(sha256='0' * 64)
    assert copy.exit_status == FAILURES.ERROR_ORIGINAL.status
    assert 'full_trajectory.frames' in copy.exit_message
    assert not copies(tmp_path)


def test_a_missing_file_is_reported(stash, tmp_path):
    copy = stash(file='missing.frames')
    assert copy.exit_status == FAILURES.ERROR_ORIGINAL.status
    assert 'missing.frames' in copy.exit_message
    assert not copies(tmp_path)


def test_only_the_reported_part_of_the_file_is_copied(stash, explored, tmp_path):
    """A job that was killed after its last checkpoint leaves frames that the next leg computes again."""
    original = Path(explored.outputs.remote_folder.get_remote_path(), 'full_trajectory.frames')
    reported = original.read_bytes()
    original.write_bytes(reported + b'a frame, and half of another')
    try:
        copy = stash()
    finally:
        original.write_bytes(reported)
    assert copy.is_finished_ok, copy.exit_message
    assert Path(copy.outputs.stashed.target_basepath, 'full_trajectory.frames').read_bytes() == reported


def replace_program(tmp_path, name, script):
    """Return the line that replaces a program of the system."""
    (tmp_path / 'bin').mkdir()
    program = tmp_path / 'bin' / name
    program.write_text(f'#!/bin/sh\n{script}\n')
    program.chmod(0o755)
    return f'export PATH={tmp_path}/bin:$PATH'


def test_a_copy_that_differs_from_the_original_is_removed(stash, tmp_path):
    before = replace_program(tmp_path, 'sync', 'echo rot >>"$1"')
    copy = stash(before)
    assert copy.exit_status == FAILURES.ERROR_COPY.status
    assert str(tmp_path / 'archive') in copy.exit_message
    assert 'stashed' not in copy.outputs
    assert not copies(tmp_path)


def test_a_full_disk_has_a_specific_exit_code(stash, tmp_path):
    before = replace_program(tmp_path, 'sync', 'echo "sync: error syncing \'$1\': No space left on device" >&2; exit 1')
    copy = stash(before)
    assert copy.exit_status == FAILURES.ERROR_DISK_FULL.status
    assert not copies(tmp_path)


def test_a_killed_job_gives_no_copy(stash, tmp_path):
    copy = stash(replace_program(tmp_path, 'sha256sum', 'kill -KILL $PPID'))
    assert copy.exit_status
    assert 'stashed' not in copy.outputs


def test_cleaning_keeps_full_trajectories_without_a_copy(run_campaign, tmp_path):
    folder = tmp_path / 'file'
    folder.touch()
    campaign = run_campaign(**sections(n_steps=8, stash=folder, **EVERY_STEP))
    (job,) = jobs_of(campaign, ExplorationCalculation)
    original = Path(job.outputs.remote_folder.get_remote_path())
    cleaned = clean_campaign(campaign)
    # Only the folder of the failed copy job is removed.
    assert (cleaned.n_removed, [Path(one.path).parent for one in cleaned.kept]) == (1, [original])
    assert original.exists()
    assert clean_campaign(campaign, force=True).n_removed == 1
    assert not original.exists() or not any(original.iterdir())
    (found,) = find_full_trajectories(campaign)
    assert found.state == 'removed'


def test_cleaning_removes_copied_full_trajectories(stashed):
    campaign, _ = stashed
    cleaned = clean_campaign(campaign)
    assert (cleaned.n_removed, cleaned.kept) == (2, ())
    (found,) = find_full_trajectories(campaign)
    assert len(FullTrajectoryReader(found.path)) == 12
