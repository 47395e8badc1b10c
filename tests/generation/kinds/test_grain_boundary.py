from __future__ import annotations

from itertools import permutations, product

import numpy as np
import pytest
from ase.build import bulk
from matscipy.neighbours import neighbour_list
from support.errors import refused

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.generation.kinds.grain_boundary import GrainBoundarySettings
from aiida_mlip_autopipe.generation.surfaces.coincidence import rotations

COPPER = {'kind': 'alloy', 'composition': {'Cu': 1.0}}
A_CU = 3.61
TITANIUM = {'kind': 'alloy', 'composition': {'Ti': 1.0}, 'lattice': 'hcp'}
A_TI = 2.95


def grain_boundary(of: dict = COPPER, **fields) -> dict:
    return {'kind': 'grain_boundary', 'of': of, **fields}


def cube_axes(atoms, low: float, high: float) -> np.ndarray:
    """Return the <100> directions between two fractional heights of the cell, from second neighbours."""
    i, vectors, distances = neighbour_list(
        'iDd', positions=atoms.positions, cell=atoms.cell.array, pbc=atoms.pbc, cutoff=A_CU + 0.1
    )
    heights = atoms.get_scaled_positions()[:, 2]
    atom = int(np.argmin(np.abs(heights - (low + high) / 2)))
    found = vectors[(i == atom) & (np.abs(distances - A_CU) < 1e-3)] / A_CU
    assert len(found) == 6  # a perfect environment
    axes = [found[0]]
    axes += [next(v for v in found if abs(v @ axes[0]) < 1e-6)]
    return np.array([*axes, np.cross(*axes)])


def disorientation(atoms) -> float:
    """Return the smallest angle in degrees of a rotation between the cube axes of the two grains."""
    one, other = cube_axes(atoms, 0, 0.5), cube_axes(atoms, 0.5, 1)
    angles = []
    for order in permutations(range(3)):
        for signs in product((-1, 1), repeat=3):
            matrix = other[list(order)] * np.array(signs)[:, None]
            if np.linalg.det(matrix) > 0:
                angles.append(np.degrees(np.arccos(np.clip((np.trace(one.T @ matrix) - 1) / 2, -1, 1))))
    return float(min(angles))


def coincidence_index(atoms, split: float = 0.5) -> int:
    """Return the smallest number that makes the rotation matrix between the grains an integer matrix.

    H. Grimmer, Acta Cryst. A 32, 783 (1976).
    """
    rotation = cube_axes(atoms, 0, split) @ cube_axes(atoms, split, 1).T
    return next(n for n in range(1, 100) if np.abs(n * rotation - np.round(n * rotation)).max() < 1e-4)


# Σ and disorientation angles from H. Grimmer, W. Bollmann, D. H. Warrington, Acta Cryst. A 30, 197 (1974).
@pytest.mark.parametrize(
    ('axis', 'sigma', 'angle'),
    [
        ((0, 0, 1), 5, 36.87), ((0, 0, 1), 13, 22.62), ((1, 1, 1), 3, 60.0), ((1, 1, 1), 7, 38.21),
        ((1, 1, 0), 3, 60.0), ((1, 1, 0), 9, 38.94), ((1, 1, 0), 11, 50.48),
    ],
)  # fmt: skip
@pytest.mark.parametrize('character', ['tilt', 'twist'])
def test_the_disorientation_and_coincidence_of_cubic_grains_are_those_of_sigma(generate, axis, sigma, angle, character):
    entry = grain_boundary(axes=[axis], sigmas=[sigma], characters=[character], thickness_A=12,
                      validation={'max_atoms': 2000})  # fmt: skip
    result = generate(entry)
    assert result.seeds
    for seed in result.seeds:
        assert seed.record['sigma'] == sigma
        # The rotation of the twin about [110] is 70.53°, which is equivalent to 60° in a cubic crystal.
        assert seed.record['angle_deg'] == pytest.approx(70.53 if (axis, sigma) == ((1, 1, 0), 3) else angle, abs=0.01)
        assert disorientation(seed.atoms) == pytest.approx(angle, abs=0.01)
        assert coincidence_index(seed.atoms) == sigma


def test_the_axis_is_in_the_plane_of_a_tilt_boundary_and_normal_to_that_of_a_twist_boundary(generate):
    for seed in generate(grain_boundary(max_sigma=13)).seeds:
        product_ = np.dot(seed.record['plane'], seed.record['axis'])
        assert (product_ == 0) == (seed.record['character'] == 'tilt')
    tilts = generate(grain_boundary(sigmas=[5], characters=['tilt'])).seeds
    assert sorted(tuple(sorted(np.abs(seed.record['plane']))) for seed in tilts) == [(0, 1, 2), (0, 1, 3)]


def test_asymmetric_tilt_boundaries_follow_the_symmetric_ones(generate):
    entry = grain_boundary(sigmas=[5], characters=['tilt'], n_tilt_planes=4, merge_factor=0.0, thickness_A=8,
                      validation={'min_distance_factor': 0, 'max_atoms': 2000})  # fmt: skip
    seeds = generate(entry).seeds
    families = []
    for seed in seeds:
        atoms, planes = seed.atoms, [np.abs(seed.record[name]) for name in ('plane', 'other_plane')]
        families.append([sorted(plane.tolist()) for plane in planes])
        lengths = [np.ceil(8 / (A_CU * np.linalg.norm(plane))) * np.linalg.norm(plane) for plane in planes]
        split = lengths[0] / sum(lengths)
        assert coincidence_index(atoms, split) == 5
        # The normal of the boundary, z, is the normal of the plane of each grain.
        for plane, (low, high) in zip(planes, [(0, split), (split, 1)], strict=True):
            normal = np.sort(np.abs(cube_axes(atoms, low, high)[:, 2]))
            assert normal == pytest.approx(np.sort(plane) / np.linalg.norm(plane), abs=1e-4)
        assert atoms.get_volume() / len(atoms) == pytest.approx(A_CU**3 / 4)
    assert families[:2] == [[[0, 1, 2]] * 2, [[0, 1, 3]] * 2]
    assert sorted(families[2]) == [[0, 0, 1], [0, 3, 4]]
    assert all(one != other for one, other in families[2:])


# H. Grimmer, Acta Cryst. A 45, 505 (1989), for rotations about [001] of any hexagonal lattice.
@pytest.mark.parametrize(('sigma', 'angle'), [(7, 21.79), (13, 27.80), (19, 13.17)])
@pytest.mark.parametrize('character', ['tilt', 'twist'])
def test_the_rotation_and_coincidence_of_hexagonal_grains_are_those_of_sigma(generate, sigma, angle, character):
    entry = grain_boundary(TITANIUM, sigmas=[sigma], characters=[character], merge_factor=0.0, thickness_A=9,
                      validation={'min_distance_factor': 0, 'max_atoms': 2000})  # fmt: skip
    seeds = generate(entry).seeds
    assert len(seeds) == (2 if character == 'tilt' else 1)
    volume = bulk('Ti').get_volume() / 2
    for seed in seeds:
        one, other = basal_vectors(seed.atoms, 0, 0.5), basal_vectors(seed.atoms, 0.5, 1)
        axis = np.cross(one[0], one[1])
        axis /= np.linalg.norm(axis)
        assert np.abs(other @ axis).max() < 1e-6  # the c axes of both grains are parallel
        assert abs(axis[2]) == pytest.approx(1 if character == 'twist' else 0, abs=1e-6)
        rotated = np.degrees(np.arccos(np.clip(other @ one[0] / A_TI**2, -1, 1))).min()
        assert min(rotated, 60 - rotated) == pytest.approx(angle, abs=0.01)
        assert seed.atoms.get_volume() / len(seed.atoms) == pytest.approx(volume)
        # The length of the shortest vector that both lattices share is the square root of Σ.
        steps = np.array([[m, n] for m, n in product(range(-6, 7), repeat=2) if m or n])
        inverse = np.linalg.pinv(np.array([other[0], second_basal(other)]))
        vectors = steps @ np.array([one[0], second_basal(one)])
        shared = np.abs(vectors @ inverse - np.round(vectors @ inverse)).max(axis=1) < 1e-3
        assert (np.linalg.norm(vectors[shared], axis=1).min() / A_TI) ** 2 == pytest.approx(sigma, abs=0.01)


def basal_vectors(atoms, low: float, high: float) -> np.ndarray:
    """Return the six shortest vectors of the basal plane in the middle of a grain, of length a."""
    i, vectors, distances = neighbour_list(
        'iDd', positions=atoms.positions, cell=atoms.cell.array, pbc=atoms.pbc, cutoff=A_TI + 0.02
    )
    atom = int(np.argmin(np.abs(atoms.get_scaled_positions()[:, 2] - (low + high) / 2)))
    found = vectors[(i == atom) & (np.abs(distances - A_TI) < 2e-3)]
    assert len(found) == 6
    return found


def second_basal(vectors: np.ndarray) -> np.ndarray:
    """Return the basal vector at 60° to the first one."""
    return next(v for v in vectors if abs(v @ vectors[0] / A_TI**2 - 0.5) < 1e-3)


def test_the_known_sigmas_of_an_axis_are_found():
    assert [rotation.sigma for rotation in rotations((0, 0, 1), 29)] == [5, 13, 17, 25, 29]
    assert [rotation.sigma for rotation in rotations((1, 1, 1), 21)] == [3, 7, 13, 19, 21]
    assert [rotation.sigma for rotation in rotations((1, 1, 0), 19)] == [3, 9, 11, 17, 19]


def test_atoms_at_a_coherent_twin_boundary_have_twelve_neighbours(generate):
    seeds = generate(grain_boundary(axes=[(1, 1, 0)], sigmas=[3], characters=['tilt'])).seeds
    twin = next(seed for seed in seeds if sorted(np.abs(seed.record['plane'])) == [1, 1, 1])
    counts = np.bincount(
        neighbour_list('i', positions=twin.atoms.positions, cell=twin.atoms.cell.array, pbc=twin.atoms.pbc, cutoff=2.7)
    )
    assert (counts == 12).all()  # as in the perfect crystal
    assert twin.record['n_merged'] == 0
    assert twin.atoms.get_volume() / len(twin.atoms) == pytest.approx(A_CU**3 / 4)


def test_atoms_that_are_too_close_are_merged(generate):
    kept = generate(
        grain_boundary(sigmas=[5], characters=['tilt'], merge_factor=0.0, validation={'min_distance_factor': 0})
    ).seeds
    merged = generate(grain_boundary(sigmas=[5], characters=['tilt'])).seeds
    assert any(seed.record['n_merged'] for seed in merged)
    for before, after in zip(kept, merged, strict=True):
        assert len(before.atoms) - len(after.atoms) == after.record['n_merged']
        distances = neighbour_list(
            'd', positions=after.atoms.positions, cell=after.atoms.cell.array, pbc=after.atoms.pbc, cutoff=3.0
        )
        assert distances.min() >= 0.7 * A_CU / np.sqrt(2) - 1e-9


def test_each_seed_has_a_different_rigid_shift(generate):
    seeds = generate(grain_boundary(sigmas=[5], characters=['twist'], rigid_shift=True, n_seeds=3)).seeds
    assert len({tuple(seed.record['shift']) for seed in seeds}) == 3
    assert all(0 <= part < 1 for seed in seeds for part in seed.record['shift'])


def test_grain_boundaries_of_a_solid_solution_have_its_composition_and_those_of_a_salt_are_neutral(generate):
    alloy = {'kind': 'alloy', 'composition': {'Cu': 0.5, 'Ni': 0.5}}
    seeds = generate(grain_boundary(alloy, sigmas=[5], characters=['twist'], n_seeds=2)).seeds
    assert all(np.mean(seed.atoms.symbols == 'Cu') == pytest.approx(0.5, abs=0.02) for seed in seeds)
    salt = {'kind': 'ionic', 'prototype': 'rocksalt', 'sites': {'A': 'Mg', 'X': 'O'}}
    entry = grain_boundary(
        salt, sigmas=[5], characters=['tilt'], merge_factor=0.0, gap_A=1.0, validation={'like_charges': False}
    )
    for seed in generate(entry).seeds:
        assert seed.atoms.get_initial_charges().sum() == 0


def test_the_nearest_sigmas_are_suggested_for_one_that_does_not_exist(generate):
    with refused(Code.BOUNDARY_IMPOSSIBLE, 'Σ7', '0 0 1', '5, 13, 17'):
        generate(grain_boundary(sigmas=[7]))
    with refused(Code.BOUNDARY_IMPOSSIBLE, '0 0 1', ' 3', '5'):
        generate(grain_boundary(max_sigma=3))


def test_a_crystal_or_an_axis_without_coincidences_is_refused(generate):
    rutile = {'kind': 'ionic', 'prototype': 'rutile', 'sites': {'A': 'Ti', 'X': 'O'}}
    with refused(Code.HOST_UNSUITABLE, 'O4Ti2', 'tetragonal'):
        generate(grain_boundary(rutile))
    with refused(Code.BOUNDARY_IMPOSSIBLE, '0 0 1', '1 1 0'):
        generate(grain_boundary(TITANIUM, axes=[[1, 1, 0]]))
    with refused(Code.BOUNDARY_IMPOSSIBLE, '0 0 1', ' 5', '7'):
        generate(grain_boundary(TITANIUM))


@pytest.mark.parametrize(
    ('of', 'formula'),
    [
        ({'kind': 'covalent', 'structure': 'graphene', 'sites': {'A': 'C'}}, 'C2'),
        ({'kind': 'surface', 'of': COPPER, 'miller_indices': [[1, 0, 0]]}, 'Cu6'),
    ],
)
def test_a_boundary_of_a_structure_with_vacuum_is_refused(generate, of, formula):
    with refused(Code.HOST_UNSUITABLE, 'grain_boundary', formula):
        generate(grain_boundary(of, sigmas=[7 if 'structure' in of else 5], characters=['twist']))


def test_a_quasi_random_boundary_is_refused():
    with refused(Code.HOST_UNSUITABLE, 'arrangement: random'):
        GrainBoundarySettings(of={**COPPER, 'arrangement': 'sqs'})


def test_the_axis_000_is_refused():
    with refused(Code.VALUE_INVALID, 'axes.0', '0 0 0'):
        GrainBoundarySettings(of=COPPER, axes=[[0, 0, 0]])
