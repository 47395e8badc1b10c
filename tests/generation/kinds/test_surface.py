from __future__ import annotations

import json
from itertools import product
from math import gcd

import numpy as np
import pytest
import spglib
from ase.build import fcc100, fcc111
from matscipy.neighbours import neighbour_list
from support.errors import refused

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.generation.kinds.surface import SurfaceSettings
from aiida_mlip_autopipe.generation.surfaces.slabs import atomic_planes, is_polar, upside_down

COPPER = {'kind': 'alloy', 'composition': {'Cu': 1.0}}
CAF2 = {'kind': 'ionic', 'prototype': 'fluorite', 'sites': {'A': 'Ca', 'X': 'F'}}
SRTIO3 = {'kind': 'ionic', 'prototype': 'perovskite', 'sites': {'A': 'Sr', 'B': 'Ti', 'X': 'O'}}
MGO = {'kind': 'ionic', 'prototype': 'rocksalt', 'sites': {'A': 'Mg', 'X': 'O'}}


def surface(of: dict, **fields) -> dict:
    return {'kind': 'surface', 'of': of, **fields}


def by_plane(seeds) -> dict[tuple[int, ...], int]:
    counts: dict[tuple[int, ...], int] = {}
    for seed in seeds:
        counts[tuple(seed.record['miller'])] = counts.get(tuple(seed.record['miller']), 0) + 1
    return counts


def test_all_distinct_planes_are_cut(generate):
    assert by_plane(generate(surface(COPPER)).seeds) == {(1, 0, 0): 1, (1, 1, 0): 1, (1, 1, 1): 1}
    planes = by_plane(generate(surface(COPPER, max_miller=2, thickness_A=2)).seeds)
    assert set(planes) == {(1, 0, 0), (1, 1, 0), (1, 1, 1), (2, 1, 0), (2, 1, 1), (2, 2, 1)}


def plane_orbits(crystal, reach: int) -> list[set[tuple[int, ...]]]:
    """Return sets of Miller indices that are equivalent by the symmetry of the crystal (spglib) or opposite."""
    rotations = spglib.get_symmetry((crystal.cell.array, crystal.get_scaled_positions(), crystal.numbers))['rotations']
    left = {plane for plane in product(range(-reach, reach + 1), repeat=3) if gcd(*plane) == 1}
    orbits = []
    while left:
        plane = min(left)
        orbits.append({tuple(sign * (plane @ rotation)) for rotation in rotations for sign in (1, -1)})
        left -= orbits[-1]
    return orbits


def count_cuts(crystal, plane, gap_A: float) -> int:
    """Count the symmetry-distinct gaps between atomic planes along the normal."""
    found = spglib.get_symmetry((crystal.cell.array, crystal.get_scaled_positions(), crystal.numbers))
    plane = np.array(plane)
    spacing = 1 / np.linalg.norm(np.linalg.inv(crystal.cell.array) @ plane)
    phases = np.sort(crystal.get_scaled_positions() @ plane % 1)
    widths = np.diff([*phases, phases[0] + 1])
    left = ((phases + widths / 2) % 1)[widths * spacing > gap_A]
    count = 0
    while len(left):
        count += 1
        images = np.array([
            sign * left[0] + shift @ plane
            for rotation, shift in zip(found['rotations'], found['translations'], strict=True)
            for sign in (1, -1) if np.array_equal(plane @ rotation, sign * plane)
        ])  # fmt: skip
        left = left[np.abs((left[:, None] - images + 0.5) % 1 - 0.5).min(axis=1) * spacing > 0.01]
    return count


@pytest.mark.parametrize(
    'of',
    [
        {'kind': 'alloy', 'composition': {'Ti': 1.0}, 'lattice': 'hcp'},
        {'kind': 'ionic', 'prototype': 'wurtzite', 'sites': {'A': 'Zn', 'X': 'O'}},
        {'kind': 'ionic', 'prototype': 'rutile', 'sites': {'A': 'Ti', 'X': 'O'}},
        {'kind': 'covalent', 'structure': 'quartz', 'sites': {'A': 'Si', 'X': 'O'}},
    ],
    ids=['hcp', 'wurtzite', 'rutile', 'quartz'],
)
def test_planes_and_terminations_are_those_that_the_space_group_makes_distinct(generate, of):
    crystal = generate(of).seeds[0].atoms
    # Perturbed seeds are not compared for duplicates, so each termination counts.
    entry = surface(
        of, polar='allow', thickness_A=3, perturb={'isotropic_strain': 1e-9}, validation={'max_neighbour_factor': 0}
    )
    seeds = generate(entry).seeds
    counts = by_plane(seeds)
    orbits = plane_orbits(crystal, 1)
    assert [sum(plane in orbit for plane in counts) for orbit in orbits] == [1] * len(orbits)
    assert counts == {plane: count_cuts(crystal, plane, 0.1) for plane in counts}
    for seed in seeds:
        assert seed.record['stoichiometric']
        assert seed.atoms.symbols.formula.reduce()[0].count() == crystal.symbols.formula.reduce()[0].count()


@pytest.mark.parametrize(('plane', 'build'), [((1, 1, 1), fcc111), ((1, 0, 0), fcc100)])
def test_a_slab_is_the_same_as_that_of_ase_build(generate, plane, build):
    n_planes = 4 if plane == (1, 1, 1) else 2
    (seed,) = generate(surface(COPPER, miller_indices=[plane], n_planes=n_planes, vacuum_A=12)).seeds
    reference = build('Cu', (1, 1, 4), a=3.61, vacuum=6)
    area = np.linalg.norm(np.cross(*seed.atoms.cell.array[:2])) / len(seed.atoms)
    assert area == pytest.approx(np.linalg.norm(np.cross(*reference.cell.array[:2])) / len(reference))
    assert np.ptp(seed.atoms.positions[:, 2]) == pytest.approx(np.ptp(reference.positions[:, 2]))
    assert seed.atoms.cell.cellpar() == pytest.approx(reference.cell.cellpar())
    # A surface atom has nine (111) or eight (100) neighbours.
    big = seed.atoms.repeat((4, 4, 1))
    distances = big.get_all_distances(mic=True)[int(np.argmax(big.positions[:, 2]))]
    assert np.sum((distances > 0.1) & (distances < 2.7)) == (9 if plane == (1, 1, 1) else 8)


def test_the_vacuum_has_the_required_thickness(generate):
    for seed in generate(surface(COPPER, vacuum_A=12.0)).seeds:
        assert seed.atoms.cell[2, 2] - np.ptp(seed.atoms.positions[:, 2]) == pytest.approx(12.0)
        assert seed.atoms.pbc.all()


def test_polar_terminations_are_discarded_unless_allowed(generate):
    assert set(by_plane(generate(surface(MGO)).seeds)) == {(1, 0, 0), (1, 1, 0)}
    with refused(Code.SURFACES_POLAR, '1 1 1', 'polar: allow'):
        generate(surface(MGO, miller_indices=[[1, 1, 1]]))
    allowed = generate(surface(MGO, polar='allow')).seeds
    assert [seed.record['polar'] for seed in allowed] == [False, False, True]


def test_polarity_is_determined_before_rattling(generate):
    entry = surface(MGO, miller_indices=[[1, 0, 0]], perturb={'rattle_A': 0.1})
    (seed,) = generate(entry).seeds
    assert is_polar(seed.atoms)
    assert not seed.record['polar']


def test_all_terminations_are_made_and_their_stoichiometry_is_recorded(generate):
    entry = surface(SRTIO3, miller_indices=[[1, 0, 0]], polar='allow')
    (stoichiometric,) = generate(entry).seeds  # SrO on one face, TiO2 on the other
    assert stoichiometric.record['stoichiometric']
    assert not stoichiometric.record['symmetric']
    symmetric = generate({**entry, 'keep': 'symmetric'}).seeds
    faces = set()
    for seed in symmetric:
        assert seed.record['symmetric']
        assert not seed.record['stoichiometric']
        numbers = atomic_planes(seed.atoms)
        top = ''.join(sorted(set(seed.atoms.symbols[numbers == numbers.max()])))
        assert top == ''.join(sorted(set(seed.atoms.symbols[numbers == 0])))
        faces.add(top)
    assert faces == {'OSr', 'OTi'}


def test_fluorite_111_terminates_between_two_anion_layers(generate):
    (seed,) = generate(surface(CAF2, miller_indices=[[1, 1, 1]])).seeds
    numbers = atomic_planes(seed.atoms)
    assert set(seed.atoms.symbols[numbers == 0]) == set(seed.atoms.symbols[numbers == numbers.max()]) == {'F'}
    assert seed.atoms.get_initial_charges().sum() == 0


def test_bottom_layers_are_fixed_and_not_perturbed(generate):
    entry = surface(COPPER, miller_indices=[[1, 1, 1]], fixed_layers=2, perturb={'rattle_A': 0.05})
    (seed,) = generate(entry, cutoff_A=3.0).seeds
    fixed = seed.arrays()['fixed']
    assert fixed.sum() == seed.record['n_fixed'] == 2 * len(seed.atoms) // 5
    assert seed.atoms.positions[fixed, 2].max() < seed.atoms.positions[~fixed, 2].min()
    assert np.ptp(seed.atoms.positions[fixed][:, 2].round(6)) < 2.2


def test_fixing_all_layers_is_refused(generate):
    with refused(Code.OUT_OF_RANGE, 'fixed_layers: 5', '4'):
        generate(surface(COPPER, miller_indices=[[1, 1, 1]], fixed_layers=5))


def test_the_slab_of_a_solid_solution_is_filled_after_repetition(generate):
    alloy = {'kind': 'alloy', 'composition': {'Cu': 0.75, 'Au': 0.25}}
    seeds = generate(surface(alloy, miller_indices=[[1, 1, 1]], n_seeds=3), cutoff_A=5.0).seeds
    for seed in seeds:
        assert seed.atoms.cell.lengths()[:2] == pytest.approx(seed.atoms.cell.lengths()[0])
        assert min(seed.atoms.cell.lengths()) > 10
        assert np.mean(seed.atoms.symbols == 'Cu') == pytest.approx(0.75, abs=0.02)
    assert len({seed.seed_id for seed in seeds}) == 3


def test_strain_does_not_change_the_vacuum(generate):
    (seed,) = generate(surface(COPPER, miller_indices=[[1, 0, 0]], perturb={'anisotropic_strain': 0.1})).seeds
    assert seed.atoms.cell[2, 2] - np.ptp(seed.atoms.positions[:, 2]) == pytest.approx(15.0)


def test_the_plane_000_is_refused():
    with refused(Code.VALUE_INVALID, 'miller_indices.0', '0 0 0'):
        SurfaceSettings(of=COPPER, miller_indices=[[0, 0, 0]])


def test_a_surface_of_a_molecule_is_refused(generate, tmp_path):
    from ase.build import molecule

    molecule('CH4').write(tmp_path / 'methane.xyz')
    with refused(Code.HOST_UNSUITABLE, 'CH4'):
        generate(surface({'kind': 'structures', 'files': [str(tmp_path / 'methane.xyz')]}))


def test_a_surface_of_a_structure_with_vacuum_is_refused(generate):
    sheet = {'kind': 'covalent', 'structure': 'graphene', 'sites': {'A': 'C'}}
    for of, formula in ((sheet, 'C2'), (surface(COPPER, miller_indices=[[1, 0, 0]]), 'Cu6')):
        with refused(Code.HOST_UNSUITABLE, formula):
            generate(surface(of))


def test_layers_of_a_high_index_plane_are_separate(generate):
    (seed,) = generate(surface(COPPER, miller_indices=[[4, 4, 3]], thickness_A=5, fixed_layers=2)).seeds
    numbers, heights = atomic_planes(seed.atoms), seed.atoms.positions[:, 2]
    assert all(np.ptp(heights[numbers == number]) < 0.3 for number in range(numbers.max() + 1))
    assert 0 < seed.record['n_fixed'] < len(seed.atoms) / 2


def test_a_surface_of_random_crystals_is_refused(generate):
    vacancy = {'kind': 'defect', 'of': COPPER, 'vacancies': {'Cu': 1}}
    with refused(Code.HOST_UNSUITABLE, 'surface', "'defect'"):
        generate(surface(vacancy))


@pytest.mark.parametrize(
    ('of', 'plane', 'keep', 'required', 'found'),
    [
        (COPPER, (1, 0, 0), 'stoichiometric', 3, 3),
        (MGO, (1, 0, 0), 'stoichiometric', 3, 3),
        (SRTIO3, (1, 0, 0), 'stoichiometric', 5, 6),
        (SRTIO3, (1, 0, 0), 'symmetric', 4, 5),
        (CAF2, (1, 1, 1), 'symmetric', 4, 12),
    ],
)
def test_a_slab_is_the_thinnest_with_the_required_layers(generate, of, plane, keep, required, found):
    entry = surface(of, miller_indices=[plane], keep=keep, n_layers=required, vacuum_A=11)
    for seed in generate(entry).seeds:
        assert atomic_planes(seed.atoms).max() + 1 == found
        assert seed.record['symmetric'] == (keep == 'symmetric' or of != SRTIO3)
        assert seed.atoms.cell[2, 2] - np.ptp(seed.atoms.positions[:, 2]) == pytest.approx(11)


# The thickness in Å of layers as the literature counts them: rutile (110) has O–Ti2O2–O layers, MgO (111) Mg–O and
# ceria (111) O–Ce–O layers. A plane of MgO (100) or SrTiO3 (100) is a layer.
TIO2 = {'kind': 'ionic', 'prototype': 'rutile', 'sites': {'A': 'Ti', 'X': 'O'}, 'a_A': 4.594}
CEO2 = {'kind': 'ionic', 'prototype': 'fluorite', 'sites': {'A': 'Ce', 'X': 'O'}, 'a_A': 5.411}


@pytest.mark.parametrize(
    ('of', 'plane', 'n_layers', 'n_planes', 'thickness'),
    [
        (TIO2, (1, 1, 0), 3, 9, 2 * 3.248 + 2.54),
        (CEO2, (1, 1, 1), 3, 9, 2 * 3.124 + 1.56),
        ({**MGO, 'a_A': 4.21}, (1, 0, 0), 3, 3, 2 * 2.105),
    ],
)
def test_layers_are_those_of_the_literature(generate, of, plane, n_layers, n_planes, thickness):
    entry = surface(of, miller_indices=[plane], n_layers=n_layers, fixed_layers=1)
    seed = generate(entry).seeds[0]
    numbers = atomic_planes(seed.atoms)
    assert numbers.max() + 1 == n_planes
    assert np.ptp(seed.atoms.positions[:, 2]) == pytest.approx(thickness, abs=0.15)
    fixed = seed.arrays()['fixed']
    assert fixed.sum() == len(seed.atoms) // n_layers
    assert numbers[fixed].max() == n_planes // n_layers - 1


def test_a_slab_is_repeated_in_its_plane_before_a_defect_is_made_on_it(generate):
    slab = surface(COPPER, miller_indices=[[1, 1, 1]], n_layers=4)
    (one,) = generate(slab).seeds
    entry = {'kind': 'defect', 'of': {**slab, 'supercell': [3, 2]}, 'vacancies': {'Cu': 1}, 'n_seeds': 2}
    for seed in generate(entry).seeds:
        assert len(seed.atoms) == 6 * len(one.atoms) - 1
        assert np.allclose(seed.atoms.cell.array, one.atoms.cell.array * [[3], [2], [1]])
    alloy = {'kind': 'alloy', 'composition': {'Cu': 0.5, 'Au': 0.5}}
    (mixed,) = generate(surface(alloy, miller_indices=[[1, 1, 1]], n_layers=4, supercell=[2, 2], n_seeds=1)).seeds
    assert mixed.atoms.get_chemical_formula() == 'Au8Cu8'


def test_each_of_two_different_faces_is_free_once_if_layers_are_fixed(generate):
    entry = surface(SRTIO3, miller_indices=[[1, 0, 0]], n_layers=6, fixed_layers=2)
    free = set()
    for seed in generate(entry).seeds:
        numbers = atomic_planes(seed.atoms)
        assert set(np.flatnonzero(seed.arrays()['fixed'])) == set(np.flatnonzero(numbers < 2))
        free.add(''.join(sorted(set(seed.atoms.symbols[numbers == numbers.max()]))))
    assert free == {'OSr', 'OTi'}
    slab = fcc100('Cu', (1, 2, 3), vacuum=5)
    slab.numbers[0] = 79
    twice = upside_down(upside_down(slab))
    assert np.allclose(twice.positions, slab.positions)
    assert np.allclose(twice.cell, slab.cell)
    assert np.linalg.det(upside_down(slab).cell.array) > 0
    assert np.allclose(
        np.sort(upside_down(slab).get_all_distances(mic=True)), np.sort(slab.get_all_distances(mic=True))
    )


def test_slabs_of_mixed_ionic_crystals_are_neutral_and_not_polar(generate):
    magnesia = {'kind': 'ionic', 'prototype': 'rocksalt', 'sites': {'A': {'Mg': 0.5, 'Ni': 0.5}, 'X': 'O'}}
    assert set(by_plane(generate(surface(magnesia)).seeds)) == {(1, 0, 0), (1, 1, 0)}
    zirconia = {'kind': 'ionic', 'prototype': 'fluorite', 'sites': {'A': {'Zr': 0.875, 'Y': 0.125}, 'X': 'O'}}
    seeds = generate(surface(zirconia, miller_indices=[[1, 1, 1]], n_seeds=2)).seeds
    for seed in seeds:
        counts = seed.atoms.symbols.formula.count()
        assert counts['Y'] / (counts['Y'] + counts['Zr']) == pytest.approx(0.125)
        # Two Y3+ on Zr4+ sites need one O2- vacancy.
        assert 2 * (counts['Zr'] + counts['Y']) - counts['O'] == seed.record['of']['vacancies']['O'] == counts['Y'] / 2
        assert seed.atoms.get_initial_charges().sum() == 0
        assert not seed.record['polar']
    assert len({seed.seed_id for seed in seeds}) == 2


def test_a_slab_is_repeated_in_its_plane_until_it_can_have_the_composition(generate):
    silicon = {'kind': 'covalent', 'structure': 'diamond', 'sites': {'A': {'Si': 0.9, 'Ge': 0.1}}}
    for seed in generate(surface(silicon, miller_indices=[[1, 0, 0]], n_seeds=2)).seeds:
        assert np.mean(seed.atoms.symbols == 'Ge') == pytest.approx(0.1, abs=0.02)


@pytest.mark.integration  # icet is slow
def test_the_slab_of_a_quasi_random_alloy_is_less_ordered_than_random_slabs(generate):
    alloy = {'kind': 'alloy', 'composition': {'Cu': 0.5, 'Au': 0.5}, 'sqs': {'n_steps': 800, 'triplet_cutoff': 0}}
    entry = surface({**alloy, 'arrangement': 'sqs'}, miller_indices=[[1, 1, 1]], n_layers=2, n_seeds=1)
    (quasi,) = generate(entry, cutoff_A=4.0).seeds
    random = generate(surface(alloy, miller_indices=[[1, 1, 1]], n_layers=2, n_seeds=5), cutoff_A=4.0).seeds
    orders = [first_shell_order(seed.atoms) for seed in random]
    assert abs(first_shell_order(quasi.atoms)) < np.mean(np.abs(orders))
    assert quasi.record['of']['arrangement'] == 'sqs'


def first_shell_order(atoms) -> float:
    """Return the Warren–Cowley parameter of unlike nearest neighbours in an equiatomic alloy."""
    first, second = neighbour_list(
        'ij', positions=atoms.positions, cell=atoms.cell.array, pbc=atoms.pbc, cutoff=0.85 * 3.84
    )
    return 1 - float(np.mean(atoms.numbers[first] != atoms.numbers[second])) / 0.5


def test_the_record_of_a_charged_slab_is_json(generate):
    entry = surface(MGO, miller_indices=[[1, 1, 1]], keep='symmetric', polar='allow')
    for seed in generate(entry).seeds:
        assert json.loads(json.dumps(seed.record))['polar'] is True


def test_a_slab_that_is_too_narrow_for_the_calculator_is_refused(generate):
    entry = surface(COPPER, miller_indices=[[1, 1, 1]], validation={'max_atoms': 20})
    with refused(Code.STRUCTURE_INVALID, 'Cu5', '2.21 Å', '10.00 Å'):
        generate(entry, cutoff_A=5.0)
