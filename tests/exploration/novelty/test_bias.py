"""A bias towards disagreement: its gradient, its distribution, and what a biased run stores."""

from __future__ import annotations

import numpy as np
import pytest
from ase.calculators.emt import EMT
from support.committees import COPPER, LJ
from support.model_systems import KT, TEMPERATURE_K, Tethers, assert_mean, make, make_system

from aiida_mlip_autopipe.calculators.evaluation import Evaluation, Evaluator
from aiida_mlip_autopipe.calculators.kinds.lj import LennardJonesSettings, ShiftedForceLennardJones
from aiida_mlip_autopipe.exploration.novelty.bias import Bias, SMOOTHING_eV
from aiida_mlip_autopipe.exploration.novelty.members import Members, force_deviation

STRENGTH = 3.0
VOIGT = ([0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1])


def lennard_jones(**changes):
    return ShiftedForceLennardJones(LennardJonesSettings.model_validate(LJ | changes))


def shifted(evaluate, energy):
    """Return the evaluations of a member with a constant added to its energies."""

    def evaluate_shifted(positions, cell):
        one = evaluate(positions, cell)
        return Evaluation(one.energy + energy, one.forces, one.stress)

    return evaluate_shifted


@pytest.fixture
def functions(alloy):
    """Functions that evaluate the alloy with three members."""
    calculators = (EMT(), lennard_jones(), lennard_jones(sigma_A=2.4))
    return [Evaluator(alloy.copy(), calculator, with_stress=True).evaluate for calculator in calculators]


def bias_of(functions, alloy):
    bias = Bias(functions[0], Members(functions[1:]), STRENGTH, len(alloy))
    bias.evaluate(alloy.positions.copy(), alloy.cell.array.copy())  # the start of a run
    return bias


@pytest.fixture
def moved(alloy):
    """Positions and cell of a distorted alloy."""
    rng = np.random.default_rng(3)
    strain = np.eye(3) + 0.03 * rng.normal(size=(3, 3))
    return (alloy.positions + 0.1 * rng.normal(size=(4, 3))) @ strain, alloy.cell.array @ strain


def test_biased_forces_are_the_gradient_of_the_energy_minus_the_spread(functions, alloy, moved):
    bias, (positions, cell) = bias_of(functions, alloy), moved
    start = np.array([one(alloy.positions, alloy.cell.array).energy for one in functions])

    def energy(changed):
        energies = np.array([one(changed, cell).energy for one in functions])
        spread = np.sqrt(np.var(energies - start) + 4 * SMOOTHING_eV**2)
        return energies[0] - STRENGTH * spread

    biased = bias.evaluate(positions, cell)
    assert biased.energy == pytest.approx(energy(positions), abs=1e-12)
    step = 1e-4
    for atom, axis in ((0, 0), (2, 1), (3, 2)):
        shift = np.zeros((4, 3))
        shift[atom, axis] = step
        slope = (energy(positions + shift) - energy(positions - shift)) / (2 * step)
        assert biased.forces[atom, axis] == pytest.approx(-slope, abs=1e-5)
        assert abs(biased.forces[atom, axis] - biased.unbiased.forces[atom, axis]) > 0.05


def test_the_biased_stress_is_the_derivative_with_respect_to_the_strain(functions, alloy, moved):
    bias, (positions, cell) = bias_of(functions, alloy), moved
    biased, step = bias.evaluate(positions, cell), 1e-5
    for component in (0, 4):
        strain = np.zeros((3, 3))
        row, column = VOIGT[0][component], VOIGT[1][component]
        strain[row, column] += 0.5 * step
        strain[column, row] += 0.5 * step
        plus, minus = np.eye(3) + strain, np.eye(3) - strain
        slope = (
            bias.evaluate(positions @ plus, cell @ plus).energy - bias.evaluate(positions @ minus, cell @ minus).energy
        ) / (2 * step)
        assert biased.stress[component] == pytest.approx(slope / abs(np.linalg.det(cell)), abs=1e-6)
        assert abs(biased.stress[component] - biased.unbiased.stress[component]) > 1e-3


def test_a_constant_for_each_element_in_the_energies_of_a_member_changes_nothing(functions, alloy, moved):
    offset = float(np.array([{29: 3.7, 79: -120.1}[number] for number in alloy.numbers]).sum())
    plain = bias_of(functions, alloy).evaluate(*moved)
    others = [functions[0], shifted(functions[1], offset), functions[2]]
    changed = bias_of(others, alloy).evaluate(*moved)
    assert changed.energy == pytest.approx(plain.energy, abs=1e-10)
    np.testing.assert_allclose(changed.forces, plain.forces, rtol=0, atol=1e-10)


def test_the_deviation_of_forces_does_not_depend_on_the_order_of_the_members_and_is_zero_if_they_agree():
    forces = np.random.default_rng(0).normal(size=(3, 5, 3))
    assert force_deviation(forces) == pytest.approx(force_deviation(forces[[2, 0, 1]]))
    assert force_deviation(np.repeat(forces[:1], 3, axis=0)) == pytest.approx(0, abs=1e-15)
    two = forces[:2]
    assert force_deviation(two) == pytest.approx(0.5 * np.linalg.norm(two[0] - two[1], axis=1).max())


@pytest.mark.physics
@pytest.mark.parametrize('strength', [0.0, 2.0])
def test_biased_dynamics_samples_the_distribution_of_the_biased_energy(strength):
    """Two members with harmonic tethers of different stiffness: the distribution of the distance is an integral."""
    n_free, soft, stiff = 3, 1.0, 1.8
    anchors = 3.0 * np.arange(n_free + 1)[:, np.newaxis] * np.ones(3)
    free = np.arange(n_free + 1) > 0  # with a fixed atom, the total momentum is not conserved
    rng = np.random.default_rng(2)
    system = make_system(anchors, 20 * np.eye(3), np.full(n_free + 1, 40.0), free, rng)
    members = [Tethers(anchors, np.full(n_free + 1, constant)) for constant in (soft, stiff)]
    bias = Bias(members[0], Members(members[1:]), strength, n_free + 1)
    bias.evaluate(anchors, system.cell)
    integrator = make('langevin', system, bias.evaluate, 8.0, rng, thermostat_time_fs=40.0)
    spreads = []
    for _ in range(30_000):
        integrator.step()
        first, second = (member(system.positions, system.cell).energy for member in members)
        spreads.append(0.5 * abs(first - second))

    distances = np.linspace(0, 3, 30_001)
    spread = 0.25 * (stiff - soft) * distances**2
    energies = 0.5 * soft * distances**2 - strength * np.sqrt(spread**2 + SMOOTHING_eV**2 * (n_free + 1))
    weights = distances ** (3 * n_free - 1) * np.exp(-energies / KT)
    expected = (weights * spread).sum() / weights.sum()
    without_bias = 0.25 * (stiff - soft) * 3 * n_free * KT / soft
    assert expected > 1.5 * without_bias if strength else expected == pytest.approx(without_bias, rel=1e-3)
    assert_mean(np.array(spreads[500:]), expected, resolution=0.15)


def test_a_biased_run_stores_unbiased_frames_marks_them_and_has_no_averages(job_folder, copper):
    settings = {'ensemble': 'npt', 'temperature_K': TEMPERATURE_K, 'n_steps': 30}
    plain = job_folder('plain').write(copper, settings, calculator={'kind': 'emt'})
    biased = job_folder('biased').write(copper, settings | {'bias': {'strength': STRENGTH}}, calculator=COPPER)
    averages, found = plain.run().statistics, biased.run().statistics
    assert {'energy_eV', 'volume_A3'} <= averages.keys()
    assert not averages.keys() & found.keys()
    frames = biased.frames()
    assert (frames.extra['bias_eV'] < 0).all()
    assert 'bias_eV' not in plain.frames().extra
    assert not np.allclose(frames.positions[-1], plain.frames().positions[-1], atol=1e-3)
    atoms, emt = copper.copy(), EMT()
    for index in range(len(frames)):
        atoms.set_cell(frames.cells[index])
        atoms.positions = frames.positions[index]
        atoms.calc = emt
        assert frames.energies[index] == pytest.approx(atoms.get_potential_energy(), abs=1e-9)
        np.testing.assert_allclose(frames.forces[index], atoms.get_forces(), atol=1e-9)
        np.testing.assert_allclose(frames.stresses[index], atoms.get_stress(), atol=1e-9)
