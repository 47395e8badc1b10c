from __future__ import annotations

import numpy as np
import pytest
from ase.build import bulk, fcc111, molecule
from ase.data import atomic_masses, atomic_numbers
from scipy import constants
from support.errors import refused

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.generation import PerturbSettings
from aiida_mlip_autopipe.generation.perturb import perturb_atoms


def perturb(atoms, variant=0, deformable=None, seed=3, **fields):
    return perturb_atoms(atoms, PerturbSettings(**fields), variant, np.random.default_rng(seed), deformable)


def test_strain_changes_cell_and_positions_by_the_same_symmetric_tensor():
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
def test_the_volume_changes_by_the_requested_factor(change):
    atoms = bulk('Cu')
    assert perturb(atoms, volume_scan=(change,))[0].get_volume() == pytest.approx(atoms.get_volume() * (1 + change))


def test_rattle_is_gaussian_with_the_standard_deviation_of_each_component():
    atoms = bulk('Cu', cubic=True) * (6, 6, 6)
    moved = perturb(atoms, rattle_A=0.1)[0].positions - atoms.positions
    assert moved.std() == pytest.approx(0.1, rel=0.05)
    assert abs(np.mean(moved**4) / np.mean(moved**2) ** 2 - 3) < 0.3


def test_a_rattle_temperature_gives_the_displacements_of_the_debye_model():
    # Copper at 300 K, with a Debye temperature of 343 K: B = 8 pi^2 <u^2> is 0.5-0.6 A^2 in experiments, so <u^2> is
    # about 0.007 A^2.
    atoms = bulk('Cu', cubic=True) * (4, 4, 4)
    _, record = perturb(atoms, rattle_temperature_K=300, debye_temperature_K=343)
    assert record['rattle_A'] ** 2 == pytest.approx(0.0058, rel=0.05)


@pytest.mark.parametrize('temperature_K', [100, 600])
def test_the_variance_of_the_rattle_grows_with_temperature_and_falls_with_the_mass(temperature_K):
    salt = bulk('NaCl', 'rocksalt', a=5.64, cubic=True) * (6, 6, 6)
    rattled, _ = perturb(salt, rattle_temperature_K=temperature_K, debye_temperature_K=320)
    moved = rattled.positions - salt.positions
    for symbol in ('Na', 'Cl'):
        # <u^2> = 3 hbar^2 T / (m k theta^2) for each component, with constants from SciPy instead of ASE.
        mass = atomic_masses[atomic_numbers[symbol]] * constants.atomic_mass
        variance = 3 * constants.hbar**2 * temperature_K / (mass * constants.k * 320**2) * 1e20
        # The relative error of the variance of 3 x 864 components is sqrt(2 / 2592).
        assert moved[salt.symbols == symbol].var() == pytest.approx(variance, rel=5 * np.sqrt(2 / 2592))


def test_the_supercell_is_built_before_the_atoms_are_rattled():
    atoms = bulk('Cu', cubic=True)
    big, record = perturb(atoms, supercell=(3, 2, 1), rattle_A=0.1)
    assert record['supercell'] == [3, 2, 1]
    assert len(big) == 24
    assert np.allclose(big.cell.lengths(), 3.61 * np.array([3, 2, 1]))
    moved = (big.positions - (atoms * (3, 2, 1)).positions).reshape(6, 4, 3)
    assert not np.allclose(moved[0], moved[1])  # images move independently


def test_shear_conserves_the_volume_to_first_order_and_isotropic_strain_the_angles():
    atoms = bulk('Ti')
    sheared, _ = perturb(atoms, shear=0.05)
    assert sheared.get_volume() == pytest.approx(atoms.get_volume(), rel=3 * 0.05**2)
    assert not np.allclose(sheared.cell.angles(), atoms.cell.angles(), atol=0.1)
    scaled, record = perturb(atoms, isotropic_strain=0.1)
    assert np.allclose(scaled.cell.angles(), atoms.cell.angles())
    assert scaled.get_volume() == pytest.approx(atoms.get_volume() * (1 + record['strain_voigt'][0]) ** 3)
    # All distances scale by the same factor, so the neighbours do not change.
    both = [np.sort((x * (2, 2, 2)).get_all_distances(mic=True)[0])[1:13] for x in (scaled, atoms)]
    assert both[0] / both[1] == pytest.approx(1 + record['strain_voigt'][0])


def test_a_volume_scan_of_a_slab_scales_its_plane_but_not_its_vacuum():
    slab = fcc111('Cu', (2, 2, 3), vacuum=8.0)
    scaled, _ = perturb(slab, deformable=(True, True, False), volume_scan=(0.331,))
    assert np.linalg.norm(scaled.cell.array, axis=1) == pytest.approx(slab.cell.lengths() * [1.1, 1.1, 1.0])
    assert np.allclose(scaled.positions[:, 2], slab.positions[:, 2])


def test_variants_of_one_nested_parent_record_the_same_parent(generate):
    slab = {'kind': 'surface', 'of': {'kind': 'alloy', 'composition': {'Cu': 0.75, 'Au': 0.25}},
            'miller_indices': [[1, 0, 0]], 'n_layers': 4}  # fmt: skip
    perturb = {'rattle_A': 0.02, 'anisotropic_strain': 0.02, 'volume_scan': [-0.1, 0.1], 'supercell': [2, 1, 1]}
    entry = {'kind': 'defect', 'of': slab, 'vacancies': {'Cu': 1}, 'n_seeds': 4, 'perturb': perturb}
    parents = [seed.record['parent'] for seed in generate(entry, cutoff_A=2.5).seeds]
    assert parents[0] == parents[1] != parents[2] == parents[3]
    assert parents == [seed.record['parent'] for seed in generate(entry, cutoff_A=2.5).seeds]


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


@pytest.mark.parametrize('name', ['isotropic_strain', 'anisotropic_strain', 'shear', 'volume_scan'])
def test_strain_of_a_structure_that_is_not_periodic_is_refused(generate, name):
    cluster = {'kind': 'cluster', 'of': {'kind': 'alloy', 'composition': {'Cu': 1}}, 'n_seeds': 2, 'n_shells': 2}
    value = [-0.1, 0.1] if name == 'volume_scan' else 0.05
    with refused(Code.VALUES_EXCLUDE, f'perturb.{name}'):
        generate({**cluster, 'shape': 'icosahedron', 'perturb': {name: value}})
    assert len(generate({**cluster, 'shape': 'icosahedron', 'perturb': {'rattle_A': 0.05, 'n_variants': 2}}).seeds) == 2


def test_the_parent_is_not_changed():
    atoms = bulk('Cu')
    before = atoms.copy()
    perturb(atoms, rattle_A=0.1, isotropic_strain=0.1, supercell=(2, 1, 1))
    assert atoms == before


@pytest.mark.parametrize(
    ('fields', 'code', 'values'),
    [
        ({'rattle_A': 0.1, 'rattle_temperature_K': 300}, Code.VALUES_EXCLUDE, ['rattle_A', 'rattle_temperature_K']),
        ({'volume_scan': (-0.95,)}, Code.OUT_OF_RANGE, ['-0.9', '5']),
    ],
)
def test_contradictory_or_impossible_settings_are_refused(fields, code, values):
    with refused(code, *values):
        PerturbSettings(**fields)


@pytest.mark.parametrize('periodic', [True, False])
def test_a_slab_is_repeated_in_its_plane_but_not_across_its_vacuum(periodic):
    slab = fcc111('Cu', (2, 2, 3), vacuum=8.0, periodic=periodic)
    repeated, record = perturb(slab, supercell=[2, 3, 1])
    assert (len(repeated), record['supercell']) == (6 * len(slab), [2, 3, 1])
    with refused(Code.VALUES_EXCLUDE, 'perturb.supercell', 'Cu12', ' 3'):
        perturb(slab, supercell=[1, 1, 2])
