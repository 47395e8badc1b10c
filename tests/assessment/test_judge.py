"""The decision about a new model: each condition fails in turn, with real calculators as models."""

from dataclasses import replace

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones

from aiida_mlip_autopipe.assessment.assessment import Assessment
from aiida_mlip_autopipe.assessment.contract import HotRun
from aiida_mlip_autopipe.assessment.deviations import ENERGY, FORCE, STRESS
from aiida_mlip_autopipe.assessment.judge import TestSet, judge_model, measure_drift
from aiida_mlip_autopipe.assessment.predictions import Predictions
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.rounds.dimers import evaluate_dimers

RUNS = tuple(HotRun(seed_id=name, outcome='completed', n_steps=9) for name in ('seed-a', 'seed-b'))


class ScaledEMT(EMT):
    """EMT with all energies, forces and stresses multiplied by a factor: a model with a known relative error."""

    def __init__(self, factor):
        super().__init__()
        self.factor = factor

    def calculate(self, *args):
        super().calculate(*args)
        for name in ('energy', 'forces', 'stress', 'free_energy', 'energies'):
            if name in self.results:
                self.results[name] = self.factor * self.results[name]


class HollowEMT(ScaledEMT):
    """EMT whose energy decreases when two atoms are too close, like a model without short distances in its data."""

    def calculate(self, *args):
        super().calculate(*args)
        distances = self.atoms.get_all_distances(mic=True)
        closest = distances[distances > 0].min()
        if closest < 1.9:
            self.results['energy'] -= 80.0 * (1.9 - closest) ** 2


def ended(run, outcome, n_steps=3, message=''):
    """Return a hot run that ended differently."""
    return run.model_copy(update={'outcome': outcome, 'n_steps': n_steps, 'message': message})


def rattled(symbol, seed):
    atoms = bulk(symbol, cubic=True)
    atoms.rattle(0.1, seed=seed)
    return atoms


FRAMES = [rattled('Cu', seed) for seed in range(6)]
OTHERS = [rattled(symbol, seed) for seed, symbol in enumerate(('Al', 'Ni', 'Pd'))]


def predict(frames, calculator):
    energies, forces, stresses = [], [], []
    for frame in frames:
        atoms = frame.copy()
        atoms.calc = calculator
        energies.append(atoms.get_potential_energy())
        forces.append(atoms.get_forces())
        stresses.append(atoms.get_stress())
    return Predictions.from_arrays([one.numbers for one in frames], energies, forces, stresses)


def assess(calculator, others=None):
    """Return the assessment of a model. Its rows are those of the test set in reverse, after a row of no interest."""
    frames = [rattled('Cu', 99), *FRAMES[::-1]]
    return Assessment(
        predict(frames, calculator),
        (9, 5, 4, 3, 2, 1, 0),
        {},
        predict(OTHERS, others or calculator),
        evaluate_dimers(calculator, ['Cu']),
        RUNS,
    )


TEST = TestSet(range(6), predict(FRAMES, EMT()), [f'seed-{index // 2}' for index in range(6)])
STARTING = assess(ScaledEMT(1.4), others=EMT())
NEW = assess(ScaledEMT(1.1), others=ScaledEMT(1.001))


def judge(new=NEW, former=STARTING, starting=STARTING, test=TEST, **settings):
    return judge_model(new, former, starting, test, 1, **settings)


def conditions(judgement):
    return [one['condition'] for one in judgement['failures']]


def test_a_better_model_is_accepted_with_its_numbers():
    found = judge()
    assert (found['accepted'], found['failures'], found['holes']) == (True, [], [])
    # All forces are 40 and 10 % too large.
    assert found['gain']['value'] == pytest.approx(0.75)
    forces = np.sqrt((TEST.labels.forces**2).mean())
    assert found['errors']['new'][FORCE]['value'] == pytest.approx(0.1 * forces)
    assert found['errors']['former'][FORCE]['value'] == pytest.approx(0.4 * forces)
    assert set(found['errors']['new']) == {FORCE, STRESS, ENERGY}
    assert (found['n_frames'], found['n_groups'], found['n_failed']) == (6, 3, 0)
    assert (found['n_hot_runs'], found['n_survived'], found['n_survived_before']) == (2, 2, 2)
    assert found['drift_eV_A'] == pytest.approx(0.001 * np.sqrt((STARTING.other_chemistry.forces**2).mean()))


def test_a_spoiled_model_is_refused_for_all_reasons():
    wrong = LennardJones(sigma=3.4, epsilon=5.0, rc=8.0)
    exploded = ended(RUNS[0], 'unstable', 2, 'too hot')
    hollow = HollowEMT(1.0)
    new = replace(assess(wrong), hot_runs=(exploded, RUNS[1]), dimers=evaluate_dimers(hollow, ['Cu']))
    found = judge(new)
    assert not found['accepted']
    assert conditions(found) == ['smaller_error', 'stable_dynamics', 'repulsion', 'other_chemistries']
    assert [run['message'] for run in found['stopped']] == ['too hot']


@pytest.mark.parametrize(
    ('changes', 'condition'),
    [
        ({'frames': assess(ScaledEMT(1.41)).frames}, 'smaller_error'),
        ({'frames': STARTING.frames}, 'smaller_error'),
        ({'hot_runs': (ended(RUNS[0], 'unstable'), RUNS[1])}, 'stable_dynamics'),
        ({'hot_runs': (RUNS[0], ended(RUNS[1], 'no_frame'))}, 'stable_dynamics'),
        ({'dimers': evaluate_dimers(HollowEMT(1.0), ['Cu'])}, 'repulsion'),
        ({'other_chemistry': predict(OTHERS, ScaledEMT(1.2))}, 'other_chemistries'),
    ],
)
def test_each_condition_refuses_a_model_by_itself(changes, condition):
    found = judge(replace(NEW, **changes))
    assert (found['accepted'], conditions(found)) == (False, [condition])


def test_a_model_is_not_refused_for_a_hole_that_the_starting_model_has_too():
    hollow = evaluate_dimers(HollowEMT(1.0), ['Cu'])
    assert judge(replace(NEW, dimers=hollow), starting=replace(STARTING, dimers=hollow))['accepted']


def without_results(predictions, index):
    energies, forces = predictions.energies.copy(), predictions.forces.copy()
    energies[index] = np.nan
    forces[4 * index : 4 * index + 4] = np.nan
    return replace(predictions, energies=energies, forces=forces)


def test_a_model_without_results_for_a_test_frame_is_refused():
    found = judge(replace(NEW, frames=without_results(NEW.frames, 2)))
    assert (conditions(found), found['n_failed'], found['gain']['value']) == (['finite_results'], 1, None)
    # Row 9 is not in the test set.
    assert judge(replace(NEW, frames=without_results(NEW.frames, 0)))['accepted']


def test_frames_that_the_previous_model_cannot_evaluate_are_not_compared():
    found = judge(former=replace(STARTING, frames=without_results(STARTING.frames, 2)))
    assert found['accepted']
    assert found['gain']['value'] == pytest.approx(0.75)


def test_a_model_without_results_for_other_chemistry_is_refused():
    found = judge(replace(NEW, other_chemistry=without_results(NEW.other_chemistry, 1)))
    assert (conditions(found), found['drift_eV_A']) == (['other_chemistries'], None)
    starting = replace(STARTING, other_chemistry=without_results(STARTING.other_chemistry, 1))
    assert judge(starting=starting)['accepted']
    assert measure_drift(predict([], EMT()), predict([], EMT())) is None


def test_the_bound_on_the_drift_can_be_changed():
    found = judge(max_drift_eV_A=1e-6)
    assert (conditions(found), found['max_drift_eV_A']) == (['other_chemistries'], 1e-6)


def test_the_offsets_of_the_previous_model_are_added_to_its_energies():
    with_offsets = judge(former_offsets_eV={'Cu': 100.0})
    assert with_offsets['errors']['former'][ENERGY]['value'] > 90
    assert with_offsets['errors']['new'] == judge()['errors']['new']


@pytest.mark.parametrize(
    ('new', 'test'),
    [
        (replace(NEW, hot_runs=RUNS[:1]), TEST),
        (replace(NEW, dimers={}), TEST),
        (replace(NEW, other_chemistry=predict(OTHERS[:1], EMT())), TEST),
        (NEW, TestSet([0, 7], TEST.labels.subset([0, 1]), ['a', 'b'])),
        (NEW, TestSet([0, 1], TEST.labels.subset([0, 1]), ['a', 'a'])),
    ],
)
def test_models_that_cannot_be_compared_are_refused(new, test):
    with pytest.raises(AutopipeError):
        judge(new, test=test)
