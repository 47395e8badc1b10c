from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import spglib
from ase.neighborlist import neighbor_list
from support.errors import refused

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.exploration.dynamics.ensembles import choose_ensemble
from aiida_mlip_autopipe.structures.vacuum import empty_layers

MOS2 = {'M': 'Mo', 'X': 'S'}
TI2C = {'M': 'Ti', 'X': 'C'}
BN = {'A': 'B', 'B': 'N'}


def layered(structure: str, sites: dict, **fields) -> dict:
    return {'kind': 'layered', 'structure': structure, 'sites': sites, **fields}


def space_group(atoms) -> int:
    cell = (atoms.cell.array, atoms.get_scaled_positions(), atoms.numbers)
    return int(spglib.get_symmetry_dataset(cell, symprec=1e-3).number)


def lengths(atoms, first: str, second: str, cutoff_A: float) -> np.ndarray:
    """Return the distances between neighbours of two elements."""
    i, j, distances = neighbor_list('ijd', atoms, cutoff_A)
    return distances[(atoms.symbols[i] == first) & (atoms.symbols[j] == second)]


@pytest.mark.parametrize(
    ('structure', 'sites', 'fields', 'bulk', 'single'),
    [
        ('2H', MOS2, {}, 194, 187),
        ('2H', MOS2, {'stacking': "AB'"}, 194, 187),
        ('3R', MOS2, {}, 160, 187),
        ('1T', {'M': 'Ti', 'X': 'S'}, {}, 164, 164),
        ("1T'", {'M': 'W', 'X': 'Te'}, {}, 11, 11),
        ('black_phosphorus', {'A': 'P'}, {}, 64, 53),
        ('honeycomb', BN, {}, 194, 187),
        ('honeycomb', {'A': 'C'}, {}, 194, 191),
        ('honeycomb', {'A': 'C'}, {'stacking': 'ABC'}, 166, 191),
        ('M2X', TI2C, {}, 164, 164),
    ],
)
def test_bulk_and_single_layers_have_the_space_groups_of_the_known_crystals(
    generate, structure, sites, fields, bulk, single
):
    (crystal,) = generate(layered(structure, sites, bulk=True, **fields)).seeds
    (layer,) = generate(layered(structure, sites)).seeds
    assert (space_group(crystal.atoms), space_group(layer.atoms)) == (bulk, single)


# a and the distance between layers in Å. Crystals: Wyckoff, Crystal Structures (1963); Brixner, J. Inorg. Nucl. Chem.
# 24, 257 (1962) for WSe2; Brown, Acta Cryst. 20, 268 (1966) for MoTe2; Brown and Rundqvist (1965) for black phosphorus.
@pytest.mark.parametrize(
    ('structure', 'sites', 'a', 'spacing'),
    [
        ('2H', MOS2, 3.160, 6.147),
        ('2H', {'M': 'W', 'X': 'Se'}, 3.286, 6.49),
        ('2H', {'M': 'Mo', 'X': 'Te'}, 3.519, 6.98),
        ('1T', {'M': 'Ti', 'X': 'S'}, 3.408, 5.70),
        ('1T', {'M': 'Zr', 'X': 'S'}, 3.662, 5.81),
        ('black_phosphorus', {'A': 'P'}, 3.3136, 5.239),
        ('honeycomb', {'A': 'C'}, 2.461, 3.354),
        ('honeycomb', BN, 2.504, 3.330),
    ],
)
def test_estimated_sizes_are_near_those_of_known_crystals(generate, structure, sites, a, spacing):
    (seed,) = generate(layered(structure, sites, bulk=True)).seeds
    assert seed.record['a_A'] == pytest.approx(a, rel=0.025)
    assert seed.record['interlayer_A'] == pytest.approx(spacing, rel=0.07)


@pytest.mark.parametrize(('structure', 'has_opposite'), [('2H', False), ('1T', True)])
def test_metal_atoms_are_in_trigonal_prisms_or_octahedra(generate, structure, has_opposite):
    (seed,) = generate(layered(structure, MOS2, supercell=[2, 2, 1])).seeds
    i, j, vectors, distances = neighbor_list('ijDd', seed.atoms, 2.9)
    metal = seed.atoms.symbols[i] == 'Mo'
    bonds = vectors[metal & (i == i[metal][0]) & (seed.atoms.symbols[j] == 'S')]
    assert len(bonds) == 6
    assert distances[metal] == pytest.approx(2.41, abs=1e-6)
    cosines = (bonds @ bonds.T) / 2.41**2
    assert np.any(cosines < -0.99, axis=1).tolist() == [has_opposite] * 6


def test_distorted_octahedra_have_zigzag_chains_of_metal_atoms(generate):
    (seed,) = generate(layered("1T'", {'M': 'W', 'X': 'Te'}, a_A=3.496, supercell=[2, 1, 1])).seeds
    # WTe2: W–W 2.86 Å in the chains, and W–Te between 2.71 and 2.82 Å.
    assert np.unique(lengths(seed.atoms, 'W', 'W', 3.2).round(2)).tolist() == [2.86]
    bonds = lengths(seed.atoms, 'W', 'Te', 3.1)
    assert len(bonds) == 6 * np.sum(seed.atoms.symbols == 'W')
    assert 2.69 < bonds.min() < bonds.max() < 2.84


def test_black_phosphorus_has_the_two_bonds_and_angles_of_the_crystal(generate):
    (seed,) = generate(layered('black_phosphorus', {'A': 'P'}, a_A=3.3136, supercell=[2, 2, 1])).seeds
    bonds = lengths(seed.atoms, 'P', 'P', 2.6)
    assert Counter(bonds.round(3)) == {2.224: 2 * len(seed.atoms), 2.244: len(seed.atoms)}


def test_the_sizes_that_are_set_are_those_of_the_layer(generate):
    (seed,) = generate(layered('2H', MOS2, a_A=3.2, thickness_A=3.0)).seeds
    assert seed.atoms.cell.lengths()[0] == pytest.approx(3.2)
    assert np.ptp(seed.atoms.positions[:, 2]) == pytest.approx(3.0)
    assert lengths(seed.atoms, 'Mo', 'S', 2.8) == pytest.approx(np.sqrt(3.2**2 / 3 + 1.5**2))
    (other,) = generate(layered('1T', MOS2, a_A=3.2, bond_A=2.5)).seeds
    assert other.atoms.cell.lengths()[0] == pytest.approx(3.2)
    assert lengths(other.atoms, 'Mo', 'S', 2.8) == pytest.approx(2.5)
    (third,) = generate(layered('2H', MOS2, bond_A=2.5, thickness_A=3.1)).seeds
    assert np.ptp(third.atoms.positions[:, 2]) == pytest.approx(3.1)
    assert lengths(third.atoms, 'Mo', 'S', 2.8) == pytest.approx(2.5)


@pytest.mark.parametrize(
    ('sites', 'stacking', 'above'),
    [
        (MOS2, 'AA', {'Mo': 'Mo', 'S': 'S'}),
        (MOS2, "AA'", {'Mo': 'S', 'S': 'Mo'}),
        (MOS2, "AB'", {'Mo': 'Mo', 'S': ''}),
        (MOS2, 'AB', {'S': 'Mo', 'Mo': ''}),
        (BN, "AA'", {'B': 'N', 'N': 'B'}),
    ],
)
def test_a_registry_determines_which_atoms_of_the_next_layer_are_above(generate, sites, stacking, above):
    structure = '2H' if sites == MOS2 else 'honeycomb'
    (seed,) = generate(layered(structure, sites, stacking=stacking, n_layers=2, interlayer_A=6.0)).seeds
    middle = (seed.atoms.positions[:, 2].max() + seed.atoms.positions[:, 2].min()) / 2
    upper = seed.atoms.positions[:, 2] > middle
    found = {}
    for atom in np.flatnonzero(~upper):
        vectors = seed.atoms.get_distances(atom, np.flatnonzero(upper), mic=True, vector=True)
        over = np.flatnonzero(upper)[np.linalg.norm(vectors[:, :2], axis=1) < 1e-6]
        found[seed.atoms.symbols[atom]] = seed.atoms.symbols[over[0]] if len(over) else ''
    assert found == above


@pytest.mark.parametrize(('n_layers', 'contact'), [(2, 3.6), (3, 3.6)])
def test_layers_touch_at_the_sum_of_their_van_der_waals_radii(generate, n_layers, contact):
    (seed,) = generate(layered('2H', MOS2, n_layers=n_layers)).seeds
    layer = np.repeat(np.arange(n_layers), 3)
    i, j, distances = neighbor_list('ijd', seed.atoms, 5.0)
    assert distances[layer[i] != layer[j]].min() == pytest.approx(contact)
    assert empty_layers(seed.atoms)[2] == pytest.approx(15.0)
    heights = [seed.atoms.positions[layer == number, 2].mean() for number in range(n_layers)]
    assert np.diff(heights) == pytest.approx(seed.record['interlayer_A'])


@pytest.mark.parametrize(('structure', 'n'), [('M2X', 1), ('M3X2', 2), ('M4X3', 3)])
def test_an_mxene_is_close_packed_and_its_terminations_are_above_hollows(generate, structure, n):
    (seed,) = generate(layered(structure, TI2C, terminations='F', supercell=[3, 3, 1])).seeds
    atoms = seed.atoms
    assert Counter(atoms.get_chemical_symbols()) == {'Ti': 9 * (n + 1), 'C': 9 * n, 'F': 18}
    i, j = neighbor_list('ij', atoms, 2.5)
    outermost = atoms.positions[:, 2] == atoms.positions[atoms.symbols == 'Ti', 2].max()
    metal = np.flatnonzero(outermost & (atoms.symbols == 'Ti'))[0]
    assert Counter(atoms.symbols[j[i == metal]]) == {'C': 3, 'F': 3}
    assert lengths(atoms, 'Ti', 'C', 2.5) == pytest.approx(2.11)
    assert lengths(atoms, 'Ti', 'F', 2.5) == pytest.approx(2.00)
    top = int(np.argmax(atoms.positions[:, 2]))
    below = np.linalg.norm(atoms.get_distances(top, range(len(atoms)), mic=True, vector=True)[:, :2], axis=1) < 1e-6
    # Along the normal below a termination: no atom of the outer planes of M and X, but the second plane of M.
    heights = atoms.positions[below & (atoms.symbols == 'Ti'), 2]
    planes = np.unique(atoms.positions[atoms.symbols == 'Ti', 2].round(4))
    assert heights.max() == pytest.approx(planes[-2], abs=1e-3)


def test_mixed_terminations_have_their_fractions_and_hydroxyl_groups_point_outwards(generate):
    entry = layered('M2X', TI2C, terminations={'O': 0.5, 'OH': 0.25, 'F': 0.25}, n_seeds=2)
    first, second = generate(entry, cutoff_A=5.0).seeds
    assert first.seed_id != second.seed_id
    for seed in (first, second):
        atoms = seed.atoms
        counts = Counter(atoms.get_chemical_symbols())
        n_sites = counts['Ti']
        assert (counts['O'], counts['F'], counts['H']) == (n_sites * 3 // 4, n_sites // 4, n_sites // 4)
        i, j, vectors, distances = neighbor_list('ijDd', atoms, 1.3)
        from_oxygen = atoms.symbols[i] == 'O'
        assert set(atoms.symbols[j[from_oxygen]]) == {'H'}
        assert distances == pytest.approx(0.95)
        middle = atoms.positions[atoms.symbols == 'C', 2].mean()
        assert (vectors[from_oxygen, 2] * (atoms.positions[i[from_oxygen], 2] - middle) > 0).all()


def test_elements_share_a_site_at_random_and_the_same_config_gives_the_same_seeds(generate):
    entry = layered('2H', {'M': {'Mo': 0.5, 'W': 0.5}, 'X': {'S': 0.75, 'Se': 0.25}}, n_layers=2, n_seeds=2)
    seeds = generate(entry, cutoff_A=5.0).seeds
    for seed in seeds:
        counts = Counter(seed.atoms.get_chemical_symbols())
        assert counts['Mo'] == counts['W']
        assert counts['S'] == 3 * counts['Se']
        assert seed.record['a_A'] == pytest.approx(np.sqrt(12 / 7) * (1.375 + 0.75 * 1.03 + 0.25 * 1.16))
    assert len({seed.seed_id for seed in seeds}) == 2
    assert [seed.seed_id for seed in generate(entry, cutoff_A=5.0).seeds] == [seed.seed_id for seed in seeds]
    (diluted,) = generate(layered('2H', {'M': {'Mo': 0.9, 'W': 0.1}, 'X': 'S'}, n_seeds=1)).seeds
    counts = Counter(diluted.atoms.get_chemical_symbols())
    assert counts['W'] / (counts['W'] + counts['Mo']) == pytest.approx(0.1, abs=0.02)


@pytest.mark.parametrize(('indices', 'angle', 'n_atoms'), [([1, 2], 21.787, 28), ([2, 3], 13.174, 76)])
def test_a_twisted_bilayer_is_commensurate_at_its_angle(generate, indices, angle, n_atoms):
    (seed,) = generate(layered('honeycomb', {'A': 'C'}, n_layers=2, twist=indices)).seeds
    atoms = seed.atoms
    assert len(atoms) == n_atoms
    assert seed.record['angle_deg'] == pytest.approx(angle, abs=1e-3)
    i, vectors, distances = neighbor_list('iDd', atoms, 1.6)
    assert np.bincount(i).tolist() == [3] * n_atoms
    assert distances == pytest.approx(seed.record['bond_A'])
    # Bonds of a layer are 60° apart, so their directions are one angle modulo 60°.
    directions = np.degrees(np.arctan2(vectors[:, 1], vectors[:, 0])) % 60
    lower = atoms.positions[i, 2] < atoms.positions[:, 2].mean()
    below, above = (np.unique(directions[side].round(3) % 60) for side in (lower, ~lower))
    assert (len(below), len(above)) == (1, 1)
    turned = abs(above[0] - below[0])
    assert min(turned, 60 - turned) == pytest.approx(angle, abs=2e-3)


def test_layers_in_vacuum_are_explored_at_constant_volume_and_strained_in_their_plane(generate):
    entry = layered('2H', MOS2, vacuum_A=7, perturb={'anisotropic_strain': 0.03})
    (seed,) = generate(entry, cutoff_A=5.0).seeds
    assert seed.record['form'] == 'slab'
    assert choose_ensemble(seed.atoms, 'auto', 8.0, form='slab').ensemble == 'nvt'
    assert seed.atoms.cell[2, 2] - np.ptp(seed.atoms.positions[:, 2]) == pytest.approx(7)
    (bulk,) = generate(layered('2H', MOS2, bulk=True), cutoff_A=5.0).seeds
    assert 'form' not in bulk.record
    assert choose_ensemble(bulk.atoms, 'auto', 8.0).ensemble == 'npt'


def test_a_stack_is_repeated_only_in_its_plane(generate):
    (seed,) = generate(layered('honeycomb', {'A': 'C'}, n_atoms=54)).seeds
    assert len(seed.atoms) == 54
    assert np.ptp(seed.atoms.positions[:, 2]) == pytest.approx(0)


@pytest.mark.parametrize(
    ('entry', 'code', 'values'),
    [
        (layered('2H', {'A': 'C'}), Code.SITES_MISMATCH, ('2H', 'M', 'X')),
        (layered('honeycomb', {'A': 'B', 'X': 'N'}), Code.SITES_MISMATCH, ('honeycomb', 'A', 'B')),
        (layered('2H', MOS2, terminations='O'), Code.VALUES_EXCLUDE, ('terminations', '2H')),
        (layered('M2X', TI2C, terminations={'O': 0.5}), Code.COMPOSITION_INVALID, ('0.5',)),
        (layered('2H', MOS2, a_A=3.2, bond_A=2.4, thickness_A=3), Code.VALUES_EXCLUDE, ('a_A', 'bond_A')),
        (layered("1T'", MOS2, a_A=3.2, bond_A=2.4), Code.VALUES_EXCLUDE, ('a_A', 'bond_A')),
        (layered('M2X', TI2C, thickness_A=3), Code.VALUES_EXCLUDE, ('thickness_A', 'M2X')),
        (layered('2H', MOS2, bulk=True, n_layers=2), Code.VALUES_EXCLUDE, ('bulk', 'n_layers')),
        (layered('2H', MOS2, stacking='AA'), Code.VALUES_EXCLUDE, ('stacking',)),
        (layered('2H', MOS2, interlayer_A=6), Code.VALUES_EXCLUDE, ('interlayer_A',)),
        (layered("1T'", MOS2, bulk=True, stacking='ABC'), Code.VALUES_EXCLUDE, ("1T'", 'ABC')),
        (layered('2H', MOS2, supercell=[2, 2, 2]), Code.OUT_OF_RANGE, ('supercell', '1')),
        (layered('2H', MOS2, twist=[1, 2]), Code.VALUES_INCOMPLETE, ('twist', 'n_layers')),
        (layered('2H', MOS2, n_layers=2, twist=[2, 4]), Code.VALUE_INVALID, ('twist',)),
    ],
)
def test_settings_that_do_not_fit_are_refused(make_entries, entry, code, values):
    with refused(code, *values):
        make_entries(entry)


def test_sizes_that_do_not_fit_together_are_refused_with_the_limit(generate):
    with refused(Code.OUT_OF_RANGE, 'a_A', '2.410', '4.142'):
        generate(layered('2H', MOS2, a_A=4.5))
    with refused(Code.OUT_OF_RANGE, 'thickness_A', '2.410'):
        generate(layered('2H', MOS2, thickness_A=5.0))
    with refused(Code.VALUE_MISSING, 'Pu'):
        generate(layered('1T', {'M': 'Pu', 'X': 'S'}))
