from __future__ import annotations

import time

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.neighborlist import neighbor_list
from scipy import stats

from aiida_mlip_autopipe.generation.particles.packing import Bodies, pack, rotate


def liquid(name: str, number: int, contact_A: float) -> Bodies:
    shape = molecule(name).positions
    return Bodies([shape] * number, [np.zeros(len(shape), dtype=int)] * number, np.array([[contact_A]]))


def packed(bodies: Bodies, lengths, seed: int = 0) -> tuple[Atoms, np.ndarray, float]:
    packing = pack(bodies, np.asarray(lengths, dtype=float), np.random.default_rng(seed))
    body = np.repeat(np.arange(len(bodies.shapes)), [len(shape) for shape in bodies.shapes])
    return Atoms(['X'] * len(body), packing.positions, cell=lengths, pbc=True), body, packing.scale


def closest(atoms: Atoms, body: np.ndarray) -> float:
    """Return the smallest distance between atoms of two bodies, or of a body and its images, by ASE."""
    first, second, distances, shifts = neighbor_list('ijdS', atoms, 4.0)
    return float(distances[(body[first] != body[second]) | shifts.any(axis=1)].min(initial=4.0))


@pytest.mark.parametrize(
    ('name', 'number', 'edge_A', 'contact_A'),
    [('H2O', 64, 12.42, 2.0), ('CH3CH2OH', 40, 15.71, 2.2), ('C6H6', 32, 16.8, 2.2)],
)
def test_molecules_at_the_density_of_their_liquid_keep_their_shape_and_their_distance(name, number, edge_A, contact_A):
    bodies = liquid(name, number, contact_A)
    atoms, body, scale = packed(bodies, [edge_A] * 3)
    assert scale == 1
    assert closest(atoms, body) >= contact_A
    expected = molecule(name).get_all_distances()
    for number_of_body in range(number):
        members = atoms.positions[body == number_of_body]
        found = np.linalg.norm(members[:, None] - members, axis=2)
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)
        assert (np.floor(members.mean(axis=0) / edge_A) == 0).all()


def test_the_contact_distance_depends_on_the_pair_of_species():
    contacts = np.array([[1.5, 2.5], [2.5, 3.5]])
    bodies = Bodies(np.zeros((60, 1, 3)), [np.array([index % 2]) for index in range(60)], contacts)
    atoms, _, scale = packed(bodies, [10.5, 11.5, 12.5])
    assert scale == 1
    first, second, distances = neighbor_list('ijd', atoms, 3.6)
    for pair in ((0, 0), (0, 1), (1, 1)):
        found = distances[(first % 2 == pair[0]) & (second % 2 == pair[1])]
        assert contacts[pair] <= found.min() < 1.2 * contacts[pair]


def test_a_body_does_not_touch_its_own_image():
    rod = np.stack([np.zeros(6), np.zeros(6), np.linspace(0, 7.5, 6)], axis=1)
    bodies = Bodies([rod], [np.zeros(6, dtype=int)], np.array([[2.0]]))
    for seed in range(40):
        atoms, body, scale = packed(bodies, [8.0, 8.0, 8.0], seed)
        assert scale == 1
        assert closest(atoms, body) >= 2.0


def test_an_impossible_density_is_detected_within_seconds():
    started = time.monotonic()
    _, _, scale = packed(Bodies(np.zeros((50, 1, 3)), [np.zeros(1, dtype=int)] * 50, np.array([[3.0]])), [8.0] * 3)
    assert time.monotonic() - started < 5
    # Random packings of equal spheres fill 64 % of space.
    assert 3.0 * scale == pytest.approx((0.64 * 8**3 / 50 * 6 / np.pi) ** (1 / 3), rel=0.02)


def test_positions_are_uniform_and_orientations_isotropic():
    centres, axes = [], []
    for seed in range(12):
        atoms, _, _ = packed(liquid('H2O', 40, 2.0), [10.6] * 3, seed)
        members = atoms.positions.reshape(40, 3, 3)
        centres.append(members.mean(axis=1) / 10.6)
        axes.append(members[:, 0] - members[:, 1:].mean(axis=1))
    places, directions = np.concatenate(centres), np.concatenate(axes)
    directions /= np.linalg.norm(directions, axis=1)[:, None]
    for axis in range(3):
        # The components of a random unit vector are uniform between -1 and 1 (Archimedes).
        assert stats.kstest(places[:, axis], 'uniform').pvalue > 0.01
        assert stats.kstest(directions[:, axis], stats.uniform(-1, 2).cdf).pvalue > 0.01
    # The mean of n unit vectors has the mean square 1/n, and their second moments are those of a sphere.
    assert np.linalg.norm(directions.mean(axis=0)) < 3 / np.sqrt(len(directions))
    np.testing.assert_allclose(directions.T @ directions / len(directions), np.eye(3) / 3, atol=0.06)
    spread = [np.histogramdd(fractions, bins=2, range=[(0, 1)] * 3)[0].std() for fractions in centres]
    # Packed molecules are spread more evenly than independent points, which have √5.
    assert np.mean(spread) < np.sqrt(5)


def test_the_same_random_numbers_give_the_same_packing():
    bodies = liquid('NH3', 30, 2.0)
    first, again, other = (packed(bodies, [11.0] * 3, seed)[0].positions for seed in (3, 3, 4))
    assert np.array_equal(first, again)
    assert not np.allclose(first, other)


def test_rotations_by_quaternions_are_those_of_scipy():
    from scipy.spatial.transform import Rotation

    rng = np.random.default_rng(0)
    turns, vectors = rng.normal(size=(20, 4)), rng.normal(size=(20, 3))
    turns /= np.linalg.norm(turns, axis=1)[:, None]
    expected = Rotation.from_quat(turns, scalar_first=True).apply(vectors)
    np.testing.assert_allclose(rotate(vectors, turns), expected, rtol=0, atol=1e-12)
