"""An interrupted run continues exactly: all results are bitwise identical."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
from support.committees import COPPER
from support.errors import refused

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.exploration.checkpoint import Checkpoint
from aiida_mlip_autopipe.exploration.simulation import Simulation
from aiida_mlip_autopipe.jobs.contract import (
    CHECKPOINT_FILE,
    JOB_FILE,
    RESULT_FILE,
    START_FILE,
    STOP_FILE,
    TRAJECTORY_FILE,
    Result,
)

SWAPS = {'moves': [{'kind': 'swap'}, {'kind': 'displacement'}], 'n_md_steps': 3, 'n_trials': 2}
JUMPS = {'moves': [{'kind': 'vacancy'}, {'kind': 'displacement'}], 'n_md_steps': 3, 'n_trials': 3, 'adapt': True}
MOLECULES = {'moves': [{'kind': 'translation'}, {'kind': 'rotation'}], 'n_md_steps': 2, 'n_trials': 3, 'adapt': True}
VOLUMES = {'moves': [{'kind': 'swap'}, {'kind': 'volume'}], 'n_md_steps': 3, 'n_trials': 2}
COOLED = {
    'kind': 'disagreement',
    'threshold_eV_per_A': 0.001,
    'limit_eV_per_A': 0.4,
    'on_limit': 'cool',
    'cooling_factor': 0.1,
}
FAR = {'kind': 'distance', 'threshold': 0.001, 'descriptor': {'n_max': 3, 'l_max': 2}}
FRAME_ARRAYS = ('steps', 'positions', 'cells', 'energies', 'forces', 'stresses', 'temperatures')
RUNS = {
    'nve': ('copper', {'ensemble': 'nve'}),
    'nvt langevin': ('copper', {'ensemble': 'nvt'}),
    'nvt bussi': ('copper', {'ensemble': 'nvt', 'thermostat': 'bussi'}),
    'nvt with fixed atoms': ('slab', {'ensemble': 'auto'}),
    'npt': ('copper', {'ensemble': 'npt'}),
    'npt anisotropic': ('alloy', {'ensemble': 'npt', 'cell': 'anisotropic', 'temperature_K': 900}),
    'npt flexible': ('copper', {'ensemble': 'npt', 'cell': 'flexible', 'tension_GPa': {'zz': 1.0, 'xy': 0.5}}),
    'npt flexible with volumes': (
        'alloy',
        {'ensemble': 'npt', 'cell': 'flexible', 'temperature_K': 1500, 'monte_carlo': VOLUMES},
    ),
    'npt in plane': ('free_slab', {'ensemble': 'npt', 'cell': 'in_plane', 'tension_GPa': {'xx': 1.0}}),
    'nvt with swaps and displacements': ('alloy', {'ensemble': 'nvt', 'temperature_K': 1500, 'monte_carlo': SWAPS}),
    'npt with swaps and volumes': ('alloy', {'ensemble': 'npt', 'temperature_K': 1500, 'monte_carlo': VOLUMES}),
    'nvt with jumps into a vacancy': (
        'vacancy',
        {'ensemble': 'nvt', 'temperature_K': 3000, 'n_equilibration_steps': 8, 'monte_carlo': JUMPS},
    ),
    'nvt with moves of molecules': (
        'molecules',
        {'ensemble': 'nvt', 'n_equilibration_steps': 8, 'monte_carlo': MOLECULES},
        {'molecular': True},
    ),
    'frames with a minimum change': (
        'copper',
        {'ensemble': 'nvt', 'temperature_K': 900, 'frame_interval': 1, 'frame_min_change_A': 0.03},
    ),
    'nvt cooled by novelty': (
        'copper',
        {'ensemble': 'nvt', 'temperature_K': 900, 'thermostat_time_fs': 4, 'frame_interval': 1, 'novelty': COOLED},
        {'calculator': COPPER},
    ),
    'npt with a bias': (
        'copper',
        {'ensemble': 'npt', 'temperature_K': 900, 'bias': {'strength': 0.3}},
        {'calculator': COPPER},
    ),
    'nvt with new environments': (
        'alloy',
        {'ensemble': 'nvt', 'temperature_K': 1500, 'frame_interval': 1, 'novelty': FAR},
    ),
    'nvt with a bias and swaps': (
        'alloy',
        {'ensemble': 'nvt', 'temperature_K': 1500, 'bias': {'strength': 0.3}, 'monte_carlo': SWAPS},
        {'calculator': COPPER},
    ),
    'relaxation of positions': ('slab', {'kind': 'relax', 'force_eV_per_A': 1e-9}),
    'relaxation of positions and cell': ('alloy', {'kind': 'relax', 'pressure_GPa': 5, 'stress_GPa': 1e-9}),
    'uniaxial deformation': ('alloy', {'kind': 'deform', 'failure_fraction': None}),
    'shear': ('alloy', {'kind': 'deform', 'mode': 'shear', 'failure_fraction': None}),
    'normal modes': ('slab', {'kind': 'normal_modes', 'temperature_K': 300}),
    'relaxation along the normal': ('slab', {'kind': 'relax', 'degrees': 'normal', 'force_eV_per_A': 1e-9}),
}


@pytest.fixture(params=RUNS.values(), ids=RUNS.keys())
def atoms_and_settings(request):
    fixture, settings, *changes = request.param
    return request.getfixturevalue(fixture), settings, *(changes or [{}])


def test_two_legs_in_one_folder_or_two_give_the_frames_of_one_run(atoms_and_settings, job_folder, same_frames):
    atoms, settings, changes = atoms_and_settings
    uninterrupted = job_folder('uninterrupted').write(atoms, settings | {'n_steps': 20}, **changes)
    first = job_folder('first').write(atoms, settings | {'n_steps': 11}, **changes)
    second = job_folder('second').write(atoms, settings | {'n_steps': 20}, **changes)
    assert uninterrupted.run().outcome == 'completed'
    assert first.run().last_step == 11
    shutil.copy(first.path / CHECKPOINT_FILE, second.path / START_FILE)
    legs = [first.frames()]

    result = first.write(atoms, settings | {'n_steps': 20}, **changes).run()
    assert (result.outcome, result.first_step, result.last_step) == ('completed', 0, 20)
    same_frames(first.frames(), uninterrupted.frames())
    assert len(uninterrupted.frames()) > 3

    result = second.run()
    assert (result.first_step, result.last_step, result.n_frames) == (11, 20, len(second.frames()))
    legs.append(second.frames())
    assert (legs[1].steps > 11).all()
    joined = replace(legs[0], **{name: np.concatenate([getattr(leg, name) for leg in legs]) for name in FRAME_ARRAYS})
    same_frames(joined, uninterrupted.frames())


def test_an_interrupted_ramp_continues_exactly(job_folder, copper, same_frames, stopping_after):
    phases = [
        {'n_steps': 6, 'temperature_K': 900},
        {'kind': 'ramp', 'n_steps': 16, 'temperature_K': 100, 'pressure_GPa': 5},
        {'kind': 'velocity_reset', 'n_steps': 6, 'temperature_K': 50},
    ]
    uninterrupted = job_folder('uninterrupted').write(copper, {'phases': phases})
    uninterrupted.run()
    cut = job_folder('cut').write(copper, {'phases': phases})
    for last_step in (10, 22, 25):
        with stopping_after(last_step):
            result = cut.run()
        assert (result.outcome, result.last_step) == ('stopped', last_step)
    assert cut.run().outcome == 'completed'
    same_frames(cut.frames(), uninterrupted.frames())
    targets = uninterrupted.frames().extra
    assert (targets['target_temperature_K'][0], targets['target_temperature_K'][-1]) == (900, 50)
    assert targets['target_temperature_K'][6] == pytest.approx(900 - 800 * 7.5 / 16)
    assert targets['target_pressure_GPa'][-1] == 5


HOLD = {'n_steps': 8, 'temperature_K': 900}
RAMP = {'kind': 'ramp', 'n_steps': 8, 'temperature_K': 300}
RESET = {'kind': 'velocity_reset', 'n_steps': 8, 'temperature_K': 50}


@pytest.mark.parametrize(
    ('shorter', 'longer'),
    [
        ([RAMP, HOLD], [RAMP, HOLD | {'n_steps': 20}]),
        ([HOLD, RESET], [HOLD, RESET | {'n_steps': 20}]),
        ([HOLD], [HOLD, RAMP, RESET]),
    ],
    ids=['a longer hold', 'a longer velocity reset', 'further phases'],
)
def test_a_finished_run_of_phases_can_be_extended(job_folder, copper, same_frames, shorter, longer):
    uninterrupted = job_folder('uninterrupted').write(copper, {'ensemble': 'npt', 'phases': longer})
    uninterrupted.run()
    folder = job_folder().write(copper, {'ensemble': 'npt', 'phases': shorter})
    folder.run()
    assert folder.write(copper, {'ensemble': 'npt', 'phases': longer}).run().outcome == 'completed'
    same_frames(folder.frames(), uninterrupted.frames())


@pytest.mark.parametrize(
    ('before', 'after'),
    [
        ([HOLD, RAMP], [HOLD, RAMP | {'n_steps': 20}]),
        ([RAMP, HOLD], [RAMP, RAMP | {'temperature_K': 900}]),
        # The inertia of the cell would be different from the first step on.
        ([HOLD], [HOLD, RAMP | {'temperature_K': 1200}]),
        ([HOLD], [HOLD | {'sampled': False}, RAMP]),
    ],
    ids=['a longer ramp', 'another kind', 'a higher temperature later', 'other sampled phases'],
)
def test_a_checkpoint_of_another_schedule_is_refused(job_folder, copper, before, after):
    folder = job_folder().write(copper, {'ensemble': 'npt', 'phases': before})
    folder.run()
    result = folder.write(copper, {'ensemble': 'npt', 'phases': after}).run()
    assert (result.outcome, result.code) == ('refused', Code.CHECKPOINT_MISMATCH)


@pytest.mark.chaos
def test_frames_after_the_last_checkpoint_are_not_written_twice(job_folder, copper, same_frames):
    settings = {'n_steps': 28, 'checkpoint_interval': 10}
    uninterrupted = job_folder('uninterrupted').write(copper, settings)
    uninterrupted.run()
    killed = job_folder('killed').write(copper, settings | {'n_steps': 10})
    killed.run()
    checkpoint = (killed.path / CHECKPOINT_FILE).read_bytes()
    killed.write(copper, settings | {'n_steps': 17}).run()
    # The files of a killed run: the checkpoint of step 10, frames up to step 16, and a truncated frame.
    (killed.path / CHECKPOINT_FILE).write_bytes(checkpoint)
    with open(killed.path / TRAJECTORY_FILE, 'ab') as file:
        file.write(b'truncated')
    result = killed.write(copper, settings).run()
    same_frames(killed.frames(), uninterrupted.frames())
    assert result.n_frames == len(uninterrupted.frames())
    assert result.first_step == 0


def halve(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize('damaged', [CHECKPOINT_FILE, TRAJECTORY_FILE])
@pytest.mark.parametrize('has_start', [False, True], ids=['from the seed', 'from the previous leg'])
@pytest.mark.chaos
def test_a_leg_with_damaged_files_starts_again_from_its_first_step(
    job_folder, copper, same_frames, stopping_after, damaged, has_start
):
    first_step = 0
    uninterrupted, folder = (
        job_folder('uninterrupted').write(copper, {'n_steps': 30}),
        job_folder().write(copper, {'n_steps': 30}),
    )
    if has_start:
        with stopping_after(7):
            first_step = job_folder('before').write(copper, {'n_steps': 30}).run().last_step
        for one in (uninterrupted, folder):
            shutil.copy(job_folder('before').path / CHECKPOINT_FILE, one.path / START_FILE)
    uninterrupted.run()
    with stopping_after(20):
        folder.run()
    halve(folder.path / damaged)
    result = folder.run()
    assert (result.outcome, result.first_step, result.last_step) == ('completed', first_step, 30)
    assert [(event.rule, event.step) for event in result.events] == [('checkpoint', first_step)]
    assert result.n_frames == len(uninterrupted.frames())
    same_frames(folder.frames(), uninterrupted.frames())


@pytest.mark.chaos
def test_a_changed_byte_anywhere_in_a_checkpoint_is_detected(job_folder, copper):
    folder = job_folder().write(copper, {'n_steps': 4})
    folder.run()
    path = folder.path / CHECKPOINT_FILE
    content = path.read_bytes()
    assert Checkpoint.read(path).step == 4
    for offset in range(len(content)):
        path.write_bytes(content[:offset] + bytes([content[offset] ^ 1]) + content[offset + 1 :])
        with refused(Code.CHECKPOINT_UNREADABLE, path.name):
            Checkpoint.read(path)
    for damaged in (b'', content[:-1], content[: len(content) // 2], content + b'x'):
        path.write_bytes(damaged)
        with refused(Code.CHECKPOINT_UNREADABLE, path.name):
            Checkpoint.read(path)


def test_a_checkpoint_with_inconsistent_arrays_is_refused(job_folder, copper):
    folder = job_folder().write(copper, {'n_steps': 4})
    folder.run()
    path = folder.path / CHECKPOINT_FILE
    good = Checkpoint.read(path)
    for name in ('positions', 'momenta', 'forces', 'last_frame', 'cell', 'stress'):
        replace(good, **{name: getattr(good, name)[:-1]}).write(path)
        with refused(Code.CHECKPOINT_UNREADABLE, CHECKPOINT_FILE, name):
            Checkpoint.read(path)


def test_times_increase_by_the_time_step_of_each_leg(job_folder, copper):
    settings = {
        'n_steps': 60,
        'temperature_K': 900,
        'ensemble': 'nvt',
        'guards': {'force_eV_per_A': 1.0},
        'timestep_fs': 4.0,
        'recovery': {'temperature_factor': 0.01, 'timestep_factor': 0.5},
    }
    first = job_folder('first').write(copper, settings)
    assert first.run().outcome == 'unstable'
    second = job_folder('second').write(copper, settings, recoveries=1)
    shutil.copy(first.path / CHECKPOINT_FILE, second.path / START_FILE)
    assert second.run().outcome == 'completed'
    before, after = first.frames(), second.frames()
    np.testing.assert_array_equal(before.extra['time_fs'], 4.0 * before.steps)
    good = before.steps[-1]
    np.testing.assert_array_equal(after.extra['time_fs'], 4.0 * good + 2.0 * (after.steps - good))


def test_a_job_that_is_killed_right_after_a_restart_keeps_the_work_of_its_earlier_process(
    job_folder, copper, stopping_after, monkeypatch
):
    folder = job_folder().write(copper, {'n_steps': 20, 'checkpoint_interval': 100})
    with stopping_after(7):
        folder.run()
    found = []

    def die(self):
        found.append(Result.model_validate_json((folder.path / RESULT_FILE).read_text()))
        raise KeyboardInterrupt

    monkeypatch.setattr(Simulation, '_loop', die)
    with pytest.raises(KeyboardInterrupt):
        folder.run()
    (result,) = found
    assert (result.outcome, result.first_step, result.last_step, result.n_frames) == ('killed', 0, 7, 3)


def test_events_are_in_the_checkpoint_and_are_reported_once(job_folder, slab, stopping_after):
    settings = {'n_steps': 20, 'pressure_GPa': 1.0, 'relaxation': {'max_steps': 2}, 'ensemble': 'auto'}
    folder = job_folder().write(slab, settings)
    with stopping_after(7):
        first = folder.run()
    assert [event.rule for event in first.events] == ['unused', 'relaxation']
    assert folder.run().events == first.events


def test_a_guard_before_the_first_frame_of_a_later_leg_lets_the_run_recover(job_folder, copper, stopping_after):
    settings = {'n_steps': 40, 'temperature_K': 900, 'ensemble': 'nvt', 'timestep_fs': 4.0, 'frame_interval': 5}
    first, second = job_folder('first').write(copper, settings), job_folder('second')
    with stopping_after(10):
        assert first.run().n_frames == 2
    second.write(copper, settings | {'guards': {'force_eV_per_A': 0.01}})
    shutil.copy(first.path / CHECKPOINT_FILE, second.path / START_FILE)
    result = second.run()
    assert (result.outcome, result.first_step, result.n_frames) == ('unstable', 10, 0)
    assert Checkpoint.read(second.path / CHECKPOINT_FILE).step == 10
    shutil.copy(second.path / CHECKPOINT_FILE, second.path / START_FILE)
    (second.path / CHECKPOINT_FILE).unlink()
    result = second.write(copper, settings, recoveries=1).run()
    assert (result.outcome, result.events[0].rule, result.events[0].step) == ('completed', 'recovery', 10)


def test_running_a_finished_job_again_does_nothing(job_folder, copper):
    folder = job_folder().write(copper, {'n_steps': 20})
    first = folder.run()
    again = folder.run()
    assert (again.outcome, again.last_step, again.n_frames) == ('completed', 20, 10)
    assert again.force_calls == first.force_calls


@pytest.mark.parametrize(
    'change',
    [
        {'random_seed': 8},
        {'exploration': {'n_steps': 20, 'temperature_K': 301}},
        {'calculator': {'kind': 'emt', 'cutoff_A': 7.0}},
    ],
    ids=['random seed', 'settings', 'calculator'],
)
def test_the_checkpoint_of_another_job_is_refused(job_folder, copper, change):
    settings = {'n_steps': 20, 'temperature_K': 300}
    folder = job_folder().write(copper, settings)
    folder.run()
    result = folder.write(copper, **{'exploration': settings} | change).run()
    assert (result.outcome, result.code) == ('refused', Code.CHECKPOINT_MISMATCH)
    assert CHECKPOINT_FILE in result.message


@pytest.mark.chaos
def test_a_damaged_checkpoint_of_the_previous_leg_is_refused(job_folder, copper):
    folder = job_folder().write(copper, {'n_steps': 20})
    (folder.path / START_FILE).write_bytes(b'PK\x03\x04 nonsense')
    result = folder.run()
    assert (result.outcome, result.code) == ('refused', Code.CHECKPOINT_UNREADABLE)


@pytest.mark.integration
@pytest.mark.parametrize('how', ['SIGTERM', 'SIGINT', 'stop file', 'SIGKILL'])
@pytest.mark.chaos
def test_a_stopped_run_continues_exactly(job_folder, copper, same_frames, how):
    settings = {'ensemble': 'npt', 'checkpoint_interval': 7, 'frame_interval': 3}
    folder = job_folder('cut').write(copper, settings | {'n_steps': 1_000_000})
    command = [sys.executable, '-m', 'aiida_mlip_autopipe.exploration', JOB_FILE]
    process = subprocess.Popen(command, cwd=folder.path, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not (folder.path / CHECKPOINT_FILE).exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    if how == 'stop file':
        (folder.path / STOP_FILE).touch()
    else:
        os.kill(process.pid, getattr(signal, how))
    status = process.wait(30)
    if how == 'SIGKILL':
        written_in_advance = folder.path / RESULT_FILE
        assert not written_in_advance.exists() or json.loads(written_in_advance.read_text())['outcome'] == 'killed'
    else:
        assert status == 0
        result = json.loads((folder.path / RESULT_FILE).read_text())
        assert result['outcome'] == 'stopped'
        assert how in result['message'].replace("the file 'stop'", 'stop file')
    (folder.path / STOP_FILE).unlink(missing_ok=True)
    reached = Checkpoint.read(folder.path / CHECKPOINT_FILE).step
    assert reached > 0

    folder.write(copper, settings | {'n_steps': reached + 12}).run()
    uninterrupted = job_folder('uninterrupted').write(copper, settings | {'n_steps': reached + 12})
    uninterrupted.run()
    same_frames(folder.frames(), uninterrupted.frames())
