"""The full trajectory contains each step exactly once, whatever happens to the job."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from ase.calculators.emt import EMT
from ase.io import read
from support.errors import refused

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.exploration.full_trajectory import (
    FullTrajectoryFile,
    FullTrajectoryReader,
)
from aiida_mlip_autopipe.jobs.contract import (
    CHECKPOINT_FILE,
    FULL_TRAJECTORY_FILE,
    JOB_FILE,
    RESULT_FILE,
    START_FILE,
    TRAJECTORY_FILE,
    Result,
)

EVERY_STEP = {'full_trajectory_interval': 1}


def full(folder):
    return FullTrajectoryReader(folder.path / FULL_TRAJECTORY_FILE)


def steps_of(folder):
    return full(folder).records['step'].tolist()


def assert_reported(result, folder):
    """Check that the result describes the beginning of the file."""
    reported = result.full_trajectory
    data = (folder.path / reported.file).read_bytes()[: reported.size_bytes]
    assert len(data) == reported.size_bytes
    assert hashlib.sha256(data).hexdigest() == reported.sha256
    steps = steps_of(folder)[: reported.n_frames]
    assert (steps[0], steps[-1], len(steps)) == (reported.first_step, reported.last_step, reported.n_frames)


def test_every_step_is_stored_without_changing_the_other_results(job_folder, copper):
    phases = [{'n_steps': 6}, {'n_steps': 6, 'sampled': False}, {'n_steps': 8}]
    settings = {'phases': phases, 'n_equilibration_steps': 3, 'frame_min_change_A': 0.01}
    plain = job_folder('plain').write(copper, settings)
    kept = job_folder('kept').write(copper, settings, **EVERY_STEP)
    without, result = plain.run(), kept.run()
    assert without.full_trajectory is None
    assert not (plain.path / FULL_TRAJECTORY_FILE).exists()
    assert steps_of(kept) == list(range(1, 21))
    assert_reported(result, kept)
    assert (kept.path / TRAJECTORY_FILE).read_bytes() == (plain.path / TRAJECTORY_FILE).read_bytes()
    differ = {'full_trajectory', 'loop_s', 'load_s'}
    assert result.model_dump(exclude=differ) == without.model_dump(exclude=differ)


def test_only_the_multiples_of_the_interval_are_stored(job_folder, copper):
    folder = job_folder().write(copper, {'n_steps': 20}, full_trajectory_interval=7)
    assert folder.run().full_trajectory.n_frames == 2
    assert steps_of(folder) == [7, 14]


def test_a_run_shorter_than_the_interval_reports_no_file(job_folder, copper):
    folder = job_folder().write(copper, {'n_steps': 5}, full_trajectory_interval=7)
    result = folder.run()
    assert (result.outcome, result.full_trajectory) == ('completed', None)
    assert not (folder.path / FULL_TRAJECTORY_FILE).exists()


def test_a_frame_is_found_by_its_step_with_the_energy_forces_and_stress_of_its_structure(job_folder, copper):
    folder = job_folder().write(copper, {'n_steps': 8}, full_trajectory_interval=2)
    folder.run()
    frame = full(folder).at_step(6)
    stored = folder.frames()
    assert (frame.info['seed_id'], frame.info['step']) == (full(folder).seed_id, 6)
    assert np.array_equal(frame.positions, stored.positions[2])
    assert frame.info['temperature_K'] == stored.temperatures[2]
    assert frame.get_temperature() * len(copper) / (len(copper) - 1) == pytest.approx(stored.temperatures[2])
    results = dict(frame.calc.results)
    frame.calc = EMT()
    assert results['energy'] == pytest.approx(frame.get_potential_energy(), abs=1e-10)
    assert results['forces'] == pytest.approx(frame.get_forces(), abs=1e-10)
    assert results['stress'] == pytest.approx(frame.get_stress(), abs=1e-10)
    for step in (5, 9):
        with refused(Code.STEP_MISSING, f'step {step} ', ' 2 ', ' 8'):
            full(folder).at_step(step)


def test_ase_reads_the_file(job_folder, copper):
    folder = job_folder().write(copper, {'n_steps': 6}, **EVERY_STEP)
    folder.run()
    frames = read(folder.path / FULL_TRAJECTORY_FILE, '2:5')
    assert [frame.info['step'] for frame in frames] == [3, 4, 5]
    assert frames[0] == full(folder).at_step(3)
    assert read(folder.path / FULL_TRAJECTORY_FILE).info['step'] == 6


def test_a_requeued_run_continues_in_the_same_file(job_folder, copper, stopping_after):
    settings = {'n_steps': 28, 'checkpoint_interval': 10}
    uninterrupted = job_folder('uninterrupted').write(copper, settings, **EVERY_STEP)
    complete = uninterrupted.run()
    cut = job_folder('cut').write(copper, settings, **EVERY_STEP)
    with stopping_after(13):
        result = cut.run()
    assert (result.outcome, result.full_trajectory.n_frames) == ('stopped', 13)
    assert_reported(result, cut)
    result = cut.run()
    assert result.full_trajectory == complete.full_trajectory
    assert (cut.path / FULL_TRAJECTORY_FILE).read_bytes() == (uninterrupted.path / FULL_TRAJECTORY_FILE).read_bytes()


@pytest.mark.parametrize('n_extra', [0, 1, 300], ids=['complete frames', 'an extra byte', 'a truncated frame'])
def test_frames_after_the_last_checkpoint_are_not_stored_twice(job_folder, copper, n_extra):
    settings = {'n_steps': 28, 'checkpoint_interval': 10}
    uninterrupted = job_folder('uninterrupted').write(copper, settings, **EVERY_STEP)
    uninterrupted.run()
    killed = job_folder('killed').write(copper, settings | {'n_steps': 10}, **EVERY_STEP)
    killed.run()
    checkpoint = (killed.path / CHECKPOINT_FILE).read_bytes()
    killed.write(copper, settings | {'n_steps': 17}, **EVERY_STEP).run()
    # The files of a killed run: the checkpoint of step 10, and frames up to step 17.
    (killed.path / CHECKPOINT_FILE).write_bytes(checkpoint)
    with open(killed.path / FULL_TRAJECTORY_FILE, 'ab') as file:
        file.write(b'x' * n_extra)
    assert steps_of(killed) == list(range(1, 18))
    result = killed.write(copper, settings, **EVERY_STEP).run()
    assert (killed.path / FULL_TRAJECTORY_FILE).read_bytes() == (uninterrupted.path / FULL_TRAJECTORY_FILE).read_bytes()
    assert_reported(result, killed)


def test_a_run_killed_before_its_first_stored_frame_continues_the_same_leg(job_folder, copper, stopping_after):
    settings = {'n_steps': 20, 'n_equilibration_steps': 15, 'checkpoint_interval': 5}
    folder = job_folder().write(copper, settings, **EVERY_STEP)
    with stopping_after(10):
        folder.run()
    result = folder.run()
    assert (result.first_step, result.full_trajectory.first_step) == (0, 1)
    assert steps_of(folder) == list(range(1, 21))


def test_each_leg_has_a_separate_file(job_folder, copper, stopping_after):
    first = job_folder('first').write(copper, {'n_steps': 20}, **EVERY_STEP)
    with stopping_after(11):
        first.run()
    second = job_folder('second').write(copper, {'n_steps': 20}, **EVERY_STEP)
    shutil.copy(first.path / CHECKPOINT_FILE, second.path / START_FILE)
    result = second.run()
    assert steps_of(first) + steps_of(second) == list(range(1, 21))
    assert result.full_trajectory.first_step == 12
    assert_reported(result, second)


def test_the_steps_before_a_crash_are_stored_and_a_recovery_starts_at_the_last_good_frame(job_folder, copper):
    settings = {'n_steps': 400, 'temperature_K': 900, 'guards': {'force_eV_per_A': 1.5}, 'frame_interval': 5}
    crashed = job_folder('crashed').write(copper, settings, **EVERY_STEP)
    result = crashed.run()
    assert result.outcome == 'unstable'
    assert steps_of(crashed) == list(range(1, result.last_step))
    assert_reported(result, crashed)
    good = crashed.frames().steps[-1]
    recovered = job_folder('recovered').write(
        copper, settings | {'n_steps': int(good) + 3, 'guards': {}}, recoveries=1, **EVERY_STEP
    )
    shutil.copy(crashed.path / CHECKPOINT_FILE, recovered.path / START_FILE)
    assert recovered.run().outcome == 'completed'
    assert steps_of(recovered) == [good + 1, good + 2, good + 3]
    # A job that runs again in its folder also starts there, and stores no step twice.
    assert crashed.run().outcome == 'unstable'
    assert steps_of(crashed) == list(range(1, result.last_step))


def test_a_leg_with_missing_frames_in_its_full_trajectory_starts_again(job_folder, copper):
    folder = job_folder().write(copper, {'n_steps': 20}, **EVERY_STEP)
    folder.run()
    os.truncate(folder.path / FULL_TRAJECTORY_FILE, 3000)
    result = folder.write(copper, {'n_steps': 30}, **EVERY_STEP).run()
    assert (result.outcome, result.n_frames) == ('completed', 15)
    assert [event.rule for event in result.events] == ['checkpoint']
    assert steps_of(folder) == list(range(1, 31))
    assert_reported(result, folder)


def test_a_run_that_starts_again_from_its_seed_removes_the_frames_of_an_earlier_attempt(job_folder, copper):
    folder = job_folder().write(copper, {'n_steps': 10, 'checkpoint_interval': 50}, **EVERY_STEP)
    (folder.path / FULL_TRAJECTORY_FILE).write_bytes(b'{"format": "torn')
    folder.run()
    (folder.path / CHECKPOINT_FILE).unlink()
    folder.run()
    assert steps_of(folder) == list(range(1, 11))


def test_a_full_disk_ends_the_run_and_the_reported_frames_exist(job_folder, copper, monkeypatch):
    folder = job_folder().write(copper, {'n_steps': 20}, **EVERY_STEP)
    append = FullTrajectoryFile.append

    def write_to_a_full_disk(file, step, *others):
        if step < 8:
            return append(file, step, *others)
        with open(file.path, 'ab') as half:
            half.write(b'half a frame')
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(FullTrajectoryFile, 'append', write_to_a_full_disk)
    result = folder.run()
    assert result.outcome == 'failed'
    assert os.strerror(errno.ENOSPC) in result.message
    assert result.full_trajectory.n_frames == 7
    assert result.n_frames == len(folder.frames()) == 3
    assert_reported(result, folder)


@pytest.mark.parametrize(('content', 'value'), [(b'', ''), (b'{"format": "other"}\n', "'other'"), (b'[1]\n', '')])
def test_a_file_of_another_format_is_refused(tmp_path, content, value):
    (tmp_path / 'a').write_bytes(content)
    with refused(Code.FILE_UNREADABLE, str(tmp_path / 'a'), value):
        FullTrajectoryReader(tmp_path / 'a')


@pytest.mark.integration
@pytest.mark.parametrize('how', ['SIGTERM', 'SIGKILL'])
def test_a_stopped_run_has_reported_the_content_of_its_file(job_folder, copper, how):
    settings = {'ensemble': 'npt', 'checkpoint_interval': 7, 'frame_interval': 3}
    folder = job_folder('cut').write(copper, settings | {'n_steps': 1_000_000}, **EVERY_STEP)
    command = [sys.executable, '-m', 'aiida_mlip_autopipe.exploration', JOB_FILE]
    process = subprocess.Popen(command, cwd=folder.path, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not (folder.path / RESULT_FILE).exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(process.pid, getattr(signal, how))
    process.wait(30)
    result = Result.model_validate(json.loads((folder.path / RESULT_FILE).read_text()))
    assert result.outcome == ('killed' if how == 'SIGKILL' else 'stopped')
    assert_reported(result, folder)

    n_steps = len(full(folder)) + 12
    folder.write(copper, settings | {'n_steps': n_steps}, **EVERY_STEP)
    result = folder.run()
    assert steps_of(folder) == list(range(1, n_steps + 1))
    assert_reported(result, folder)
    uninterrupted = job_folder('uninterrupted').write(copper, settings | {'n_steps': n_steps}, **EVERY_STEP)
    assert uninterrupted.run().full_trajectory == result.full_trajectory
