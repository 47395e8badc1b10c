"""GPAW's labels of a metal, an insulator, a slab and a magnetic crystal: direct calculations and derivatives."""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111

from aiida_mlip_autopipe.calculators.evaluation import Evaluator
from aiida_mlip_autopipe.calculators.kinds.gpaw import GPAWLoader, GPAWSettings

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(find_spec('gpaw') is None, reason='GPAW is not installed'),
]


@dataclass(frozen=True)
class Case:
    """A structure with its settings, and what they mean for GPAW, written out by hand.

    A small strain does not change the mesh of k-points.
    """

    atoms: Atoms
    settings: dict[str, Any]
    kpts: tuple[int, int, int]
    parameters: dict[str, Any] = field(default_factory=dict)


def aluminium():
    atoms = bulk('Al', a=4.05) * (2, 1, 1)
    atoms.rattle(0.08, seed=1)
    return Case(atoms, {'kspacing_per_A': 1.0}, (2, 3, 3))


def magnesium_oxide():
    atoms = bulk('MgO', 'rocksalt', a=4.25)
    atoms.rattle(0.08, seed=2)
    return Case(atoms, {'plane_wave_cutoff_eV': 340.0, 'kspacing_per_A': 1.3}, (2, 2, 2))


def slab():
    atoms = fcc111('Al', (1, 1, 3), a=4.05)
    atoms.center(vacuum=5.0, axis=2)
    atoms.pbc = (True, True, False)
    atoms.rattle(0.08, seed=3)
    return Case(atoms, {'kspacing_per_A': 0.9, 'vacuum_A': 5.0}, (3, 3, 1), {'poissonsolver': {'dipolelayer': 'xy'}})


def iron():
    atoms = bulk('Fe', cubic=True, a=2.87)
    atoms.set_initial_magnetic_moments(None)
    atoms.rattle(0.08, seed=4)
    settings = {'kspacing_per_A': 1.2, 'spin_polarized': True, 'initial_magnetic_moments': {'Fe': 2.5}}
    return Case(atoms, settings, (2, 2, 2), {'spinpol': True})


CASES = (aluminium, magnesium_oxide, slab, iron)


def evaluate(atoms, settings, cutoff_factor=1.0):
    settings = {'plane_wave_cutoff_eV': 300.0, 'scf_density': 1e-6} | settings
    settings['plane_wave_cutoff_eV'] *= cutoff_factor
    calculator = GPAWLoader(GPAWSettings(**settings)).load().calculator
    return Evaluator(atoms.copy(), calculator, bool(atoms.pbc.all())).evaluate(atoms.positions, atoms.cell.array)


@pytest.mark.parametrize('make', CASES)
def test_labels_are_those_of_gpaw(make):
    from gpaw import GPAW, PW

    case = make()
    atoms = case.atoms.copy()
    if not atoms.pbc.all():
        atoms.center(vacuum=5.0, axis=2)
    if case.parameters.get('spinpol'):
        atoms.set_initial_magnetic_moments([2.5] * len(atoms))
    atoms.calc = GPAW(
        mode=PW(case.settings.get('plane_wave_cutoff_eV', 300.0)),
        xc='PBE',
        kpts={'size': case.kpts, 'gamma': True},
        occupations={'name': 'fermi-dirac', 'width': 0.1},
        convergence={'density': 1e-6},
        txt=None,
        **case.parameters,
    )
    found = evaluate(case.atoms, case.settings)
    assert found.energy == pytest.approx(atoms.get_potential_energy(force_consistent=True), abs=1e-6)
    assert found.forces == pytest.approx(atoms.get_forces(), abs=1e-5)
    if atoms.pbc.all():
        assert found.stress == pytest.approx(atoms.get_stress(), abs=1e-7)


@pytest.mark.parametrize('make', CASES)
def test_the_forces_are_the_derivative_of_the_energy(make):
    case, step = make(), 0.01
    forces = evaluate(case.atoms, case.settings).forces
    largest = np.unravel_index(np.argmax(np.abs(forces)), forces.shape)
    energies = []
    for sign in (-1, 1):
        moved = case.atoms.copy()
        moved.positions[largest] += sign * step
        energies.append(evaluate(moved, case.settings).energy)
    assert abs(forces[largest]) > 0.05
    assert forces[largest] == pytest.approx((energies[0] - energies[1]) / (2 * step), rel=0.02, abs=0.01)


# Strained iron has several magnetic solutions with these k-points.
@pytest.mark.parametrize('make', [aluminium, magnesium_oxide])
def test_the_pressure_is_the_derivative_of_the_energy_at_a_fixed_number_of_plane_waves(make):
    case, step = make(), 0.005
    stress = evaluate(case.atoms, case.settings).stress
    energies = []
    for sign in (-1, 1):
        strained = case.atoms.copy()
        strained.set_cell(case.atoms.cell * (1 + sign * step), scale_atoms=True)
        # The strained cell has the same plane waves only if the cutoff is scaled, too.
        energies.append(evaluate(strained, case.settings, (1 + sign * step) ** -2).energy)
    derivative = (energies[1] - energies[0]) / (2 * step * case.atoms.get_volume())
    assert stress[:3].sum() == pytest.approx(derivative, rel=0.03, abs=0.002)


def test_a_dissociated_dimer_has_the_energy_of_two_isolated_atoms():
    settings = {'plane_wave_cutoff_eV': 300.0, 'vacuum_A': 4.0, 'scf_density': 1e-5}
    calculator = GPAWLoader(GPAWSettings(**settings)).load().calculator
    dimer = Atoms('H2', [[0.0, 0.0, 0.0], [0.0, 0.0, 5.0]])
    energy = Evaluator(dimer, calculator, with_stress=False).evaluate(dimer.positions, dimer.cell.array).energy
    # Without spin polarisation, the energy of the dimer would be about 2 eV higher.
    assert energy == pytest.approx(2 * calculator.isolated_atom_energy('H'), abs=0.1)
