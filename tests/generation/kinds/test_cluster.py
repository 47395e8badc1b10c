from __future__ import annotations

from collections import Counter
from itertools import product

import numpy as np
import pytest
from ase import Atoms
from ase.cluster import wulff_construction
from ase.data import covalent_radii
from ase.neighborlist import neighbor_list
from pymatgen.analysis.wulff import WulffShape
from pymatgen.core import Lattice, Molecule
from pymatgen.symmetry.analyzer import PointGroupAnalyzer
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from support.errors import refused

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.exploration.dynamics.ensembles import choose_ensemble
from aiida_mlip_autopipe.generation.particles.clusters import largest_facet_down
from aiida_mlip_autopipe.generation.particles.wulff import wulff_outline
from aiida_mlip_autopipe.structures.vacuum import empty_layers

A_PT = 3.92
PLATINUM = {'kind': 'alloy', 'composition': {'Pt': 1.0}}
MGO = {'kind': 'ionic', 'prototype': 'rocksalt', 'sites': {'A': 'Mg', 'X': 'O'}}
SLAB = {'kind': 'surface', 'of': MGO, 'miller_indices': [[1, 0, 0]], 'n_layers': 2, 'fixed_layers': 1, 'vacuum_A': 12}


def cluster(shape: str, of: dict = PLATINUM, **fields) -> dict:
    return {'kind': 'cluster', 'of': of, 'shape': shape, **fields}


def energies(**planes: float) -> list[dict]:
    """Return surface energies from Miller indices written as _111."""
    return [{'miller': [int(i) for i in plane[1:]], 'energy_J_m2': energy} for plane, energy in planes.items()]


def point_group(atoms) -> str:
    molecule = Molecule(atoms.get_chemical_symbols(), atoms.positions)
    return str(PointGroupAnalyzer(molecule, tolerance=0.05).sch_symbol)


def coordination_numbers(atoms, cutoff_A: float = 1.2 * A_PT / np.sqrt(2)) -> np.ndarray:
    return np.bincount(neighbor_list('i', atoms, cutoff_A), minlength=len(atoms))


@pytest.mark.parametrize(
    ('shape', 'sizes', 'group'),
    [
        ('icosahedron', [13, 55, 147], 'Ih'),
        ('decahedron', [13, 55, 147], 'D5h'),
        ('cuboctahedron', [13, 55, 147], 'Oh'),
        ('octahedron', [6, 19, 44], 'Oh'),
        ('truncated_octahedron', [38, 201], 'Oh'),
    ],
)
def test_closed_shells_have_magic_numbers_and_the_point_group_of_their_shape(generate, shape, sizes, group):
    seeds = generate(cluster(shape, n_shells=list(range(1, len(sizes) + 1)))).seeds
    assert [len(seed.atoms) for seed in seeds] == [seed.record['n_atoms'] for seed in seeds] == sizes
    assert {point_group(seed.atoms) for seed in seeds[:2]} == {group}
    assert all(not seed.atoms.pbc.any() and seed.record['form'] == 'cluster' for seed in seeds)


@pytest.mark.parametrize(
    ('shape', 'n_atoms', 'expected'),
    [
        ('icosahedron', 55, {6: 12, 8: 30, 12: 13}),
        ('cuboctahedron', 55, {5: 12, 7: 24, 8: 6, 12: 13}),
        ('truncated_octahedron', 38, {6: 24, 9: 8, 12: 6}),
        ('decahedron', 7, {4: 5, 6: 2}),
    ],
)
def test_surface_atoms_have_the_coordination_of_vertices_edges_and_facets(generate, shape, n_atoms, expected):
    (seed,) = generate(cluster(shape, n_atoms=n_atoms)).seeds
    assert Counter(coordination_numbers(seed.atoms).tolist()) == expected


def test_a_size_between_two_closed_shells_gives_the_nearest_and_reports_it(generate):
    result = generate(cluster('icosahedron', n_atoms=[60, 147]))
    assert [len(seed.atoms) for seed in result.seeds] == [55, 147]
    (note,) = next(iter(result.report['entries'].values()))['notes']
    assert '60' in note
    assert '55' in note


def test_marks_decahedra_are_found_by_their_number_of_atoms(generate):
    (seed,) = generate(cluster('decahedron', n_atoms=75)).seeds
    assert len(seed.atoms) == 75
    assert point_group(seed.atoms) == 'D5h'


def test_a_diameter_is_that_of_a_sphere_with_as_many_atoms_of_the_crystal(generate):
    diameter = (6 * 55 * A_PT**3 / 4 / np.pi) ** (1 / 3)
    (seed,) = generate(cluster('cuboctahedron', diameter_A=diameter)).seeds
    assert len(seed.atoms) == 55


def test_a_wulff_particle_is_that_of_ase(generate):
    planes = [(1, 1, 1), (1, 0, 0)]
    (seed,) = generate(cluster('wulff', n_atoms=201, surface_energies=energies(_111=1.0, _100=1.15))).seeds
    reference = wulff_construction('Pt', planes, [1.0, 1.15], 201, 'fcc', latticeconstant=A_PT)
    found, expected = (np.sort(np.linalg.norm(atoms.positions, axis=1)) for atoms in (seed.atoms, reference))
    assert found == pytest.approx(expected, abs=1e-6)


def test_a_wulff_particle_contains_all_lattice_points_within_facets_at_distances_proportional_to_energies(generate):
    (seed,) = generate(
        cluster('wulff', n_atoms=586, surface_energies=energies(_111=1.0, _100=1.15), validation={'max_atoms': 600})
    ).seeds
    normals = [np.array(n) / np.sqrt(3) for n in product((1, -1), repeat=3)]
    normals += [sign * row / 1.15 for row in np.eye(3) for sign in (1, -1)]
    positions = seed.atoms.positions
    scale = float((positions @ np.transpose(normals)).max())
    steps = np.array(list(product(range(-12, 13), repeat=3)))
    lattice = positions[0] + steps[steps.sum(axis=1) % 2 == 0] * A_PT / 2
    inside = (lattice @ np.transpose(normals)).max(axis=1) < scale + 1e-6
    assert inside.sum() == len(seed.atoms)
    assert point_group(seed.atoms) == 'Oh'
    hexagonal, square = float((positions @ np.ones(3)).max()) / np.sqrt(3), float(positions[:, 0].max())
    # Atoms are on planes, so a facet is within one spacing of its distance.
    assert abs(square / 1.15 - hexagonal) < A_PT / np.sqrt(3)


@pytest.mark.parametrize(('square', 'rhombic'), [(1.15, 2.0), (0.9, 1.3), (2.0, 1.1)])
def test_the_wulff_shape_is_that_of_pymatgen(square, rhombic):
    from ase.build import bulk

    planes = {(1, 1, 1): 1.0, (1, 0, 0): square, (1, 1, 0): rhombic}
    outline = wulff_outline(bulk('Pt', cubic=True), planes)
    shape = WulffShape(Lattice.cubic(A_PT), list(planes), list(planes.values()))
    assert outline.volume == pytest.approx(shape.volume, rel=1e-6)
    areas = {tuple(plane): area for plane, area in shape.miller_area_dict.items()}
    assert outline.missing_planes() == [plane for plane in planes if areas[plane] < 1e-6]


def test_a_facet_that_others_cut_off_is_reported(generate):
    result = generate(cluster('wulff', n_atoms=79, surface_energies=energies(_111=1.0, _100=1.2, _110=3.0)))
    (note,) = next(iter(result.report['entries'].values()))['notes']
    assert '1 1 0' in note


def test_a_hexagonal_crystal_gives_a_wulff_particle_with_basal_facets(generate):
    ruthenium = {'kind': 'alloy', 'composition': {'Ru': 1.0}, 'lattice': 'hcp', 'a_A': 2.7, 'c_over_a': 1.58}
    entry = cluster('wulff', ruthenium, n_atoms=150, surface_energies=energies(_001=1.0, _101=1.2))
    (seed,) = generate(entry).seeds
    heights = np.round(seed.atoms.positions[:, 2], 3)
    assert np.diff(np.unique(heights)) == pytest.approx(2.7 * 1.58 / 2, abs=2e-3)
    assert np.sum(heights == heights.max()) > 6


def test_atoms_of_a_wire_are_on_lattice_sites_and_its_period_is_that_of_the_crystal(generate):
    (seed,) = generate(cluster('wire', axis=[1, 1, 0], diameter_A=10, vacuum_A=12), cutoff_A=5.0).seeds
    assert seed.record['form'] == 'wire'
    assert seed.record['period_A'] == pytest.approx(A_PT / np.sqrt(2))
    assert seed.atoms.pbc.all()
    assert seed.atoms.cell[2, 2] == pytest.approx(4 * A_PT / np.sqrt(2))  # two cutoffs
    assert empty_layers(seed.atoms)[:2] == pytest.approx(12)
    distances = neighbor_list('d', seed.atoms, 6.0)
    shells = A_PT * np.sqrt(np.arange(1, 6) / 2)
    assert np.abs(distances[:, None] - shells).min(axis=1).max() < 1e-6
    assert coordination_numbers(seed.atoms).max() == 12
    assert coordination_numbers(seed.atoms).min() >= 5
    per_period = len(seed.atoms) / 4
    assert per_period == pytest.approx(np.pi * 5**2 * seed.record['period_A'] * 4 / A_PT**3, abs=2.5)


def test_a_wire_with_surface_energies_has_only_facets_that_contain_its_axis(generate):
    entry = cluster('wire', axis=[0, 0, 1], n_atoms=50, surface_energies=energies(_100=1.0))
    (seed,) = generate(entry).seeds
    width, depth = np.ptp(seed.atoms.positions[:, :2], axis=0)
    assert width == pytest.approx(depth)
    with refused(Code.VALUES_INCOMPLETE, '1 1 1'):
        generate({**entry, 'surface_energies': energies(_111=1.0)})


def test_a_wire_of_an_alloy_is_repeated_until_it_can_have_the_composition(generate):
    alloy = {'kind': 'alloy', 'composition': {'Pt': 0.9, 'Cu': 0.1}}
    for seed in generate(cluster('wire', alloy, axis=[1, 0, 0], n_atoms=13, n_seeds=2)).seeds:
        assert np.mean(seed.atoms.symbols == 'Cu') == pytest.approx(0.1, abs=0.02)


@pytest.mark.parametrize(('of', 'n_atoms'), [(PLATINUM, 40), (MGO, 24)], ids=['Pt', 'MgO'])
def test_a_random_cluster_is_compact_and_in_one_piece(generate, of, n_atoms):
    seeds = generate(cluster('random', of, n_atoms=n_atoms, n_seeds=3)).seeds
    assert len({seed.seed_id for seed in seeds}) == 3
    for seed in seeds:
        atoms = seed.atoms
        assert len(atoms) == n_atoms
        radii = covalent_radii[atoms.numbers]
        distances = atoms.get_all_distances()
        ratios = distances / (radii[:, None] + radii)
        np.fill_diagonal(ratios, np.inf)
        assert 0.9 < ratios.min() < 1.1
        assert connected_components(coo_array(ratios < 1.2))[0] == 1
        gyration = np.sqrt((atoms.positions**2).sum(axis=1).mean())
        volume = (
            {'Pt': A_PT**3 / 4, 'Mg': 4.21**3 / 8}[atoms.get_chemical_symbols()[0]] if n_atoms == 40 else 4.21**3 / 8
        )
        sphere = np.sqrt(3 / 5) * (3 * n_atoms * volume / 4 / np.pi) ** (1 / 3)
        assert sphere < gyration < 1.5 * sphere
        assert atoms.get_initial_charges().sum() == 0


def test_the_shell_of_a_core_shell_cluster_contains_all_surface_atoms(generate):
    copper = {'kind': 'alloy', 'composition': {'Cu': 0.5, 'Ni': 0.5}, 'composition_tolerance': 0.05}
    (seed,) = generate(cluster('icosahedron', copper, n_shells=3, shell={'Pt': 1.0}, n_seeds=1)).seeds
    outside = coordination_numbers(seed.atoms, 1.25 * 3.6 / np.sqrt(2)) < 12
    assert set(seed.atoms.symbols[outside]) == {'Pt'}
    assert Counter(seed.atoms.get_chemical_symbols()) == {'Pt': 92, 'Cu': 28, 'Ni': 27}
    (two,) = generate(cluster('icosahedron', copper, n_shells=3, shell={'Pt': 1}, n_shell_layers=2, n_seeds=1)).seeds
    assert Counter(two.atoms.get_chemical_symbols())['Pt'] == 92 + 42
    with refused(Code.HOST_UNSUITABLE, 'shell', '55'):
        generate(cluster('icosahedron', PLATINUM, n_shells=2, shell={'Cu': 1}, n_shell_layers=3))


def test_a_cluster_of_a_random_alloy_has_its_composition(generate):
    alloy = {'kind': 'alloy', 'composition': {'Pt': 0.75, 'Cu': 0.25}}
    seeds = generate(
        cluster('wulff', alloy, n_atoms=201, surface_energies=energies(_111=1, _100=1.15), n_seeds=2)
    ).seeds
    for seed in seeds:
        assert np.mean(seed.atoms.symbols == 'Cu') == pytest.approx(0.25, abs=0.02)
    assert len({seed.seed_id for seed in seeds}) == 2


@pytest.mark.parametrize('n_atoms', [8, 64])
def test_a_neutral_cube_is_cut_from_rock_salt(generate, n_atoms):
    (seed,) = generate(cluster('wulff', MGO, n_atoms=n_atoms, surface_energies=energies(_100=1.0))).seeds
    edge = round(n_atoms ** (1 / 3)) - 1
    assert np.ptp(seed.atoms.positions, axis=0) == pytest.approx(edge * 2.12, abs=0.01)
    assert seed.atoms.get_initial_charges().sum() == 0
    assert point_group(seed.atoms) == 'Td'


def test_outer_ions_are_removed_from_a_particle_that_is_never_neutral(generate):
    ceria = {'kind': 'ionic', 'prototype': 'fluorite', 'sites': {'A': 'Ce', 'X': 'O'}}
    entry = cluster('wulff', ceria, n_atoms=60, surface_energies=energies(_111=1.0, _100=1.15))
    result = generate(entry)
    (seed,) = result.seeds
    counts = Counter(seed.atoms.get_chemical_symbols())
    assert counts['O'] == 2 * counts['Ce']
    assert seed.atoms.get_initial_charges().sum() == 0
    (note,) = next(iter(result.report['entries'].values()))['notes']
    assert str(seed.record['n_removed']) in note
    (charged,) = generate({**entry, 'charged': True}).seeds
    assert charged.atoms.get_initial_charges().sum() != 0
    assert abs(len(charged.atoms) - 60) <= abs(len(seed.atoms) - 60)


@pytest.mark.parametrize('orientation', ['facet', 'random'])
def test_a_cluster_touches_its_support_and_leaves_it_unchanged(generate, orientation):
    support = {'of': SLAB, 'orientation': orientation, 'separation_A': 5}
    seeds = generate(cluster('truncated_octahedron', n_shells=1, support=support, n_seeds=2), cutoff_A=4.0).seeds
    (bare,) = generate({**SLAB, 'validation': {'cell': 'as_given'}}).seeds
    for seed in seeds:
        platinum = seed.atoms.numbers == 78
        slab, particle = seed.atoms[~platinum], seed.atoms[platinum]
        assert len(particle) == 38
        first, second = np.round(slab.cell.lengths()[:2] / bare.atoms.cell.lengths()[:2]).astype(int)
        assert len(slab) == len(bare.atoms) * first * second
        repeated = bare.atoms.repeat((first, second, 1))
        assert np.allclose(slab.positions, repeated.positions)
        assert np.array_equal(slab.get_initial_charges(), repeated.get_initial_charges())
        assert seed.arrays()['fixed'].sum() == len(slab) // 2
        i, j, distances = neighbor_list('ijd', seed.atoms, 8.0)
        ratios = distances / (covalent_radii[seed.atoms.numbers[i]] + covalent_radii[seed.atoms.numbers[j]])
        contact = platinum[i] & ~platinum[j]
        assert ratios[contact].min() == pytest.approx(1.0, abs=1e-6)
        assert empty_layers(seed.atoms)[2] == pytest.approx(12)
        lowest = np.sum(particle.positions[:, 2] < particle.positions[:, 2].min() + 0.01)
        assert lowest == 7 if orientation == 'facet' else lowest < 3
        assert seed.record['form'] == 'slab'
        # Images of the cluster are apart, so its periodic neighbours are those of the free cluster.
        own = neighbor_list('i', particle, 4.99)
        free = particle.copy()
        free.pbc = False
        assert len(own) == len(neighbor_list('i', free, 4.99))


def test_a_cluster_lies_on_its_largest_facet():
    side = A_PT / np.sqrt(2)
    pyramid = Atoms('Pt5', [[0, 0, 0], [side, 0, 0], [0, side, 0], [side, side, 0], [side / 2, side / 2, A_PT / 2]])
    pyramid.rotate(50, (1, 2, 3))
    heights = np.sort(largest_facet_down(pyramid).positions[:, 2])
    assert heights - heights[0] == pytest.approx([0, 0, 0, 0, A_PT / 2])


def test_clusters_and_wires_are_explored_at_constant_volume(generate):
    seeds = generate(cluster('icosahedron', n_shells=1), cluster('wire', axis=[1, 1, 0], n_atoms=7, vacuum_A=5)).seeds
    for seed in seeds:
        assert choose_ensemble(seed.atoms, 'auto', 8.0, form=seed.record['form']).ensemble == 'nvt'


def test_strain_acts_only_along_a_wire(generate):
    entry = cluster('wire', axis=[1, 1, 0], n_atoms=7)
    (plain,) = generate(entry).seeds
    (strained,) = generate({**entry, 'perturb': {'anisotropic_strain': 0.05}}).seeds
    assert strained.atoms.cell.lengths()[:2] == pytest.approx(plain.atoms.cell.lengths()[:2])
    assert strained.atoms.cell[2, 2] != pytest.approx(plain.atoms.cell[2, 2], rel=1e-4)


@pytest.mark.parametrize(
    ('entry', 'code', 'values'),
    [
        (cluster('icosahedron'), Code.VALUES_INCOMPLETE, ('n_atoms', 'n_shells')),
        (cluster('icosahedron', n_atoms=13, n_shells=1), Code.VALUES_EXCLUDE, ('n_atoms', 'n_shells')),
        (cluster('wulff', n_atoms=13), Code.VALUES_INCOMPLETE, ('surface_energies',)),
        (cluster('wulff', n_shells=1, surface_energies=energies(_111=1)), Code.VALUES_EXCLUDE, ('n_shells', 'wulff')),
        (cluster('icosahedron', n_atoms=13, axis=[1, 0, 0]), Code.VALUES_EXCLUDE, ('axis', 'icosahedron')),
        (cluster('icosahedron', n_atoms=13, vacuum_A=10), Code.VALUES_EXCLUDE, ('vacuum_A',)),
        (cluster('wire', n_atoms=13), Code.VALUES_INCOMPLETE, ('axis',)),
        (cluster('wire', n_atoms=13, axis=[1, 0, 0], shell={'Cu': 1}), Code.VALUES_EXCLUDE, ('shell',)),
        (cluster('icosahedron', n_atoms=13, n_shell_layers=2), Code.VALUES_INCOMPLETE, ('shell',)),
    ],
)
def test_settings_that_do_not_apply_are_refused(make_entries, entry, code, values):
    with refused(code, *values):
        make_entries(entry)


def test_impossible_clusters_are_refused(generate):
    iron = {'kind': 'alloy', 'composition': {'Fe': 1.0}, 'lattice': 'bcc'}
    with refused(Code.HOST_UNSUITABLE, 'icosahedron', '229'):
        generate(cluster('icosahedron', iron, n_shells=1))
    with refused(Code.HOST_UNSUITABLE, 'Pt5'):
        generate(cluster('wulff', {'kind': 'surface', 'of': PLATINUM, 'miller_indices': [[1, 1, 1]]}, n_atoms=13,
                         surface_energies=energies(_111=1)))  # fmt: skip
    with refused(Code.VALUES_EXCLUDE, '1 0 0', '0 1 0'):
        generate(cluster('wulff', n_atoms=13, surface_energies=energies(_100=1, _010=1.2)))
    with refused(Code.HOST_UNSUITABLE, 'support', 'Pt'):
        generate(cluster('icosahedron', n_shells=1, support={'of': PLATINUM}))
    with refused(Code.CELL_TOO_SMALL, 'support', 'max_atoms'):
        generate(cluster('icosahedron', n_shells=2, support={'of': SLAB}, validation={'max_atoms': 60}))
    sqs = {'kind': 'alloy', 'composition': {'Pt': 0.5, 'Cu': 0.5}, 'arrangement': 'sqs'}
    with refused(Code.HOST_UNSUITABLE, 'arrangement: random'):
        generate(cluster('icosahedron', sqs, n_shells=2))


def test_the_elements_of_a_cluster_include_those_of_shell_and_support(make_entries):
    silicon = {'kind': 'covalent', 'structure': 'diamond', 'sites': {'A': 'Si'}}
    support = {'of': {'kind': 'surface', 'of': silicon}}
    (entry,) = make_entries(cluster('icosahedron', n_shells=2, shell={'Au': 1}, support=support))
    assert entry.elements() == {'Pt', 'Au', 'Si'}


def test_a_cluster_allows_random_vacancies_but_neither_adsorption_nor_a_supercell(generate):
    icosahedron = cluster('icosahedron', n_shells=2)
    vacancy = {'kind': 'defect', 'of': icosahedron, 'vacancies': {'Pt': 1}, 'n_seeds': 2}
    assert [len(seed.atoms) for seed in generate(vacancy).seeds] == [54, 54]
    with refused(Code.HOST_UNSUITABLE, 'Pt55', 'sites: random'):
        generate({**vacancy, 'sites': 'distinct'})
    with refused(Code.HOST_UNSUITABLE, 'Pt55'):
        generate({'kind': 'adsorption', 'of': icosahedron, 'molecules': ['CO']})
    with refused(Code.VALUES_EXCLUDE, 'perturb.supercell', 'Pt55', '1'):
        generate({**icosahedron, 'perturb': {'supercell': [2, 1, 1]}})
