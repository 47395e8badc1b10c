"""Runs in which the calculator, the schedule or a Monte Carlo move does something unusual."""

from __future__ import annotations

import math

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.emt import EMT
from ase.io import read

from aiida_mlip_autopipe.calculators import CALCULATORS
from aiida_mlip_autopipe.calculators.base import Loaded
from aiida_mlip_autopipe.calculators.kinds.emt import EMTLoader
from aiida_mlip_autopipe.exploration.checkpoint import Checkpoint
from aiida_mlip_autopipe.exploration.dynamics.schedule import Schedule
from aiida_mlip_autopipe.exploration.guards import Guards, temperature_limit
from aiida_mlip_autopipe.exploration.settings.dynamics import ExplorationSettings, GuardSettings
from aiida_mlip_autopipe.jobs.contract import CHECKPOINT_FILE, CRASH_FILE


@pytest.fixture
def use_calculator(monkeypatch):
    def use(calculator_class):
        class Loader(EMTLoader):
            def load(self):
                return Loaded(calculator_class())

        monkeypatch.setattr(CALCULATORS, 'load', lambda kind: Loader)

    return use


class OddEMT(EMT):
    """EMT that does something else from the given call on."""

    first_odd_call = 6
    calls = 0

    def calculate(self, *args, **kwargs):
        self.calls += 1
        super().calculate(*args, **kwargs)
        if self.calls >= self.first_odd_call:
            self.be_odd()


class EMTWithoutStress(OddEMT):
    def be_odd(self):
        self.results['stress'] = np.full(6, np.nan)


class EMTWithPartOfStress(OddEMT):
    def be_odd(self):
        self.results['stress'] = np.array([np.nan, 0, 0, 0, 0, 0])


class RaisingEMT(OddEMT):
    def be_odd(self):
        raise FloatingPointError('on purpose')


class FullEMT(OddEMT):
    def be_odd(self):
        raise RuntimeError('CUDA out of memory. Tried to allocate 2.00 GiB')


class OnceRaisingEMT(OddEMT):
    def be_odd(self):
        if self.calls == self.first_odd_call:
            raise FloatingPointError('on purpose')


@pytest.mark.parametrize('calculator', [EMTWithoutStress, EMTWithPartOfStress])
def test_a_stress_that_is_not_finite_stops_npt_and_leaves_a_good_checkpoint(
    calculator, job_folder, copper, use_calculator
):
    use_calculator(calculator)
    folder = job_folder().write(copper, {'n_steps': 20, 'ensemble': 'npt'})
    result = folder.run()
    assert (result.outcome, result.last_step, result.events[-1].rule) == ('unstable', 5, 'not_finite')
    assert np.isfinite(folder.frames().stresses).all()
    checkpoint = Checkpoint.read(folder.path / CHECKPOINT_FILE)
    assert (checkpoint.step, checkpoint.n_frames) == (4, 2)
    assert math.isfinite(checkpoint.cell_momentum)
    assert np.isfinite(checkpoint.stress).all()


def test_a_relaxation_of_the_cell_stops_without_stress(job_folder, copper, use_calculator):
    use_calculator(EMTWithoutStress)
    copper.rattle(0.1, seed=1)
    folder = job_folder().write(copper, {'kind': 'relax', 'degrees': 'cell', 'force_eV_per_A': 1e-4})
    assert folder.run().events[-1].rule == 'not_finite'


@pytest.mark.parametrize('cell', ['isotropic', 'flexible'])
def test_a_cell_that_collapses_in_one_step_is_not_evaluated(cell, job_folder, copper, use_calculator):
    class LimitedEMT(EMT):
        def calculate(self, atoms, *args):
            assert atoms.get_volume() / len(atoms) > 0.1
            super().calculate(atoms, *args)

    use_calculator(LimitedEMT)
    result = job_folder().write(copper, {'n_steps': 20, 'cell': cell, 'barostat_time_fs': 1.0}).run()
    assert (result.last_step, result.events[-1].rule) == (1, 'volume')


def test_a_stress_that_was_not_computed_does_not_stop_nvt(job_folder, copper, use_calculator):
    use_calculator(EMTWithoutStress)
    result = job_folder().write(copper, {'n_steps': 20, 'ensemble': 'nvt'}).run()
    assert result.outcome == 'completed'


VOLUME = {'moves': [{'kind': 'volume'}], 'n_md_steps': 4, 'n_trials': 1}


def test_a_volume_move_without_stress_is_rejected(job_folder, copper, use_calculator):
    class OnceWithoutStress(OddEMT):
        def be_odd(self):
            if self.calls == self.first_odd_call:
                self.results.update(stress=np.full(6, np.nan), energy=-1e6)

    use_calculator(OnceWithoutStress)
    result = job_folder().write(copper, {'n_steps': 8, 'ensemble': 'npt', 'monte_carlo': VOLUME}).run()
    assert result.outcome == 'completed'
    assert result.statistics['moves'][0]['tried'] == 2


def test_an_error_of_the_calculator_stops_the_run_and_a_rerun_keeps_its_frames(
    job_folder, copper, use_calculator, same_frames
):
    settings = {'n_steps': 20}
    whole = job_folder('whole').write(copper, settings)
    whole.run()
    use_calculator(RaisingEMT)
    folder = job_folder().write(copper, settings)
    result = folder.run()
    assert (result.outcome, result.last_step, result.n_frames) == ('unstable', 5, 2)
    assert result.events[-1].rule == 'calculator'
    assert 'FloatingPointError: on purpose' in result.message
    crash = read(folder.path / CRASH_FILE, ':')
    assert [frame.info['failing'] for frame in crash] == [False] * 5 + [True]
    assert Checkpoint.read(folder.path / CHECKPOINT_FILE).step == 4
    use_calculator(EMT)
    again = folder.run()
    assert (again.outcome, again.n_frames) == ('completed', 10)


def test_a_calculator_that_runs_out_of_memory_fails(job_folder, copper, use_calculator):
    use_calculator(FullEMT)
    result = job_folder().write(copper, {'n_steps': 20}).run()
    assert (result.outcome, result.message) == (
        'failed',
        'RuntimeError: CUDA out of memory. Tried to allocate 2.00 GiB',
    )


def test_a_trial_for_which_the_calculator_raises_an_error_is_rejected(job_folder, alloy, use_calculator):
    use_calculator(OnceRaisingEMT)
    moves = {'moves': [{'kind': 'displacement', 'max_displacement_A': 1e-9}], 'n_md_steps': 4, 'n_trials': 2}
    result = job_folder().write(alloy, {'n_steps': 8, 'ensemble': 'nvt', 'monte_carlo': moves}).run()
    assert result.outcome == 'completed'
    (move,) = result.statistics['moves']
    assert (move['tried'], move['accepted']) == (4, 3)


def test_a_downhill_move_does_not_count_as_a_jump_of_the_energy(job_folder, copper, use_calculator):
    class Deep(OddEMT):
        """The structures after the fourth step, and thus the first trial, have an energy that is lower by 100 eV."""

        def be_odd(self):
            self.results['energy'] -= 100.0

    use_calculator(Deep)
    settings = {
        'n_steps': 8,
        'ensemble': 'nvt',
        'monte_carlo': {'moves': [{'kind': 'displacement'}], 'n_md_steps': 4, 'n_trials': 1},
    }
    result = job_folder().write(copper, settings).run()
    assert (result.outcome, result.statistics['moves'][0]['accepted']) == ('completed', 2)
    Deep.first_odd_call = 5
    result = job_folder('dynamics').write(copper, settings).run()
    assert (result.outcome, result.events[-1].rule) == ('unstable', 'energy')


COOLING = {
    'a hold': [{'n_steps': 100, 'temperature_K': 1500}, {'n_steps': 40, 'temperature_K': 20}],
    'a ramp': [
        {'n_steps': 100, 'temperature_K': 3000},
        {'kind': 'ramp', 'n_steps': 50, 'temperature_K': 10},
        {'n_steps': 20},
    ],
}


@pytest.mark.parametrize('phases', COOLING.values(), ids=COOLING.keys())
def test_planned_cooling_is_stable(phases, job_folder, copper):
    settings = {
        'temperature_K': phases[0]['temperature_K'],
        'phases': phases,
        'ensemble': 'nvt',
        'timestep_fs': 2,
        'guards': {'energy_jump_eV': None, 'detached_factor': None, 'distance_factor': None},
    }
    assert job_folder().write(copper * (2, 1, 2), settings).run().outcome == 'completed'


@pytest.mark.parametrize('decay_steps', [3.0, 30.0, 1e6])
def test_the_recent_temperature_is_the_highest_target_with_decay(decay_steps):
    phases = [
        {'n_steps': 20},
        {'kind': 'ramp', 'n_steps': 30, 'temperature_K': 2500},
        {'kind': 'ramp', 'n_steps': 40, 'temperature_K': 10},
        {'n_steps': 100},
        {'kind': 'velocity_reset', 'n_steps': 10, 'temperature_K': 400},
    ]
    schedule = Schedule(ExplorationSettings(temperature_K=900, phases=phases))
    # The highest target of the past by brute force, on a fine grid of times.
    times = np.arange(0, 200, 0.01)
    targets = np.interp(times, [0, 20, 50, 90, 189.999, 190, 200], [900, 900, 2500, 10, 10, 400, 400])
    for step in range(200):
        past = times <= step
        expected = (targets[past] * np.exp(-(step - times[past]) / decay_steps)).max()
        expected = max(expected, schedule.targets(step)[0])
        assert schedule.recent_temperature(step, decay_steps) == pytest.approx(expected, rel=2e-2)


def test_the_temperature_guard_still_stops_a_run_long_after_cooling():
    phases = [{'n_steps': 10, 'temperature_K': 3000}, {'n_steps': 1000, 'temperature_K': 20}]
    schedule = Schedule(ExplorationSettings(phases=phases))
    assert temperature_limit(schedule.recent_temperature(11, 100.0), 93) > 12_000
    assert temperature_limit(schedule.recent_temperature(1000, 100.0), 93) == temperature_limit(20, 93)


def test_the_limit_of_a_run_with_constant_temperature_is_that_of_the_target():
    schedule = Schedule(ExplorationSettings(temperature_K=300, n_steps=100))
    assert {schedule.recent_temperature(step, 100.0) for step in range(100)} == {300.0}


def test_a_single_atom_has_no_other_atoms_to_be_detached_from(recwarn):
    Guards(GuardSettings(), Atoms('Cu', cell=[3, 3, 3], pbc=True))
    assert not recwarn.list
