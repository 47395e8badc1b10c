"""Frames are kept by novelty, and a run ends or is cooled where it leaves the trusted region."""

from __future__ import annotations

import numpy as np
import pytest
from ase.calculators.emt import EMT
from support.committees import COPPER, LJ

from aiida_mlip_autopipe.calculators.kinds.lj import LennardJonesSettings, ShiftedForceLennardJones
from aiida_mlip_autopipe.core.codes import Code

RUN = {'ensemble': 'nvt', 'temperature_K': 600, 'n_steps': 60}


def settings_of(**novelty):
    return RUN | {'novelty': {'kind': 'disagreement'} | novelty}


@pytest.fixture
def run(job_folder, copper):
    """Return a function that runs a job with a committee and returns the result and the folder."""

    def run_job(name: str, exploration: dict, calculator: dict = COPPER):
        folder = job_folder(name).write(copper, exploration, calculator=calculator)
        return folder.run(), folder

    return run_job


def deviations_of(frames, copper):
    """Return the maximum deviation of the forces in each frame: half of the difference of two members."""
    lj = ShiftedForceLennardJones(LennardJonesSettings.model_validate(LJ))
    found = []
    for positions, cell in zip(frames.positions, frames.cells, strict=True):
        atoms = copper.copy()
        atoms.set_cell(cell)
        atoms.positions = positions
        forces = []
        for calculator in (EMT(), lj):
            atoms.calc = calculator
            forces.append(atoms.get_forces())
        found.append(0.5 * np.linalg.norm(forces[0] - forces[1], axis=1).max())
    return np.array(found)


def test_frames_are_those_of_the_first_member_whose_deviation_exceeds_the_threshold(run, copper):
    every = run('every', RUN, {'kind': 'emt'})[1].frames()
    deviations = deviations_of(every, copper)
    threshold = float(np.median(deviations))
    result, folder = run('new', settings_of(threshold_eV_per_A=threshold))
    kept, frames = deviations > threshold, folder.frames()
    assert 0 < kept.sum() < len(every)
    np.testing.assert_array_equal(frames.steps, every.steps[kept])
    np.testing.assert_array_equal(frames.positions, every.positions[kept])
    np.testing.assert_array_equal(frames.energies, every.energies[kept])
    np.testing.assert_array_equal(frames.forces, every.forces[kept])
    np.testing.assert_allclose(frames.extra['force_deviation_eV_A'], deviations[kept], rtol=1e-9)
    statistics = result.statistics['novelty']
    assert (statistics['n'], statistics['n_new']) == (len(every), kept.sum())
    assert statistics['mean'] == pytest.approx(deviations.mean())
    assert statistics['maximum'] == pytest.approx(deviations.max())


def test_every_nth_frame_is_kept_on_request(run):
    frames = run('some', settings_of(threshold_eV_per_A=100, always_every=5))[1].frames()
    assert list(frames.steps) == [10, 20, 30, 40, 50, 60]


def test_a_run_ends_before_the_frame_that_exceeds_the_limit_and_is_not_continued(run, copper):
    every = run('every', RUN, {'kind': 'emt'})[1].frames()
    deviations = deviations_of(every, copper)
    limit = float(np.sort(deviations)[-3])
    first = int(np.argmax(deviations > limit))
    settings = settings_of(threshold_eV_per_A=0.01, limit_eV_per_A=limit)
    result, folder = run('limited', settings)
    assert (result.outcome, result.last_step) == ('completed', every.steps[first])
    assert [(event.rule, event.step) for event in result.events] == [('novelty', every.steps[first])]
    assert (folder.frames().steps < every.steps[first]).all()
    again = folder.write(copper, settings | {'n_steps': 90}, calculator=COPPER).run()
    assert (again.outcome, again.last_step, again.events) == ('completed', result.last_step, result.events)


def test_a_run_is_cooled_until_it_is_in_the_trusted_region_again(run, copper):
    deviations = deviations_of(run('every', RUN, {'kind': 'emt'})[1].frames(), copper)
    limit = float(np.median(deviations))
    novelty = {'threshold_eV_per_A': 0.001, 'limit_eV_per_A': limit, 'on_limit': 'cool', 'cooling_factor': 0.25}
    result, folder = run('cooled', settings_of(**novelty) | {'n_steps': 200, 'thermostat_time_fs': 20})
    frames = folder.frames()
    assert result.outcome == 'completed'
    assert len(result.events) >= 2
    assert (frames.extra['force_deviation_eV_A'] <= limit).all()
    started, ended = result.events[0].step, result.events[1].step
    targets = dict(zip(frames.steps.tolist(), frames.extra['target_temperature_K'].tolist(), strict=True))
    assert not [step for step in targets if started <= step < ended]
    assert (targets[ended], targets.get(ended + 2, 600.0)) == (150.0, 600.0)


@pytest.mark.parametrize('name', ['novelty', 'bias'])
def test_one_calculator_alone_is_refused(run, name):
    section = {'novelty': {'kind': 'disagreement', 'threshold_eV_per_A': 1}, 'bias': {'strength': 1}}[name]
    result, _ = run('alone', RUN | {name: section}, {'kind': 'emt'})
    assert (result.outcome, result.code) == ('refused', Code.CALCULATOR_UNSUITABLE)
