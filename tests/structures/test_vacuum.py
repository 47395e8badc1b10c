"""The thickness of empty layers between the surfaces and between the centres of atoms."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import add_adsorbate, bulk, fcc111
from ase.data import covalent_radii

from aiida_mlip_autopipe.structures.vacuum import count_connected_directions, empty_layers


def between_surfaces(atoms: Atoms) -> np.ndarray:
    return empty_layers(atoms, covalent_radii[atoms.numbers])


@pytest.mark.parametrize('shift', np.linspace(0, 1, 7))
def test_the_gap_does_not_depend_on_the_origin_of_the_cell(shift):
    atoms = fcc111('Au', (2, 1, 3), vacuum=5.0)
    atoms.pbc = True
    radius = 1.36
    expected = 10.0 - 2 * radius
    atoms.positions += shift * atoms.cell[2]
    assert between_surfaces(atoms)[2] == pytest.approx(expected)
    atoms.wrap()
    assert between_surfaces(atoms)[2] == pytest.approx(expected)


def test_a_gap_is_measured_along_the_normal_of_a_skewed_cell():
    atoms = fcc111('Au', (1, 1, 2), vacuum=5.0)
    atoms.pbc = True
    before = between_surfaces(atoms)
    atoms.cell[2] += 3 * atoms.cell[0]
    assert between_surfaces(atoms)[2] == pytest.approx(before[2])


def test_a_molecule_on_the_surface_narrows_the_gap():
    slab = fcc111('Cu', (2, 2, 2), vacuum=6.0)
    slab.pbc = True
    before = between_surfaces(slab)[2]
    add_adsorbate(slab, 'O', 1.2, 'fcc')
    assert between_surfaces(slab)[2] < before


def test_a_layer_between_centres_is_thicker_by_two_radii():
    atoms = fcc111('Au', (2, 1, 3), vacuum=5.0)
    atoms.pbc = True
    assert empty_layers(atoms)[2] == pytest.approx(10.0)
    assert between_surfaces(atoms)[2] == pytest.approx(10.0 - 2 * covalent_radii[79])


# The matrices give other cell vectors of the same lattice.
@pytest.mark.parametrize('vectors', [np.eye(3), [[1, 0, 1], [0, 1, 1], [1, 1, 1]], [[1, 2, 0], [0, 1, 0], [0, 3, 1]]])
@pytest.mark.parametrize(('vacuum', 'expected'), [((), 3), ((2,), 2), ((1, 2), 1), ((0, 1, 2), 0)])
def test_atoms_are_connected_along_the_directions_without_vacuum(vectors, vacuum, expected):
    atoms = bulk('Cu', cubic=True) * (2, 1, 2)
    if vacuum:
        atoms.center(vacuum=6.0, axis=vacuum)
    atoms.pbc = True
    atoms.set_cell(np.array(vectors, dtype=float) @ atoms.cell.array)
    atoms.wrap()
    radii = covalent_radii[atoms.numbers]
    assert count_connected_directions(atoms, radii, gap_A=6.0) == expected
    assert count_connected_directions(atoms, radii, gap_A=12.0) == 3


def test_a_helix_of_separate_strands_is_connected_along_its_axis_only():
    # Two chains, each of which closes only after two cells.
    atoms = Atoms('Cu2', [[0, 0, 0], [10, 0, 2.5]], cell=[[20, 0, 0], [0, 20, 0], [10, 0, 2.5]], pbc=True)
    radii = covalent_radii[atoms.numbers]
    assert count_connected_directions(atoms, radii, gap_A=6.0) == 1
