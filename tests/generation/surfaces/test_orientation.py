from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, surface
from matscipy.neighbours import neighbour_list

from aiida_mlip_autopipe.generation.surfaces.orientation import slab_directions, smallest_integers

A_GAAS = 5.653
GAAS = bulk('GaAs', 'zincblende', a=A_GAAS, cubic=True)


def turned(slab: Atoms, n_quarters: int) -> Atoms:
    """Return the same slab with its cell vectors in the plane exchanged n times, and the first of them along x."""
    found = slab.copy()
    for _ in range(n_quarters):
        first, second, third = found.cell.array
        found.set_cell([second, -first, third])
        found.rotate(-90, 'z', rotate_cell=True)
    found.wrap(pbc=(True, True, False))
    return found


@pytest.mark.parametrize('plane', [(1, 0, 0), (1, 1, 0), (1, 1, 1)])
@pytest.mark.parametrize('n_quarters', [0, 1])
def test_bonds_from_gallium_to_arsenic_have_the_directions_of_the_crystal(plane, n_quarters):
    slab = surface(GAAS, plane, 3, vacuum=5)
    slab.pbc = True
    slab = turned(slab, n_quarters) if plane == (1, 0, 0) else slab
    directions = slab_directions(slab, GAAS, plane)
    assert np.abs(directions @ plane).max() < 1e-9
    vectors = directions @ GAAS.cell.array
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(slab.cell.lengths()[:2])
    normal = np.cross(*vectors)
    axes = np.array([*vectors, normal / np.linalg.norm(normal)])
    rotation = np.linalg.inv(np.array([*slab.cell.array[:2], [0, 0, 1]])) @ axes
    i, bonds = neighbour_list('iD', positions=slab.positions, cell=slab.cell.array, pbc=slab.pbc, cutoff=2.6)
    found = {tuple(np.rint(4 * bond @ rotation / A_GAAS).astype(int)) for bond in bonds[slab.symbols[i] == 'Ga']}
    # An arsenic atom is at (1/4, 1/4, 1/4) from gallium, not at (-1/4, -1/4, -1/4).
    assert found == {(1, 1, 1), (1, -1, -1), (-1, 1, -1), (-1, -1, 1)}


def test_a_mirrored_slab_of_a_chiral_crystal_has_no_directions():
    # A helix of four atoms along z, with four different elements.
    helix = Atoms('HLiBeB', [[1, 0, 0], [0, 1, 1], [-1, 0, 2], [0, -1, 3]], cell=[5, 6, 4], pbc=True)
    helix.wrap()
    slab = helix.copy()
    assert slab_directions(slab, helix, (0, 0, 1)) == pytest.approx(np.eye(2, 3))
    slab.positions[:, 0] *= -1
    assert slab_directions(slab, helix, (0, 0, 1)) is None


@pytest.mark.parametrize(
    ('direction', 'integers'),
    [((0.5, 0.5, 0), [1, 1, 0]), ((-1, 0, 2), [-1, 0, 2]), ((1 / 3, 2 / 3, -2 / 3), [1, 2, -2])],
)
def test_a_direction_is_written_in_the_smallest_integers(direction, integers):
    assert smallest_integers(np.array(direction)) == integers
