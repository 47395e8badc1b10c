from dataclasses import replace

import pytest

from aiida_mlip_autopipe.rounds.dimers import Hole
from aiida_mlip_autopipe.rounds.gate import Measured, find_failures
from aiida_mlip_autopipe.rounds.held_out import Estimate

GOOD = Measured(Estimate(0.2, 0.3), n_runs=6, n_survived=6, n_survived_before=5, drift_eV_A=0.01, n_test_frames=9)


def test_a_better_model_meets_all_conditions():
    assert find_failures(GOOD) == []
    assert find_failures(replace(GOOD, drift_eV_A=None)) == []


@pytest.mark.parametrize(
    ('changes', 'condition', 'numbers'),
    [
        ({'gain': Estimate(-0.05, 0.01)}, 'smaller_error', ['5.0%']),
        ({'gain': Estimate(0.0, 0.01)}, 'smaller_error', ['0.0%']),
        ({'gain': Estimate(float('nan'), float('nan'))}, 'smaller_error', ['nan']),
        ({'gain': Estimate(float('nan'), float('nan')), 'n_failed': 2}, 'finite_results', ['2 of 9']),
        ({'drift_eV_A': float('nan')}, 'other_chemistries', ['not finite']),
        ({'n_survived': 3}, 'stable_dynamics', ['3 of 6', '2 fewer']),
        ({'holes': (Hole('Al-Al', 1.5, 0.25),)}, 'repulsion', ['Al-Al', '1.50', '0.25']),
        ({'drift_eV_A': 0.03}, 'other_chemistries', ['0.030', '0.02']),
    ],
)
def test_each_condition_that_is_not_met_is_named_with_its_numbers(changes, condition, numbers):
    (failure,) = find_failures(replace(GOOD, **changes))
    assert failure.condition == condition
    assert all(number in failure.message for number in numbers)


def test_without_a_bound_the_forces_for_other_chemical_systems_only_need_to_be_finite():
    assert find_failures(replace(GOOD, drift_eV_A=5.0), max_drift_eV_A=None) == []
    (failure,) = find_failures(replace(GOOD, drift_eV_A=float('inf')), max_drift_eV_A=None)
    assert failure.condition == 'other_chemistries'


def test_all_failures_are_reported():
    assert len(find_failures(replace(GOOD, gain=Estimate(-1.0, 0.0), n_survived=0, drift_eV_A=1.0))) == 3
