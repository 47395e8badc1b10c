from __future__ import annotations

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT
from matscipy.neighbours import neighbour_list
from scipy.spatial import Delaunay
from support.errors import refused

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.generation.defects import screw_dipoles
from aiida_mlip_autopipe.generation.surfaces.stacking import make_stack

COPPER = {'kind': 'alloy', 'composition': {'Cu': 1.0}}
IRON = {'kind': 'alloy', 'composition': {'Fe': 1.0}, 'lattice': 'bcc'}
CRYSTALS = {
    'Cu': (bulk('Cu', cubic=True, a=3.61), (1, 1, 0), (1, -1, 0), 3.61 / 2**0.5),
    'Fe': (bulk('Fe', cubic=True, a=2.87), (1, 1, 1), (1, -1, 0), 2.87 * 0.75**0.5),
    'NiAl': (bulk('NiAl', 'cesiumchloride', a=2.88), (1, 0, 0), (0, 1, 0), 2.88),
}


def entry(of: dict, **fields) -> dict:
    return {'kind': 'dislocation', 'of': of, **fields}


def charges_of_triangles(atoms, perfect, burgers_A):
    """Return the positions (m, 2) and the charges (m,) of the triangles of atoms around which the displacement jumps.

    The displacement along z differs between neighbouring rows of atoms modulo the Burgers vector (V. Vitek,
    R. C. Perrin, D. K. Bowen, Philos. Mag. 21, 1049, 1970). The sum around a triangle is the Burgers vector inside it.
    """
    displacement = (atoms.positions[:, 2] - perfect.positions[:, 2]) / burgers_A
    cell = perfect.cell.array[:2, :2]
    flat, values = [], []
    for i in (-1, 0, 1):
        for j in (-1, 0, 1):
            flat.append(perfect.positions[:, :2] + np.array([i, j]) @ cell)
            values.append(displacement + (np.array([i, j]) @ atoms.cell.array[:2, 2]) / burgers_A)
    flat, values = np.concatenate(flat), np.concatenate(values)
    _, rows = np.unique(np.round(flat, 2), axis=0, return_index=True)
    flat, values = flat[rows], values[rows]
    corners = Delaunay(flat).simplices
    jumps = np.roll(values[corners], -1, axis=1) - values[corners]
    charges = (jumps - np.round(jumps)).sum(axis=1)
    turned = np.cross(flat[corners[:, 1]] - flat[corners[:, 0]], flat[corners[:, 2]] - flat[corners[:, 0]])
    centres = flat[corners].mean(axis=1)
    inside = ((centres @ np.linalg.inv(cell) >= 0) & (centres @ np.linalg.inv(cell) < 1)).all(axis=1)
    found = inside & (np.abs(charges) > 0.5)
    return centres[found], (charges * np.sign(turned))[found]


@pytest.mark.parametrize('name', list(CRYSTALS))
def test_a_cell_has_one_dislocation_of_each_sign_at_the_requested_distance(name, monkeypatch):
    crystal, burgers, other, length_A = CRYSTALS[name]
    stack = make_stack(crystal, burgers, other)
    atoms, burgers_A, distance_A = screw_dipoles.screw_dipole(stack, 12.0, 8.0)
    assert burgers_A == pytest.approx(length_A)
    assert distance_A >= 12.0
    monkeypatch.setattr(screw_dipoles, '_periodic_field', lambda *_: lambda points: np.zeros(points.shape[:-1]))
    perfect, *_ = screw_dipoles.screw_dipole(stack, 12.0, 8.0)
    assert np.allclose(atoms.positions[:, :2], perfect.positions[:, :2])
    centres, charges = charges_of_triangles(atoms, perfect, burgers_A)
    assert sorted(np.round(charges, 6)) == [-1, 1]
    apart = centres[1] - centres[0]
    images = [apart + np.array([i, j]) @ perfect.cell.array[:2, :2] for i in (-1, 0, 1) for j in (-1, 0, 1)]
    # The width of a triangle is about the distance between two rows of atoms. Neighbouring dislocations have opposite
    # signs.
    assert np.linalg.norm(images, axis=1).min() >= 12.0 - 3.0
    assert np.abs(np.linalg.norm(images, axis=1) - distance_A).min() < 2.0


def test_the_tilt_of_the_cell_removes_the_shear_stress():
    crystal, burgers, other, _ = CRYSTALS['Cu']
    atoms, *_ = screw_dipoles.screw_dipole(make_stack(crystal, burgers, other), 12.0, 8.0)
    atoms.calc = EMT()
    tilted = atoms.get_stress()[3:5]
    straight = atoms.copy()
    straight.set_cell([*atoms.cell.array[:2] * [1, 1, 0], atoms.cell.array[2]])
    fractions = atoms.cell.scaled_positions(atoms.positions)
    straight.set_positions(fractions @ straight.cell.array)
    straight.calc = EMT()
    assert np.abs(tilted).max() < 0.01 * np.abs(straight.get_stress()[3:5]).max()
    # The energy of two dislocations per length, b²μ/(2π) ln(d/r) with the core radius r, is about 1 eV/Å in copper.
    perfect = crystal.copy()
    perfect.calc = EMT()
    excess = atoms.get_potential_energy() - len(atoms) / 4 * perfect.get_potential_energy()
    assert 0.3 < excess / atoms.cell.array[2, 2] < 3


@pytest.mark.parametrize(('of', 'burgers', 'neighbours'), [(COPPER, [1, 1, 0], 12), (IRON, [1, 1, 1], 14)])
def test_a_seed_keeps_the_density_and_most_neighbours_and_is_reproducible(generate, of, burgers, neighbours):
    (seed,) = generate(entry(of), cutoff_A=5.0).seeds
    assert seed.record['burgers'] == burgers
    assert seed.record['distance_A'] >= 10
    perfect = generate(of).seeds[0].atoms
    assert seed.atoms.get_volume() / len(seed.atoms) == pytest.approx(perfect.get_volume() / len(perfect))
    nearest = neighbour_list('d', perfect, cutoff=4.0).min()
    first, distances = neighbour_list('id', seed.atoms, cutoff=1.25 * nearest)
    assert distances.min() > 0.8 * nearest
    assert np.mean(np.bincount(first) == neighbours) > 0.6
    assert generate(entry(of), cutoff_A=5.0, random_seed=3).seeds[0].seed_id == seed.seed_id


def test_a_random_alloy_has_its_composition(generate):
    alloy = {'kind': 'alloy', 'composition': {'Cu': 0.5, 'Ni': 0.5}}
    for seed in generate(entry(alloy, n_seeds=2), cutoff_A=4.0).seeds:
        assert abs(np.mean(seed.atoms.symbols == 'Cu') - 0.5) < 0.02


@pytest.mark.parametrize(
    ('of', 'fields', 'code', 'values'),
    [
        ({'kind': 'alloy', 'composition': {'Ti': 1.0}, 'lattice': 'hcp'}, {}, Code.HOST_UNSUITABLE, ['cubic', 'Ti2']),
        ({'kind': 'alloy', 'composition': {'Po': 1.0}, 'lattice': 'sc'}, {}, Code.VALUE_MISSING, ['burgers', 'Po']),
        (COPPER, {'burgers': [[0, 0, 0]]}, Code.VALUE_INVALID, ['0 0 0']),
        ({'kind': 'surface', 'of': COPPER}, {}, Code.HOST_UNSUITABLE, ['dislocation', 'vacuum']),
        (COPPER, {'validation': {'max_atoms': 50}}, Code.TOO_MANY_ATOMS, ['max_atoms', '(50)']),
    ],
)  # fmt: skip
def test_an_impossible_dislocation_is_refused(generate, of, fields, code, values):
    with refused(code, *values):
        generate(entry(of, **fields), cutoff_A=5.0)
