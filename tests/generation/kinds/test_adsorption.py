from __future__ import annotations

import numpy as np
import pytest
import spglib
from ase.build import bcc110, bcc111, fcc100, fcc110, fcc111, hcp0001, molecule
from ase.data import covalent_radii
from ase.io import write
from support.errors import refused

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.generation.kinds.adsorption import AdsorptionSettings
from aiida_mlip_autopipe.generation.surfaces.adsorption_sites import find_sites

SLAB = {'kind': 'surface', 'of': {'kind': 'alloy', 'composition': {'Cu': 1.0}}, 'miller_indices': [[1, 1, 1]],
        'thickness_A': 6, 'fixed_layers': 1}  # fmt: skip


def adsorption(**fields) -> dict:
    return {'kind': 'adsorption', 'of': SLAB, **fields}


# Known distinct sites: fcc(111) has two hollows (fcc and hcp), fcc(100) has one fourfold hollow, and bcc(110) has two
# bridges and one threefold hollow.
@pytest.mark.parametrize(
    ('build', 'element', 'names'),
    [
        (fcc111, 'Cu', ['ontop', 'bridge', 'hollow', 'hollow']),
        (fcc100, 'Cu', ['ontop', 'bridge', 'hollow']),
        (bcc110, 'Fe', ['ontop', 'bridge', 'bridge', 'hollow']),
    ],
)
@pytest.mark.parametrize('size', [(1, 1, 4), (2, 2, 4)])
def test_the_known_distinct_sites_are_found(build, element, names, size):
    slab = build(element, size, vacuum=8)
    slab.pbc = True
    assert [site.name for site in find_sites(slab, distinct=True)] == names


def count_orbits(slab, sites) -> int:
    """Count the sites that are distinct under the symmetry operations (spglib) that keep the upper side up."""
    found = spglib.get_symmetry((slab.cell.array, slab.get_scaled_positions(), slab.numbers))
    plane = slab.cell.array[:2, :2]
    left = np.array([site.position[:2] for site in sites]) @ np.linalg.inv(plane)
    up = found['rotations'][:, 2, 2] == 1
    count = 0
    while len(left):
        count += 1
        images = found['rotations'][up, :2, :2] @ left[0] + found['translations'][up, :2]
        vectors = (left[:, None] - images + 0.5) % 1 - 0.5
        left = left[np.linalg.norm(vectors @ plane, axis=2).min(axis=1) > 0.05]
    return count


@pytest.mark.parametrize(
    ('build', 'element'),
    [(fcc111, 'Cu'), (fcc100, 'Cu'), (fcc110, 'Cu'), (bcc110, 'Fe'), (bcc111, 'Fe'), (hcp0001, 'Ti')],
)
def test_there_is_one_distinct_site_for_each_orbit_of_the_plane_group(build, element):
    slab = build(element, (2, 1, 4) if build in (fcc100, fcc110) else (2, 2, 4), vacuum=8)
    slab.pbc = True
    distinct = find_sites(slab, distinct=True)
    assert count_orbits(slab, distinct) == len(distinct)
    assert count_orbits(slab, find_sites(slab, distinct=False)) == len(distinct)


def test_lower_terraces_have_sites_if_the_surface_depth_includes_them():
    slab = fcc110('Cu', (1, 1, 4), vacuum=8)
    slab.pbc = True
    rows = np.unique(slab.positions[:, 2].round(6))[::-1]
    for depth, n_rows in ((0.9, 1), (1.5, 2)):
        sites = find_sites(slab, distinct=True, depth_A=depth)
        heights = sorted({float(site.position[2]) for site in sites if site.name == 'ontop'}, reverse=True)
        assert heights == pytest.approx(rows[:n_rows], abs=1e-3)


def test_molecules_are_placed_on_the_required_side(generate):
    titanate = {'kind': 'ionic', 'prototype': 'perovskite', 'sites': {'A': 'Sr', 'B': 'Ti', 'X': 'O'}}
    slab = {'kind': 'surface', 'of': titanate, 'miller_indices': [[1, 0, 0]], 'thickness_A': 6}
    entry = {'kind': 'adsorption', 'of': slab, 'molecules': ['CO'], 'orientation': 'upright', 'side': 'both'}
    seeds = generate(entry).seeds
    touched: dict[str, set[str]] = {'upper': set(), 'lower': set()}
    for seed in seeds:
        atoms, side = seed.atoms, seed.record['side']
        carbon = int(np.flatnonzero(atoms.symbols == 'C')[0])
        height, slab_heights = atoms.positions[carbon, 2], atoms.positions[:-2, 2]
        assert height > slab_heights.max() if side == 'upper' else height < slab_heights.min()
        assert atoms.cell[2, 2] - np.ptp(atoms.positions[:, 2]) == pytest.approx(15.0)
        distances = atoms.get_distances(carbon, range(len(atoms) - 2), mic=True)
        sums = covalent_radii[6] + covalent_radii[atoms.numbers[:-2]]
        assert (distances / sums).min() == pytest.approx(1.0)
        if seed.record['site'] == 'ontop':
            touched[side].add(str(atoms.symbols[int(np.argmin(distances / sums))]))
    assert touched['upper'] | touched['lower'] == {'Sr', 'Ti', 'O'}
    assert ('Sr' in touched['upper']) != ('Sr' in touched['lower'])
    copper = generate(adsorption(molecules=['O'], orientation='upright', side='both')).seeds
    assert {seed.record['side'] for seed in copper} == {'upper'}  # its two sides are equivalent


def test_every_molecule_is_placed_on_every_distinct_site(generate):
    seeds = generate(adsorption(molecules=['CO', 'O'], orientation='upright')).seeds
    assert sorted((seed.record['molecule'], seed.record['site']) for seed in seeds) == sorted(
        (name, site) for name in ('CO', 'O') for site in ('ontop', 'bridge', 'hollow', 'hollow')
    )
    assert len(generate(adsorption(molecules=['O'], sites=['hollow'], orientation='upright')).seeds) == 2


def test_the_shortest_distance_is_a_sum_of_covalent_radii(generate):
    for seed in generate(adsorption(molecules=['O'], orientation='upright')).seeds:
        oxygen = len(seed.atoms) - 1
        distances = seed.atoms.get_distances(oxygen, range(oxygen), mic=True)
        bond = covalent_radii[8] + covalent_radii[29]
        assert distances.min() == pytest.approx(bond)
        expected = {'ontop': 1, 'bridge': 2, 'hollow': 3}[seed.record['site']]
        assert np.sum(distances < bond + 1e-3) == expected


def test_random_orientations_are_uniform_and_do_not_change_the_shape_of_the_molecule(generate):
    seeds = generate(adsorption(molecules=['CO'], n_seeds=24)).seeds
    axes = []
    for seed in seeds:
        carbon, oxygen = (seed.atoms.positions[seed.atoms.symbols == s][0] for s in ('C', 'O'))
        axes.append((oxygen - carbon) / np.linalg.norm(oxygen - carbon))
        reference = molecule('CO')
        assert np.linalg.norm(oxygen - carbon) == pytest.approx(reference.get_distance(0, 1))
    cosines = np.array(axes)[:, 2]
    assert abs(cosines.mean()) < 4 / np.sqrt(3 * 24)
    flipped = generate(adsorption(molecules=['CO'], orientation='flipped')).seeds[0].atoms
    upright = generate(adsorption(molecules=['CO'], orientation='upright')).seeds[0].atoms
    heights = [a.positions[a.symbols == 'O'][0, 2] - a.positions[a.symbols == 'C'][0, 2] for a in (flipped, upright)]
    assert heights[0] == pytest.approx(-heights[1])


@pytest.mark.parametrize(('coverage', 'n_top', 'number'), [(0.25, 36, 9), (0.2, 25, 5), (0.33, 36, 12)])
def test_a_slab_has_the_requested_coverage(generate, coverage, n_top, number):
    # The smallest slab for this cutoff has 5 x 5 surface atoms, which can have 0.2, but neither 0.25 nor 1/3.
    entry = adsorption(molecules=['H'], coverage=coverage, n_seeds=3)
    for seed in generate(entry, cutoff_A=5.0).seeds:
        copper = seed.atoms[seed.atoms.symbols == 'Cu'].positions[:, 2]
        assert np.sum(copper > copper.max() - 0.5) == n_top
        assert seed.record['n_molecules'] == np.sum(seed.atoms.symbols == 'H') == number
        assert seed.record['coverage'] == pytest.approx(number / n_top)


def test_a_coverage_that_no_slab_can_have_is_refused(generate):
    with refused(Code.COVERAGE_IMPOSSIBLE, '0.01', '200'):
        generate(adsorption(molecules=['H'], coverage=0.01, n_seeds=1, validation={'max_atoms': 200}), cutoff_A=5.0)


@pytest.mark.parametrize('side', ['upper', 'lower'])
def test_the_site_of_every_molecule_is_recorded(generate, side):
    entry = adsorption(molecules=['H'], n_molecules=4, n_seeds=2, side=side)
    for seed in generate(entry, cutoff_A=5.0).seeds:
        atoms, record = seed.atoms, seed.record
        hydrogens = atoms.positions[atoms.symbols == 'H']
        assert np.allclose(record['sites_A'], hydrogens[:, :2])
        assert record['site_A'] == record['sites_A'][0]
        assert record['site'] == record['sites'][0]
        for hydrogen, name in zip(np.flatnonzero(atoms.symbols == 'H'), record['sites'], strict=True):
            distances = atoms.get_distances(hydrogen, np.flatnonzero(atoms.symbols == 'Cu'), mic=True)
            assert np.sum(distances < distances.min() + 1e-3) == {'ontop': 1, 'bridge': 2, 'hollow': 3}[name]


# The element through which each molecule of ASE's G2 collection binds, for those that bind through one known atom.
BINDS_BY = {
    'C': 'CO CN CS CH CH2_s1A1d CH2_s3B1d CH3 CCH C2H3 C2H5 C3H7 C3H9C HCO CH3CO H2COH',
    'N': 'NO N2O NH NH2 NH3 N2H4 ClNO HCN CH3CN CF3CN H2CCHCN H3CNH2 CH3CH2NH2 C2H6NH C3H9N CH2NHCH2 C5H5N',
    'O': 'OH H2O CH3O CH3OH CH3CH2O CH3CH2OH C2H6CHOH CH3OCH3 CH3CH2OCH3 CH2OCH2 H2CO CH3CHO CH3COCH3 HCOOH '
         'CH3COOH HCOOCH3 CH3CONH2',
    'S': 'SH SH2 SO SO2 CH3S CH3SH CH3CH2SH CH3SCH3 CH2SCH2',
    'P': 'PH2 PH3 PF3',
    'Si': 'SiH2_s1A1d SiH2_s3B1d SiH3',
    'Cl': 'CH3Cl CH3CH2Cl C3H7Cl',
}  # fmt: skip
# In these, hydrogen atoms of a methyl group, or the plane of the radical, are not above the binding atom.
BEND_DOWN = {'CH3', 'C2H5', 'C3H7', 'C3H9C', 'CH3CH2OCH3'}


@pytest.mark.parametrize('symbol', BINDS_BY)
def test_upright_molecules_bind_through_the_right_atom(generate, symbol):
    names = BINDS_BY[symbol].split()
    slab = {'kind': 'surface', 'of': {'kind': 'alloy', 'composition': {'Pt': 1.0}}, 'n_layers': 2,
            'miller_indices': [[1, 1, 1]]}  # fmt: skip
    entry = {'kind': 'adsorption', 'of': slab, 'molecules': names, 'sites': ['ontop'], 'orientation': 'upright'}
    seeds = generate(entry).seeds
    assert [seed.record['molecule'] for seed in seeds] == names
    for seed in seeds:
        name, atoms = seed.record['molecule'], seed.atoms
        own = atoms[atoms.numbers != 78]
        assert np.allclose(np.sort(own.get_all_distances(), axis=None),
                           np.sort(molecule(name).get_all_distances(), axis=None))  # fmt: skip
        above = np.flatnonzero(np.linalg.norm(own.positions[:, :2] - seed.record['site_A'], axis=1) < 1e-6)
        assert symbol in own.symbols[above], name
        atom = min(above, key=lambda i: own.positions[i, 2])
        heights = np.delete(own.positions[:, 2], atom) - own.positions[atom, 2]
        assert own.symbols[atom] == symbol, name
        if name not in BEND_DOWN:
            assert heights.min() > 0, name


@pytest.mark.parametrize('name', ['OH', 'H2O', 'NH3', 'CH', 'SH'])
def test_hydrogen_is_up_in_an_upright_molecule_and_down_in_a_flipped_one(generate, name):
    for orientation, sign in (('upright', 1), ('flipped', -1)):
        seed = generate(adsorption(molecules=[name], sites=['ontop'], orientation=orientation)).seeds[0]
        heights, hydrogen = seed.atoms.positions[:, 2], seed.atoms.symbols == 'H'
        heavy = heights[~hydrogen & (seed.atoms.numbers != 29)].item()
        assert np.all(sign * (heights[hydrogen] - heavy) > 0.3)


def test_sites_that_differ_only_in_the_layer_below_are_distinct(generate):
    bilayer = {'kind': 'covalent', 'structure': 'graphene', 'sites': {'A': 'C'}, 'n_layers': 2}
    entry = {'kind': 'adsorption', 'of': bilayer, 'molecules': ['H'], 'orientation': 'upright', 'sites': ['ontop']}
    seeds = generate(entry).seeds
    assert len(seeds) == 2  # above an atom and above a hollow of the lower layer


def test_too_many_molecules_for_the_slab_are_refused(generate):
    with refused(Code.STRUCTURE_INVALID, 'C6H6', 'Cu') as caught:
        generate(adsorption(molecules=['C6H6'], n_molecules=6, n_seeds=1, validation={'max_redraws': 1}))
    assert (caught.value.rule, caught.value.value) == ('coverage', 6)


def test_the_slab_is_repeated_for_a_large_molecule_or_the_molecule_is_refused(generate):
    entry = adsorption(molecules=['C6H6'], orientation='upright', n_seeds=1)
    (seed,) = generate(entry).seeds
    assert min(np.linalg.norm(seed.atoms.cell.array[:2], axis=1)) > 7.5
    with refused(Code.CELL_TOO_SMALL, 'C6H6', '3 Å', '8.0 Å', '2.2 Å', 'validation.max_atoms: '):
        generate({**entry, 'validation': {'max_atoms': 10}})


def test_molecules_change_neither_the_fixed_atoms_nor_the_thickness_of_the_vacuum(generate):
    (seed,) = generate(adsorption(molecules=['CO'], n_seeds=1, orientation='upright')).seeds
    fixed = seed.arrays()['fixed']
    assert fixed.any()
    assert not fixed[-2:].any()
    assert seed.atoms.cell[2, 2] - np.ptp(seed.atoms.positions[:, 2]) == pytest.approx(15.0)


def test_molecules_can_come_from_files(generate, tmp_path):
    write(tmp_path / 'mine.xyz', [molecule('H2O'), molecule('NH3')])
    seeds = generate(adsorption(files=[str(tmp_path / 'mine.xyz')], orientation='upright', sites=['ontop'])).seeds
    found = {''.join(sorted(seed.atoms.symbols[seed.atoms.numbers < 10])) for seed in seeds}
    assert found == {'HHO', 'HHHN'}


@pytest.mark.parametrize(
    ('fields', 'code', 'values'),
    [
        ({}, Code.VALUES_INCOMPLETE, ['molecules', 'files']),
        ({'molecules': ['CH3OHH']}, Code.MOLECULE_UNKNOWN, ['molecules.0', "'CH3OHH'"]),
        ({'molecules': ['CO'], 'n_molecules': 2, 'coverage': 0.5}, Code.VALUES_EXCLUDE, ['n_molecules', 'coverage']),
    ],
)
def test_invalid_molecules_are_refused(fields, code, values):
    with refused(code, *values):
        AdsorptionSettings(of=SLAB, **fields)


WIRE = {'kind': 'cluster', 'of': SLAB['of'], 'shape': 'wire', 'axis': [1, 1, 0], 'diameter_A': 8}


@pytest.mark.parametrize(
    ('of', 'formula'),
    [
        (SLAB['of'], 'Cu'),
        (WIRE, 'Cu'),
        ({'kind': 'amorphous', 'composition': {'Cu': 1, 'Zr': 1}, 'density_g_per_cm3': 7}, 'Cu50Zr50'),
        ({'kind': 'layered', 'structure': '2H', 'sites': {'M': 'Mo', 'X': 'S'}, 'bulk': True}, 'Mo2S4'),
        ({'kind': 'stacking_fault', 'of': SLAB['of'], 'faults': ['intrinsic']}, 'Cu'),
    ],
    ids=['crystal', 'wire', 'amorphous solid', 'bulk of layers', 'stacking fault'],
)
def test_molecules_are_refused_on_structures_without_a_surface(generate, of, formula):
    with refused(Code.HOST_UNSUITABLE, formula, 'slab'):
        generate(adsorption(of=of, molecules=['CO'], n_seeds=1))


def test_molecules_and_clusters_are_placed_on_slabs_with_the_thinnest_vacuum(generate):
    slab = {**SLAB, 'vacuum_A': 5}
    icosahedron = {'kind': 'cluster', 'of': SLAB['of'], 'shape': 'icosahedron', 'n_shells': 1, 'n_seeds': 1}
    seeds = generate(adsorption(of=slab, molecules=['CO'], n_seeds=1), {**icosahedron, 'support': {'of': slab}}).seeds
    for seed in seeds:
        assert seed.atoms.cell[2, 2] - np.ptp(seed.atoms.positions[:, 2]) == pytest.approx(5.0)
