import numpy as np
import pytest
from ase.build import bulk, fcc111, molecule
from ase.neighborlist import neighbor_list

from aiida_mlip_autopipe.descriptors.soap.atomic_images import find_images

CUTOFF_A = 5.3


def neighbours_of(atoms, species):
    """Return the elements and distances of the neighbours of each atom, without the atom itself."""
    images = find_images(atoms, species, CUTOFF_A)
    found = images.find_neighbours(slice(None), CUTOFF_A)
    taken = found.taken == 1
    centres, places = found.centres[taken], found.images[taken]
    elements = np.asarray(species)[np.searchsorted(images.bounds, places, side='right') - 1]
    distances = np.linalg.norm(images.positions[:, places].T - images.centres[centres], axis=1)
    rows = [np.sort(1000 * elements[centres == i] + distances[centres == i]) for i in range(len(atoms))]
    # Each atom is a neighbour of itself exactly once.
    assert all((row % 1000 < 1e-9).sum() == 1 for row in rows)
    return [row[row % 1000 > 1e-9] for row in rows]


def expected_of(atoms):
    i, j, distances = neighbor_list('ijd', atoms, CUTOFF_A)
    return [np.sort(1000 * atoms.numbers[j[i == centre]] + distances[i == centre]) for centre in range(len(atoms))]


def _crystal():
    crystal = bulk('Cu', cubic=True) * (2, 1, 1)
    crystal.numbers[1::2] = 79
    crystal.rattle(0.2, seed=3)
    return crystal


def _outside():
    outside = _crystal()
    outside.positions += np.random.default_rng(0).integers(-2, 3, (8, 3)) @ outside.cell.array
    return outside


def _sheared():
    sheared = _crystal()
    sheared.set_cell([[7.2, 0.3, 0.0], [5.0, 3.4, 0.0], [-2.5, 2.9, 3.1]], scale_atoms=True)
    return sheared


def _rotated():
    rotated = fcc111('Cu', (2, 1, 3), vacuum=4.0)
    rotated.rotate(40, (1, 2, 3), rotate_cell=True)
    return rotated


@pytest.mark.parametrize(
    'atoms',
    [_crystal(), _outside(), _sheared(), bulk('Cu'), fcc111('Cu', (1, 1, 2)), _rotated(), molecule('C60')],
    ids=['crystal', 'atoms outside the cell', 'sheared', 'primitive', 'slab without vacuum', 'rotated', 'molecule'],
)
def test_neighbours_agree_with_a_neighbour_list(atoms):
    species = sorted(set(atoms.numbers.tolist()) | {8, 79})
    for found, expected in zip(neighbours_of(atoms, species), expected_of(atoms), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-9)


def test_a_direction_without_a_cell_vector_is_not_periodic():
    water = molecule('H2O', pbc=True)
    found = neighbours_of(water, [1, 8])
    assert [len(row) for row in found] == [2, 2, 2]


def test_the_neighbours_in_a_molecule_far_from_the_origin_are_correct():
    far = molecule('CH3CH2OH')
    near = neighbours_of(far, [1, 6, 8])
    far.positions += [3e5, -2e5, 1e5]
    for found, expected in zip(neighbours_of(far, [1, 6, 8]), near, strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-9)


def test_an_unsupported_element_is_refused():
    with pytest.raises(ValueError, match=r'\bH\b'):
        find_images(molecule('H2O'), [8, 29], CUTOFF_A)
