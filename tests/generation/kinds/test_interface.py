from __future__ import annotations

import json

import numpy as np
import pytest
from ase import Atoms
from ase.data import covalent_radii
from matscipy.neighbours import neighbour_list
from scipy.linalg import polar
from support.errors import refused

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.generation import count_seeds
from aiida_mlip_autopipe.generation.kinds.interface import InterfaceSettings
from aiida_mlip_autopipe.structures.duplicates import fingerprint
from aiida_mlip_autopipe.structures.vacuum import empty_layers


def metal(symbol: str, **fields) -> dict:
    return {'kind': 'alloy', 'composition': {symbol: 1.0}, **fields}


MGO = {'kind': 'ionic', 'prototype': 'rocksalt', 'sites': {'A': 'Mg', 'X': 'O'}, 'a_A': 4.21}
SRTIO3 = {'kind': 'ionic', 'prototype': 'perovskite', 'sites': {'A': 'Sr', 'B': 'Ti', 'X': 'O'}, 'a_A': 3.905}
IRON = metal('Fe', lattice='bcc', a_A=2.87)
SILICON = {'kind': 'covalent', 'structure': 'diamond', 'sites': {'A': 'Si'}, 'bond_A': 5.431 * np.sqrt(3) / 4}
NI_CU = {'film': metal('Ni', a_A=3.52), 'substrate': metal('Cu', a_A=3.61)}
NI_CU |= {'film_miller': [1, 1, 1], 'substrate_miller': [1, 1, 1]}
MGO_FE = {'film': MGO, 'substrate': IRON, 'film_miller': [1, 0, 0], 'substrate_miller': [1, 0, 0]}
STO_SI = {'film': SRTIO3, 'substrate': SILICON, 'film_miller': [1, 0, 0], 'substrate_miller': [1, 0, 0]}
AL_SI = {'film': metal('Al', a_A=4.05), 'substrate': SILICON, 'film_miller': [1, 1, 1], 'substrate_miller': [1, 1, 1]}


def interface(pair: dict, **fields) -> dict:
    return {'kind': 'interface', **pair, **fields}


def halves(seed) -> tuple[Atoms, Atoms]:
    """Return the substrate and the film."""
    return seed.atoms[: seed.record['n_substrate']], seed.atoms[seed.record['n_substrate'] :]


def side_lattice(seed, side: str) -> np.ndarray:
    """Return the strained surface lattice of a side (2, 2), after checking that its atoms have this periodicity."""
    common = seed.atoms.cell.array[:2, :2] / np.array(seed.record['repeats'])[:, None]
    vectors = np.linalg.solve(np.array(seed.record[side]['transformation']), common)
    atoms = halves(seed)[side == 'film']
    for vector in vectors:
        moved = atoms.positions + np.array([*vector, 0])
        offsets = (moved[:, None] - atoms.positions) @ np.linalg.inv(atoms.cell.array)
        distances = np.linalg.norm((offsets - np.rint(offsets)) @ atoms.cell.array, axis=-1)
        assert distances.min(axis=1).max() < 1e-8
        assert (atoms.numbers[distances.argmin(axis=1)] == atoms.numbers).all()
    return vectors


def neighbour_directions(seed, side: str, elements: tuple[str, str], length_A: float) -> np.ndarray:
    """Return the in-plane unit vectors from atoms of one element to neighbours of another at their bulk distance."""
    atoms = halves(seed)[side == 'film']
    i, j, vectors = neighbour_list(
        'ijD', positions=atoms.positions, cell=atoms.cell.array, pbc=atoms.pbc, cutoff=1.06 * length_A
    )
    chosen = (atoms.symbols[i] == elements[0]) & (atoms.symbols[j] == elements[1])
    chosen &= (np.abs(vectors[:, 2]) < 0.01) & (np.linalg.norm(vectors, axis=1) > 0.94 * length_A)
    assert chosen.any()
    return vectors[chosen, :2] / np.linalg.norm(vectors[chosen, :2], axis=1)[:, None]


def misorientation(one: np.ndarray, other: np.ndarray) -> float:
    """Return the smallest angle in degrees between two sets of directions."""
    return float(np.degrees(np.arccos(np.clip(one @ other.T, -1, 1))).min())


# Length in bulk of the two vectors of each surface cell in Å, and their angle.
CELLS = {
    'Ni': (3.52 / np.sqrt(2), 60), 'Cu': (3.61 / np.sqrt(2), 60), 'Al': (4.05 / np.sqrt(2), 60),
    'Si111': (5.431 / np.sqrt(2), 60), 'Si100': (5.431 / np.sqrt(2), 90), 'MgO': (4.21 / np.sqrt(2), 90),
    'Fe': (2.87, 90), 'SrTiO3': (3.905, 90),
}  # fmt: skip


def unstrained(name: str) -> np.ndarray:
    length, angle = CELLS[name]
    return np.array([[length, 0], [length * np.cos(np.radians(angle)), length * np.sin(np.radians(angle))]])


# Known coincidences: Ni on Cu 2.6 %; MgO [110] on Fe [100] -3.6 % (T. Urano, T. Kanaji, J. Phys. Soc. Jpn. 57, 3403
# (1988)); SrTiO3 [100] on Si [110] -1.7 % (R. A. McKee et al., Phys. Rev. Lett. 81, 3014 (1998)); Al(111) on Si(111), 4
# by 4 on 3 by 3, 0.6 % (F. K. LeGoues et al., Philos. Mag. A 53, 833 (1986)).
@pytest.mark.parametrize(
    ('pair', 'film', 'substrate', 'n_cells', 'misfit', 'fields'),
    [
        (NI_CU, 'Ni', 'Cu', (1, 1), 3.61 / 3.52 - 1, {}),
        (MGO_FE, 'MgO', 'Fe', (1, 1), np.sqrt(2) * 2.87 / 4.21 - 1, {}),
        (STO_SI, 'SrTiO3', 'Si100', (1, 1), 5.431 / np.sqrt(2) / 3.905 - 1, {'terminations': 'first'}),
        (AL_SI, 'Al', 'Si111', (16, 9), 3 * 5.431 / (4 * 4.05) - 1, {'terminations': 'first', 'max_strain': 0.006}),
    ],
)
@pytest.mark.parametrize(('strained', 'fraction'), [('film', 1.0), ('substrate', 0.0), ('both', 0.5)])
def test_the_cell_and_the_strain_are_those_of_known_coincidences(
    generate, pair, film, substrate, n_cells, misfit, fields, strained, fraction
):
    (seed,) = generate(interface(pair, strained=strained, **fields)).seeds
    record, common = seed.record, seed.atoms.cell.array[:2, :2]
    assert record['area_A2'] == pytest.approx(np.linalg.det(common) / np.prod(record['repeats']))
    logarithms = []
    for side, name, number in (('film', film, n_cells[0]), ('substrate', substrate, n_cells[1])):
        assert round(np.linalg.det(record[side]['transformation'])) == number
        assert record[side]['area_A2'] == pytest.approx(number * np.linalg.det(unstrained(name)))
        before, after = np.array(record[side]['surface_cell_A']), side_lattice(seed, side)
        assert before @ before.T == pytest.approx(unstrained(name) @ unstrained(name).T)
        _, stretch = polar(np.linalg.solve(before, after))
        assert stretch - np.eye(2) == pytest.approx(np.array(record[side]['strain']), abs=1e-8)
        principal = np.linalg.eigvalsh(stretch) - 1
        assert record[side]['principal_strains'] == pytest.approx(principal, abs=1e-8)
        assert record[side]['mean_absolute_strain'] == pytest.approx(np.abs(principal).mean(), abs=1e-8)
        logarithms.append(np.log(1 + principal))
    assert logarithms[0] == pytest.approx(fraction * np.log(1 + misfit) * np.ones(2), abs=1e-9)
    assert logarithms[1] == pytest.approx((fraction - 1) * np.log(1 + misfit) * np.ones(2), abs=1e-9)


@pytest.mark.parametrize(
    ('pair', 'film', 'substrate', 'angle'),
    [
        # The nearest neighbours along the cube axes of each crystal; silicon has its second neighbours along <110>.
        (MGO_FE, (('Mg', 'O'), 2.105), (('Fe', 'Fe'), 2.87), 45.0),
        (STO_SI, (('Ti', 'Ti'), 3.905), (('Si', 'Si'), 5.431), 45.0),
        ({**MGO_FE, 'substrate': metal('Ag', a_A=4.09)}, (('Mg', 'O'), 2.105), (('Ag', 'Ag'), 4.09), 0.0),
        (NI_CU, (('Ni', 'Ni'), 3.52 / np.sqrt(2)), (('Cu', 'Cu'), 3.61 / np.sqrt(2)), 0.0),
    ],
)
def test_the_misorientation_of_the_crystal_axes_is_that_of_the_literature(generate, pair, film, substrate, angle):
    (seed,) = generate(interface(pair, terminations='first', max_strain=0.04), cutoff_A=3.0).seeds
    axes = [neighbour_directions(seed, side, *bond) for side, bond in (('film', film), ('substrate', substrate))]
    assert misorientation(*axes) == pytest.approx(angle, abs=0.01)


@pytest.mark.parametrize('pair', [NI_CU, MGO_FE, STO_SI, AL_SI])
def test_the_recorded_parallel_directions_lie_along_the_first_cell_vector(generate, pair):
    for seed in generate(interface(pair, n_matches=2, terminations='first', max_strain=0.04)).seeds:
        for side in ('film', 'substrate'):
            a_A = pair[side].get('a_A', 5.431)
            direction, plane = np.array(seed.record['parallel'][side]), np.array(pair[f'{side}_miller'])
            assert direction @ plane == 0
            assert np.gcd.reduce(direction) == 1
            # The first vector of the common cell is a multiple of half of this direction, in the unstrained crystal.
            cell = np.array(seed.record[side]['surface_cell_A'])
            first = np.linalg.norm(np.array(seed.record[side]['transformation'][0]) @ cell)
            multiple = 2 * first / (a_A * np.linalg.norm(direction))
            assert multiple == pytest.approx(round(multiple), abs=1e-6)


def test_the_twist_is_the_angle_between_the_shortest_vectors(generate):
    seeds = generate(interface(NI_CU, n_matches=4)).seeds
    for seed in seeds:
        film, substrate = (
            neighbour_directions(seed, side, (symbol, symbol), a_A / np.sqrt(2))
            for side, symbol, a_A in (('film', 'Ni', 3.52), ('substrate', 'Cu', 3.61))
        )
        twist = abs(seed.record['twist_deg'])
        assert misorientation(film, substrate) == pytest.approx(min(twist, 60 - twist), abs=0.01)
    # The twin, with the stacking of (111) planes reversed, and the rotations of equal hexagonal lattices with 7 cells.
    assert [round(abs(seed.record['twist_deg']), 2) for seed in seeds] == [0.0, 60.0, 21.79, 38.21]


def test_seeds_are_ordered_by_area_and_strain_and_have_distinct_structures(generate):
    result = generate(interface(NI_CU, n_matches=6, film_thickness_A=4, substrate_thickness_A=4))
    keys = [(seed.record['area_A2'], seed.record['film']['mean_absolute_strain']) for seed in result.seeds]
    assert keys == sorted(keys)
    assert len(keys) == 6
    assert result.report['duplicates'] == 0
    areas = {round(area / keys[0][0]) for area, _ in keys}
    assert areas == {1, 7, 12}


@pytest.mark.parametrize(('pair', 'n_seeds'), [(NI_CU, 1), (MGO_FE, 1), (STO_SI, 2), (AL_SI, 2)])
def test_bonds_in_each_half_are_those_of_bulk_within_the_strain(generate, pair, n_seeds):
    lengths = {
        'Ni': 3.52 / np.sqrt(2), 'Cu': 3.61 / np.sqrt(2), 'Al': 4.05 / np.sqrt(2), 'Si': 5.431 * np.sqrt(3) / 4,
        'Fe': 2.87 * np.sqrt(3) / 2, 'O': 2.105, 'Ti': 3.905 / 2,
    }  # fmt: skip
    seeds = generate(interface(pair)).seeds
    assert len(seeds) >= n_seeds
    for seed in seeds:
        for side, atoms in zip(('substrate', 'film'), halves(seed), strict=True):
            strain = np.abs(seed.record[side]['principal_strains']).max()
            symbol = next(symbol for symbol in ('Ti', 'O', 'Ni', 'Cu', 'Al', 'Si', 'Fe') if symbol in atoms.symbols)
            i, distances = neighbour_list(
                'id', positions=atoms.positions, cell=atoms.cell.array, pbc=atoms.pbc, cutoff=3.2
            )
            nearest = np.array([distances[i == atom].min() for atom in np.flatnonzero(atoms.symbols == symbol)])
            assert (np.abs(nearest / lengths[symbol] - 1) <= strain + 1e-6).all()


def nearest_across(seed) -> np.ndarray:
    """Return the distances across the interface, divided by the sums of the covalent radii."""
    atoms = seed.atoms
    radii = covalent_radii[atoms.numbers]
    i, j, distances = neighbour_list('ijd', positions=atoms.positions, cell=atoms.cell.array, pbc=atoms.pbc, cutoff=6.0)
    is_film = np.arange(len(atoms)) >= seed.record['n_substrate']
    across = is_film[i] & ~is_film[j]
    return np.sort(distances[across] / (radii[i] + radii[j])[across])


GAAS = {
    'kind': 'covalent',
    'structure': 'zincblende',
    'sites': {'A': 'Ga', 'X': 'As'},
    'bond_A': 5.653 * np.sqrt(3) / 4,
}
GAAS_SI = {'film': GAAS, 'substrate': SILICON, 'film_miller': [1, 1, 0], 'substrate_miller': [1, 1, 0]}


# Mean distances between neighbouring planes in the two crystals, across the cuts.
@pytest.mark.parametrize(
    ('pair', 'spacings'),
    [
        (NI_CU, {(3.52 + 3.61) / np.sqrt(3) / 2}),
        (MGO_FE, {(4.21 + 2.87) / 4}),
        (STO_SI, {(3.905 / 2 + 5.431 / 4) / 2}),
        # Silicon (111) ends between double layers, or inside one.
        (AL_SI, {(4.05 + 5.431 * height) / np.sqrt(3) / 2 for height in (3 / 4, 1 / 4)}),
        (GAAS_SI, {(5.653 + 5.431) / np.sqrt(8) / 2}),
    ],
)
@pytest.mark.parametrize('shifts', ['best', 'random', [2, 3]])
def test_the_gap_is_the_mean_spacing_of_planes_unless_atoms_touch(generate, pair, spacings, shifts):
    fields = {'n_seeds': 4} if shifts == 'random' else {}
    for seed in generate(interface(pair, shifts=shifts, **fields)).seeds:
        substrate, film = halves(seed)
        gap = film.positions[:, 2].min() - substrate.positions[:, 2].max()
        assert gap == pytest.approx(seed.record['gap_A'], abs=1e-8)
        assert gap > min(spacings) - 1e-6
        nearest = nearest_across(seed)[0]
        if min(abs(gap - spacing) for spacing in spacings) < 1e-6:
            assert nearest >= 1 - 1e-6
        else:
            assert nearest == pytest.approx(1.0, abs=1e-6)


def test_semiconductors_with_an_open_structure_do_not_enter_each_others_voids(generate):
    (seed,) = generate(interface(GAAS_SI)).seeds
    assert seed.record['gap_A'] == pytest.approx((5.653 + 5.431) / np.sqrt(8) / 2, abs=0.02)
    # Each atom of the lowest plane of the film has a bond, as across a (110) plane in bulk.
    film = halves(seed)[1]
    n_lowest = int(np.sum(film.positions[:, 2] < film.positions[:, 2].min() + 0.1))
    assert np.sum(nearest_across(seed) < 1.1) >= n_lowest


def test_the_best_shift_puts_nickel_above_the_hollows_of_copper(generate):
    best, top = (generate(interface(NI_CU, shifts=shifts)).seeds[0] for shifts in ('best', [1, 1]))
    side = 3.61 / np.sqrt(2)
    radii = covalent_radii[28] + covalent_radii[29]
    assert best.record['gap_A'] == pytest.approx(np.sqrt(radii**2 - side**2 / 3))
    assert top.record['gap_A'] == pytest.approx(radii)
    assert top.record['shift_A'] == [0.0, 0.0]


def test_oxygen_of_magnesium_oxide_is_above_iron(generate):
    # As measured: T. Urano, T. Kanaji, J. Phys. Soc. Jpn. 57, 3403 (1988).
    (seed,) = generate(interface(MGO_FE)).seeds
    substrate, film = halves(seed)
    top = substrate[substrate.positions[:, 2] > substrate.positions[:, 2].max() - 0.1]
    bottom = film[film.positions[:, 2] < film.positions[:, 2].min() + 0.1]
    for atom in bottom[bottom.symbols == 'O']:
        offsets = (top.positions - atom.position)[:, :2] @ np.linalg.inv(seed.atoms.cell.array[:2, :2])
        lateral = (offsets - np.rint(offsets)) @ seed.atoms.cell.array[:2, :2]
        assert np.linalg.norm(lateral, axis=1).min() < 1e-6


def test_a_grid_of_shifts_covers_the_cell_of_distinct_displacements(generate):
    seeds = generate(interface(NI_CU, shifts=[3, 2], validation={'unique': False})).seeds
    shifts = np.array([seed.record['shift_A'] for seed in seeds])
    fractions = shifts @ np.linalg.inv(unstrained('Cu'))
    expected = {(i / 3, j / 2) for i in range(3) for j in range(2)}
    found = {tuple(np.round(part, 6) % 1 + 0.0) for part in fractions}
    assert found == {tuple(np.round(part, 6)) for part in expected}
    films = [halves(seed)[1].positions for seed in seeds]
    for shift, positions in zip(shifts, films, strict=True):
        moved = (positions - films[0])[:, :2] - shift + shifts[0]
        fraction = moved @ np.linalg.inv(seeds[0].atoms.cell.array[:2, :2])
        assert np.abs(fraction - np.rint(fraction)).max() < 1e-8


def test_random_shifts_differ_and_do_not_depend_on_the_other_seeds(generate):
    entry = interface(NI_CU, shifts='random', n_seeds=3, validation={'unique': False})
    whole = generate(entry)
    shifts = {tuple(seed.record['shift_A']) for seed in whole.seeds}
    assert len(shifts) == 3
    part = generate(entry, start=1, stop=2)
    assert part.seeds[0].seed_id == whole.seeds[1].seed_id


@pytest.mark.parametrize('vacuum_A', [8.0, 15.0])
def test_a_slab_in_vacuum_has_a_form_and_the_required_vacuum(generate, vacuum_A):
    (seed,) = generate(interface(NI_CU, vacuum_A=vacuum_A)).seeds
    assert seed.record['form'] == 'slab'
    assert empty_layers(seed.atoms)[2] == pytest.approx(vacuum_A)
    assert seed.atoms.pbc.all()


def test_a_periodic_stack_has_two_interfaces_and_no_vacuum(generate):
    seeds = generate(interface(AL_SI, vacuum_A=0)).seeds
    for seed in seeds:
        substrate, film = halves(seed)
        assert 'form' not in seed.record
        assert 'vacuum_A' not in seed.record
        lower = film.positions[:, 2].min() - substrate.positions[:, 2].max()
        upper = substrate.positions[:, 2].min() + seed.atoms.cell[2, 2] - film.positions[:, 2].max()
        assert (lower, upper) == pytest.approx((seed.record['gap_A'], seed.record['upper_gap_A']))
        assert nearest_across(seed)[0] >= 1 - 1e-6
    assert len(seeds) == 2  # silicon (111) ends between or inside its double layers


def test_a_gap_set_by_the_user_is_kept(generate):
    (seed,) = generate(interface(NI_CU, gap_A=2.5)).seeds
    substrate, film = halves(seed)
    assert film.positions[:, 2].min() - substrate.positions[:, 2].max() == pytest.approx(2.5)


def test_layers_without_bonds_touch_at_their_van_der_waals_radii(generate):
    graphite = {'kind': 'covalent', 'structure': 'graphite', 'sites': {'A': 'C'}, 'bond_A': 1.42}
    pair = {'film': graphite, 'substrate': metal('Cu'), 'film_miller': [0, 0, 1], 'substrate_miller': [1, 1, 1]}
    (seed,) = generate(interface(pair, film_n_layers=1, max_strain=0.02)).seeds
    # Measured for graphene on Cu(111): 3.1 to 3.4 Å.
    assert 3.0 < seed.record['gap_A'] < 3.4
    edge = interface({**pair, 'film_miller': [1, 0, 0]}, max_strain=0.04, terminations='first', film_thickness_A=4)
    (seed,) = generate(edge, cutoff_A=0.0).seeds
    assert nearest_across(seed)[0] == pytest.approx(1.0, abs=1e-6)


def test_the_thickness_is_counted_in_layers_on_request(generate):
    (seed,) = generate(interface(MGO_FE, film_n_layers=3, substrate_n_layers=5)).seeds
    counts = [len({round(height, 3) for height in atoms.positions[:, 2]}) for atoms in halves(seed)]
    assert counts == [5, 3]


def test_the_width_is_reached_by_repeats_and_the_smallest_cells_within_the_number_of_atoms_are_used(generate):
    (seed,) = generate(interface(NI_CU), cutoff_A=5.0).seeds
    widths = [np.linalg.det(seed.atoms.cell.array[:2, :2]) / np.linalg.norm(vector) for vector in seed.atoms.cell[:2]]
    assert min(widths) >= 10.0
    assert seed.record['repeats'] == [5, 5]
    few = generate(interface(NI_CU, n_matches=3, validation={'max_atoms': 230}), cutoff_A=5.0).seeds
    assert all(len(seed.atoms) <= 230 for seed in few)
    assert [len(seed.atoms) for seed in few] == [200, 200, 224]
    # A larger cell that needs fewer repeats replaces one that does not fit.
    fewer = generate(interface(NI_CU, n_matches=3, validation={'max_atoms': 210}), cutoff_A=5.0).seeds
    assert [seed.seed_id for seed in fewer[:2]] == [seed.seed_id for seed in few[:2]]
    assert len(fewer[2].atoms) <= 210
    assert fewer[2].record['area_A2'] > few[2].record['area_A2']


def test_both_faces_of_asymmetric_slabs_meet_the_other_crystal(generate):
    seeds = generate(interface({**STO_SI, 'substrate': MGO}, max_strain=0.08)).seeds
    assert [seed.record['film']['termination'] for seed in seeds] == ['TiO2', 'SrO']
    assert {seed.record['substrate']['termination'] for seed in seeds} == {'MgO'}
    for seed in seeds:
        film = halves(seed)[1]
        bottom = film[film.positions[:, 2] < film.positions[:, 2].min() + 0.3]
        assert set(bottom.symbols) == {'TiO2': {'Ti', 'O'}, 'SrO': {'Sr', 'O'}}[seed.record['film']['termination']]
        assert film.symbols.formula.reduce()[0].count() == {'Sr': 1, 'Ti': 1, 'O': 3}
    first = generate(interface({**STO_SI, 'substrate': MGO}, max_strain=0.08, terminations='first')).seeds
    assert [seed.record for seed in first] == [seeds[0].record]


def test_both_slabs_are_stoichiometric_and_formal_charges_are_kept(generate):
    (seed,) = generate(interface(MGO_FE)).seeds
    substrate, film = halves(seed)
    assert set(substrate.symbols) == {'Fe'}
    assert film.symbols.formula.reduce()[0].count() == {'Mg': 1, 'O': 1}
    assert not substrate.get_initial_charges().any()
    assert set(film.get_initial_charges()) == {2.0, -2.0}
    assert seed.atoms.get_initial_charges().sum() == pytest.approx(0)


def test_charges_are_dropped_with_a_note_if_those_of_one_side_are_unknown(generate, tmp_path):
    path = tmp_path / 'b4c.xyz'
    boron = [[0.25, 0.25, 0.25], [0.25, 0.75, 0.75], [0.75, 0.25, 0.75], [0.75, 0.75, 0.25]]
    # No known oxidation states balance B4C.
    Atoms('B4C', scaled_positions=[*boron, [0, 0, 0]], cell=[3.6] * 3, pbc=True).write(path)
    pair = {**MGO_FE, 'substrate': {'kind': 'structures', 'files': [str(path)]}, 'max_strain': 0.1}
    result = generate(interface(pair, terminations='first', validation={'min_distance_factor': 0.3}))
    assert not any(seed.atoms.has('initial_charges') for seed in result.seeds)
    assert len(result.report['entries']['0']['notes']) == 1


def test_polar_faces_are_refused_unless_allowed(generate):
    pair = {**MGO_FE, 'film_miller': [1, 1, 1], 'substrate_miller': [1, 1, 0]}
    with refused(Code.SURFACES_POLAR, 'film', '1 1 1', 'polar: allow'):
        generate(interface(pair))
    seeds = generate(interface(pair, polar='allow', max_strain=0.08)).seeds
    assert {seed.record['film']['termination'] for seed in seeds} == {'Mg', 'O'}
    assert all(seed.record['film']['polar'] for seed in seeds)


def test_alloys_on_both_sides_have_their_compositions_and_different_arrangements(generate):
    pair = {
        'film': {'kind': 'alloy', 'composition': {'Cu': 0.5, 'Ni': 0.5}},
        'substrate': {'kind': 'alloy', 'composition': {'Ag': 0.75, 'Pd': 0.25}},
        'film_miller': [1, 1, 1], 'substrate_miller': [1, 1, 1],
    }  # fmt: skip
    entry = interface(pair, n_seeds=2, film_n_layers=4, substrate_n_layers=4, max_strain=0.05)
    seeds = generate(entry).seeds
    for seed in seeds:
        substrate, film = halves(seed)
        assert np.mean(film.symbols == 'Cu') == pytest.approx(0.5, abs=0.02)
        assert np.mean(substrate.symbols == 'Ag') == pytest.approx(0.75, abs=0.02)
        assert set(film.symbols) == {'Cu', 'Ni'}
        assert nearest_across(seed)[0] == pytest.approx(1.0, abs=1e-6)
    assert fingerprint(seeds[0].atoms) != fingerprint(seeds[1].atoms)


def test_the_same_entry_gives_the_same_seeds_and_a_record_of_json_types(generate):
    entry = interface(AL_SI, n_matches=2, shifts=[2, 1])
    one, two = generate(entry), generate(entry)
    assert [seed.seed_id for seed in one.seeds] == [seed.seed_id for seed in two.seeds]
    assert one.report == two.report
    assert all(json.loads(json.dumps(seed.record)) == seed.record for seed in one.seeds)


def test_the_inner_entries_determine_the_streams_the_elements_and_the_number_of_seeds(make_entries):
    one, two, three = make_entries(
        interface(NI_CU), interface({**NI_CU, 'film': metal('Ni', a_A=3.53)}), interface(NI_CU, n_matches=3)
    )
    assert one.stream_content() != two.stream_content()
    assert one.elements() == {'Ni', 'Cu'}
    assert [count_seeds([entry]) for entry in (one, three)] == [1, 3]
    assert make_entries(one.model_dump(mode='json')) == (one,)


def test_the_nearest_strain_and_area_are_named_if_nothing_matches(generate):
    with refused(
        Code.INTERFACE_IMPOSSIBLE, 'MgO (1 0 0) on Fe (1 0 0)', '50 Å²', '2.3 %', '3.6 % (8 Å²)', '2.3 % (74 Å²)'
    ):
        generate(interface(MGO_FE, max_strain=0.023, max_area_A2=50))


def test_the_number_of_atoms_that_would_be_enough_is_named(generate):
    with refused(
        Code.INTERFACE_IMPOSSIBLE, 'Ni (1 1 1) on Cu (1 1 1)', '150 atoms', '10.00 Å', 'validation.max_atoms: 200'
    ):
        generate(interface(NI_CU, max_area_A2=50, validation={'max_atoms': 150}), cutoff_A=5.0)


def test_fewer_common_cells_than_requested_are_reported(generate):
    report = generate(interface(MGO_FE, n_matches=5, max_area_A2=50)).report
    (note,) = report['entries']['0']['notes']
    assert '2 of 5' in note


@pytest.mark.parametrize(
    ('fields', 'code', 'values'),
    [
        ({'vacuum_A': 3}, Code.OUT_OF_RANGE, ('vacuum_A', '3', '5')),
        ({'max_strain': 0.2}, None, ()),
        ({'film_miller': [0, 0, 0]}, Code.VALUE_INVALID, ('film_miller', '0 0 0')),
        ({'film': {'kind': 'aloy'}}, Code.KIND_UNKNOWN, ('film',)),
        ({'film': {**metal('Ni'), 'n_seeds': 2}}, Code.KEY_UNKNOWN, ('film', 'n_seeds')),
        ({'shifts': 'closest'}, None, ()),
    ],
)
def test_impossible_settings_are_refused_at_their_place(fields, code, values):
    if code is None:
        with pytest.raises(ValueError, match=next(iter(fields))):
            InterfaceSettings(**{**NI_CU, **fields})
        return
    with refused(code, *values):
        InterfaceSettings(**{**NI_CU, **fields})


@pytest.mark.parametrize(
    ('film', 'values'),
    [
        ({'kind': 'surface', 'of': metal('Ni'), 'miller_indices': [[1, 1, 1]]}, ('film', 'Ni')),
        ({'kind': 'alloy', 'composition_grid': {'elements': ['Ni', 'Cu'], 'step': 0.5}}, ()),
    ],
)
def test_a_side_that_is_not_a_crystal_of_one_composition_is_refused(generate, film, values):
    with refused(Code.HOST_UNSUITABLE, *values):
        generate(interface({**NI_CU, 'film': film}, n_seeds=1))
