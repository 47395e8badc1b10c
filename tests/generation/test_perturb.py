from __future__ import annotations

import numpy as np
import pytest
from ase.build import bulk, fcc111, molecule
from pydantic import ValidationError

from aiida_mlip_autopipe.generation import PerturbSettings
from aiida_mlip_autopipe.generation.perturb import perturb_atoms


def perturb(atoms, variant=0, deformable=None, seed=3, **fields):
    return perturb_atoms(atoms, PerturbSettings(**fields), variant, np.random.default_rng(seed), deformable)


def test_strain_acts_on_cell_and_positions_by_the_same_symmetric_tensor():
    atoms = bulk('Cu', cubic=True)
    strained, record = perturb(atoms, anisotropic_strain=0.05, shear=0.04)
    gradient = np.linalg.solve(atoms.cell.array, strained.cell.array).T
    assert np.allclose(gradient, gradient.T)
    strain = gradient - np.eye(3)
    assert record['strain_voigt'] == pytest.approx(
        [strain[0, 0], strain[1, 1], strain[2, 2], strain[1, 2], strain[0, 2], strain[0, 1]]
    )
    assert np.allclose(strained.get_scaled_positions(), atoms.get_scaled_positions())


def test_strains_are_uniform_within_their_limits():
    atoms = bulk('Cu')
    normal = np.array([perturb(atoms, seed=i, anisotropic_strain=0.05)[1]['strain_voigt'] for i in range(400)])
    assert np.abs(normal[:, :3]).max() <= 0.05
    assert np.abs(normal[:, :3].mean()) < 4 * 0.05 / np.sqrt(3 * 1200)
    assert normal[:, :3].var() == pytest.approx(0.05**2 / 3, rel=0.15)
    assert (normal[:, 3:] == 0).all()


def test_isotropic_strain_keeps_the_shape():
    strained, _ = perturb(bulk('Cu', cubic=True), isotropic_strain=0.1)
    lengths = strained.cell.lengths()
    assert lengths == pytest.approx([lengths[0]] * 3)
    assert lengths[0] != 3.61


@pytest.mark.parametrize('change', [-0.2, 0.4])
def test_volume_changes_by_the_factor_asked_for(change):
    atoms = bulk('Cu')
    assert perturb(atoms, volume_scan=(change,))[0].get_volume() == pytest.approx(atoms.get_volume() * (1 + change))


def test_rattle_is_gaussian_with_the_standard_deviation_of_each_component():
    atoms = bulk('Cu', cubic=True) * (6, 6, 6)
    moved = perturb(atoms, rattle_A=0.1)[0].positions - atoms.positions
    assert moved.std() == pytest.approx(0.1, rel=0.05)
    assert abs(np.mean(moved**4) / np.mean(moved**2) ** 2 - 3) < 0.3


def test_rattle_by_temperature_is_that_of_the_debye_model():
    # Copper at 300 K with 343 K: B = 8 pi^2 <u^2> is 0.5-0.6 A^2 in experiment, so <u^2> about 0.007 A^2.
    atoms = bulk('Cu', cubic=True) * (4, 4, 4)
    _, record = perturb(atoms, rattle_temperature_K=300, debye_temperature_K=343)
    assert record['rattle_A'] ** 2 == pytest.approx(0.0058, rel=0.05)


def test_light_atoms_move_more():
    water = molecule('H2O')
    moved = [
        np.abs(perturb(water, seed=i, rattle_temperature_K=300)[0].positions - water.positions) for i in range(300)
    ]
    oxygen, hydrogen = np.mean(moved, axis=0)[[0, 1]].mean(axis=1)
    assert hydrogen / oxygen == pytest.approx(np.sqrt(15.999 / 1.008), rel=0.15)


def test_a_slab_is_strained_in_its_plane_only():
    slab = fcc111('Cu', (2, 2, 3), vacuum=8.0)
    slab.pbc = True
    strained, _ = perturb(slab, deformable=(True, True, False), anisotropic_strain=0.05, shear=0.05)
    assert np.allclose(strained.cell.array[2], slab.cell.array[2])
    assert np.allclose(strained.positions[:, 2], slab.positions[:, 2])
    assert not np.allclose(strained.cell.array[:2, :2], slab.cell.array[:2, :2])


def test_a_molecule_is_not_strained():
    water = molecule('H2O')
    assert np.array_equal(perturb(water, isotropic_strain=0.1, shear=0.1)[0].positions, water.positions)


def test_the_parent_is_left_as_it_is():
    atoms = bulk('Cu')
    before = atoms.copy()
    perturb(atoms, rattle_A=0.1, isotropic_strain=0.1, supercell=(2, 1, 1))
    assert atoms == before


@pytest.mark.parametrize('fields', [{'rattle_A': 0.1, 'rattle_temperature_K': 300}, {'volume_scan': (-0.95,)}])
def test_contradicting_or_impossible_settings_are_refused(fields):
    with pytest.raises(ValidationError):
        PerturbSettings(**fields)
