"""Errors of a model and disagreement of several models."""

import numpy as np
import pytest
from ase.units import GPa

from aiida_mlip_autopipe.assessment.deviations import ENERGY, FORCE, STRESS, estimate_errors, measure_errors
from aiida_mlip_autopipe.assessment.deviations import measure_uncertainties as uncertainties
from aiida_mlip_autopipe.assessment.predictions import Predictions
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.rounds.held_out import HeldOutErrors

# Silicon and two silicon carbides with other compositions.
NUMBERS = [np.array([14, 14]), np.array([14, 6]), np.array([14, 6, 6])]


def make_predictions(rng=None, numbers=NUMBERS, scale=1.0):
    """Return zeros, or normally distributed values."""

    def values(*shape):
        return np.zeros(shape) if rng is None else scale * rng.standard_normal(shape)

    return Predictions.from_arrays(
        numbers, values(len(numbers)), [values(len(one), 3) for one in numbers], values(len(numbers), 6)
    )


def change(predictions, **arrays):
    return Predictions(**{**vars_of(predictions), **arrays})


def vars_of(predictions):
    return {name: getattr(predictions, name) for name in ('n_atoms', 'numbers', 'energies', 'forces', 'stresses')}


def test_the_errors_of_a_frame_are_those_of_its_components():
    labels = make_predictions()
    forces = labels.forces.copy()
    forces[2] = [3.0, 0.0, 0.0]  # one of the six components of the second frame
    stresses = labels.stresses.copy()
    stresses[0, :2] = GPa
    found = measure_errors(
        labels, change(labels, forces=forces, stresses=stresses, energies=np.array([0.0, -1.0, 3.0]))
    )
    np.testing.assert_allclose(found.force_eV_A, [0.0, np.sqrt(9 / 6), 0.0])
    np.testing.assert_allclose(found.stress_GPa, [np.sqrt(2 / 6), 0.0, 0.0])
    np.testing.assert_allclose(found.energy_eV_atom, [0.0, 0.5, 1.0])
    assert found.n_components.tolist() == [6, 6, 9]


def test_offsets_are_added_to_the_energies_of_a_model():
    labels = make_predictions()
    shifted = change(labels, energies=-np.array([2 * 1.5, 1.5 + 0.25, 1.5 + 2 * 0.25]))
    np.testing.assert_allclose(measure_errors(labels, shifted, {'Si': 1.5, 'C': 0.25}).energy_eV_atom, 0.0, atol=1e-12)
    assert measure_errors(labels, shifted).energy_eV_atom.min() > 0.5


def test_a_frame_that_could_not_be_evaluated_has_no_errors_and_its_estimates_are_nan():
    labels = make_predictions()
    failed = change(labels, energies=np.array([np.nan, 0, 0]), forces=np.where(np.arange(7)[:, None] < 2, np.nan, 1.0))
    failed = change(failed, stresses=np.where(np.arange(3)[:, None] < 1, np.nan, np.zeros((3, 6))))
    found = measure_errors(labels, failed)
    assert np.isnan(found.force_eV_A).tolist() == [True, False, False]
    estimates = estimate_errors(found, ['a', 'b', 'c'], 1)
    assert all(np.isnan(estimates[name].value) for name in (FORCE, STRESS, ENERGY))


def test_the_estimates_of_errors_are_resampled_by_group():
    rng = np.random.Generator(np.random.PCG64(3))
    labels, predicted = make_predictions(), make_predictions(rng)
    groups = ['a', 'b', 'c']
    errors = measure_errors(labels, predicted)
    found = estimate_errors(errors, groups, 1)
    assert found[FORCE] == HeldOutErrors(groups, np.array([6, 6, 9]), 1).rmse(errors.force_eV_A**2)
    assert found[FORCE].value == pytest.approx(np.sqrt((predicted.forces**2).mean()))
    assert found[STRESS].value == pytest.approx(np.sqrt((predicted.stresses**2).mean()) / GPa)
    assert found[ENERGY].value == pytest.approx(np.sqrt(np.mean((predicted.energies / [2, 2, 3]) ** 2)))


def test_frames_without_a_stress_do_not_count_for_its_error():
    rng = np.random.Generator(np.random.PCG64(4))
    numbers = [*NUMBERS, *NUMBERS]
    labels = make_predictions(numbers=numbers)
    labels = change(labels, stresses=np.where(np.arange(6)[:, None] == 1, np.nan, labels.stresses))
    errors = measure_errors(labels, make_predictions(rng, numbers))
    found = estimate_errors(errors, list('abcdef'), 1)
    assert found[STRESS].value == pytest.approx(np.sqrt(np.mean(errors.stress_GPa[[0, 2, 3, 4, 5]] ** 2)))
    assert STRESS not in estimate_errors(errors, list('abcaca'), 1)


def test_the_disagreement_is_the_deviation_from_the_mean_of_the_models():
    zero = make_predictions()
    forces = zero.forces.copy()
    forces[0, 0] = 3.0
    found = uncertainties([zero, zero, change(zero, forces=forces, stresses=zero.stresses + 3 * GPa)])
    # The deviations of 0, 0 and 3 from their mean are -1, -1 and 2.
    np.testing.assert_allclose(found.force_eV_A, [np.sqrt(2 / 6), 0, 0])
    np.testing.assert_allclose(found.stress_GPa, np.sqrt(2))
    np.testing.assert_allclose(found.energy_eV_atom, 0.0, atol=1e-15)


def test_offsets_between_models_do_not_count_as_disagreement_but_the_residuals_do():
    numbers = [*NUMBERS, *NUMBERS]
    zero = make_predictions(numbers=numbers)
    offsets = np.array([3.0, 1.5 - 2.0, 1.5 - 4.0] * 2)
    shifted = change(zero, energies=offsets)
    np.testing.assert_allclose(uncertainties([zero, shifted]).energy_eV_atom, 0.0, atol=1e-12)
    differing = change(shifted, energies=offsets + np.array([0.2, 0, 0, -0.2, 0, 0]))
    np.testing.assert_allclose(uncertainties([zero, differing]).energy_eV_atom, [0.05, 0, 0] * 2, atol=1e-12)


def test_a_strained_crystal_without_forces_is_uncertain_in_stress_and_energy_only():
    zero = make_predictions(numbers=[NUMBERS[0]] * 4)
    strain = np.array([0.0, 0.01, 0.02, 0.03])
    other = change(zero, energies=strain**2 * 500, stresses=np.outer(strain, np.ones(6)) * 20 * GPa)
    found = uncertainties([zero, other])
    assert found.force_eV_A.max() == 0
    assert (np.diff(found.stress_GPa) > 0).all()
    assert found.energy_eV_atom[3] > found.energy_eV_atom[1]


def test_the_order_of_the_models_does_not_matter():
    rng = np.random.Generator(np.random.PCG64(5))
    members = [make_predictions(rng, [*NUMBERS, *NUMBERS]) for _ in range(3)]
    first, second = uncertainties(members), uncertainties(members[::-1])
    for name in (FORCE, STRESS, ENERGY):
        np.testing.assert_allclose(getattr(first, name), getattr(second, name), rtol=1e-10)


def test_a_frame_that_one_model_cannot_evaluate_has_no_uncertainty_and_does_not_disturb_the_others():
    rng = np.random.Generator(np.random.PCG64(6))
    numbers = [*NUMBERS, *NUMBERS, *NUMBERS]
    members = [make_predictions(rng, numbers) for _ in range(3)]
    energies = members[1].energies.copy()
    energies[4] = np.nan
    found = uncertainties([members[0], change(members[1], energies=energies), members[2]])
    assert np.isnan(found.energy_eV_atom).tolist() == [index == 4 for index in range(9)]
    kept = [index for index in range(9) if index != 4]
    expected = uncertainties([one.subset(kept) for one in members])
    np.testing.assert_allclose(found.energy_eV_atom[kept], expected.energy_eV_atom)


def test_other_frames_and_single_models_are_refused():
    with pytest.raises(AutopipeError):
        uncertainties([make_predictions()])
    with pytest.raises(AutopipeError):
        uncertainties([make_predictions(), make_predictions(numbers=NUMBERS[::-1])])
    with pytest.raises(AutopipeError):
        measure_errors(make_predictions(), make_predictions(numbers=NUMBERS[:2]))
