"""Lennard-Jones with a shifted force."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.fd import calculate_numerical_forces, calculate_numerical_stress

from aiida_mlip_autopipe.calculators.kinds.lj import (
    LennardJonesLoader,
    LennardJonesSettings,
    ShiftedForceLennardJones,
)


def argon() -> Atoms:
    atoms = bulk('Ar', 'fcc', a=5.3, cubic=True)
    atoms.rattle(0.2, seed=1)
    atoms.calc = LennardJonesLoader(LennardJonesSettings()).load().calculator
    return atoms


def test_forces_and_stress_are_the_derivatives_of_the_energy():
    atoms = argon()
    assert atoms.get_forces() == pytest.approx(calculate_numerical_forces(atoms, eps=1e-4), abs=1e-7)
    assert atoms.get_stress() == pytest.approx(calculate_numerical_stress(atoms, eps=1e-5), abs=1e-8)


@pytest.mark.parametrize(('distance', 'expected'), [(3.4, 0.0), (3.4 * 2 ** (1 / 6), -0.0104)])
def test_the_energy_of_a_pair_is_that_of_the_shifted_potential(distance, expected):
    atoms = Atoms('Ar2', [[0, 0, 0], [distance, 0, 0]])
    atoms.calc = ShiftedForceLennardJones(LennardJonesSettings(cutoff_A=100.0))
    assert atoms.get_potential_energy() == pytest.approx(expected, abs=1e-8)


def test_energy_and_force_vanish_at_the_cutoff():
    atoms = Atoms('Ar2', [[0, 0, 0], [8.4999, 0, 0]])
    atoms.calc = ShiftedForceLennardJones(LennardJonesSettings())
    assert abs(atoms.get_potential_energy()) < 1e-12
    assert np.abs(atoms.get_forces()).max() < 1e-7


def test_a_run_with_lennard_jones_completes(job_folder):
    result = job_folder().write(bulk('Ar', 'fcc', a=5.3, cubic=True), {'n_steps': 4}, calculator={'kind': 'lj'}).run()
    assert (result.outcome, result.ensemble) == ('completed', 'npt')


def test_the_numbers_do_not_change_between_versions():
    # The level of theory does not contain a version. If this test fails, one must be added to it.
    atoms = bulk('Ar', 'fcc', a=5.3, cubic=True)
    atoms.positions[1] += [0.1, -0.2, 0.05]
    atoms.calc = LennardJonesLoader(LennardJonesSettings()).load().calculator
    assert atoms.get_potential_energy() == pytest.approx(-0.2690151485896902, rel=1e-12)
    assert atoms.get_forces()[1] == pytest.approx([-0.03218879, 0.06171979, -0.01618921], abs=1e-8)
