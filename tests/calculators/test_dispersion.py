"""The dispersion that is added to DFT labels."""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import pytest
from ase.build import bulk, fcc111, molecule
from support.errors import refused

from aiida_mlip_autopipe.calculators import dispersion
from aiida_mlip_autopipe.calculators.dispersion import DispersionCorrection, check_dispersion
from aiida_mlip_autopipe.core.codes import Code

needs_dftd3 = pytest.mark.skipif(find_spec('dftd3') is None, reason='dftd3 is not installed')


def silicon():
    atoms = bulk('Si')
    atoms.rattle(0.05, seed=1)
    return atoms


def slab():
    atoms = fcc111('Al', (1, 1, 3), vacuum=6.0)
    atoms.pbc = (True, True, False)
    return atoms


def results_for(atoms):
    results = {'energy': 1.0, 'free_energy': 2.0, 'forces': np.zeros((len(atoms), 3))}
    if atoms.pbc.all():
        results['stress'] = np.zeros(6)
    DispersionCorrection('PBE').add_to(results, atoms)
    return results


# Energies and largest force components from torch-dftd 0.5.3, which uses a different cutoff.
@needs_dftd3
@pytest.mark.parametrize(
    ('atoms', 'energy', 'force'),
    [
        (silicon(), -0.631192777, 0.027475329),
        (slab(), -0.679391752, 0.080479299),
        (molecule('C6H6'), -0.298157683, 0.008453224),
    ],
)
def test_the_dispersion_is_that_of_another_implementation(atoms, energy, force):
    results = results_for(atoms)
    assert results['energy'] - 1.0 == pytest.approx(energy, rel=1e-3)
    assert results['free_energy'] - 2.0 == pytest.approx(energy, rel=1e-3)
    assert np.abs(results['forces']).max() == pytest.approx(force, rel=1e-3)


@needs_dftd3
def test_the_forces_and_the_stress_are_derivatives_of_the_energy():
    atoms, step = silicon(), 1e-3
    results = results_for(atoms)
    energies, strained = [], []
    for sign in (-1, 1):
        moved = atoms.copy()
        moved.positions[1, 0] += sign * step
        energies.append(results_for(moved)['energy'])
        stretched = atoms.copy()
        stretched.set_cell(atoms.cell.array @ (np.eye(3) + sign * step * np.diag([1.0, 0.0, 0.0])), scale_atoms=True)
        strained.append(results_for(stretched)['energy'])
    assert results['forces'][1, 0] == pytest.approx((energies[0] - energies[1]) / (2 * step), rel=1e-4)
    expected = (strained[1] - strained[0]) / (2 * step * atoms.get_volume())
    assert results['stress'][0] == pytest.approx(expected, rel=1e-3)


def test_a_missing_package_is_refused(monkeypatch):
    monkeypatch.setattr(dispersion, 'find_spec', lambda name: None)
    with refused(Code.CALCULATOR_MISSING, "'dftd3'", '[gpaw]'):
        check_dispersion()
