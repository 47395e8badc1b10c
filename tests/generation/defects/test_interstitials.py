from __future__ import annotations

import numpy as np
import pytest
import spglib
from ase.build import bulk
from ase.geometry import get_distances

from aiida_mlip_autopipe.generation.defects.dumbbells import dumbbell_axes, dumbbell_length
from aiida_mlip_autopipe.generation.defects.interstitials import find_interstitial_sites
from aiida_mlip_autopipe.structures.voids import find_voids


def site_symmetry_order(atoms, point) -> int:
    """Return the number of rotations that leave a point fixed, up to lattice vectors of the cell."""
    found = spglib.get_symmetry((atoms.cell.array, atoms.get_scaled_positions(), atoms.numbers))
    fraction = np.linalg.solve(atoms.cell.array.T, point)
    moved = found['rotations'] @ fraction + found['translations'] - fraction
    return int((np.abs(moved - np.round(moved)).max(axis=1) < 1e-6).sum())


def test_the_octahedral_sites_of_bcc_are_at_edges_and_faces_and_have_their_site_symmetry():
    iron = bulk('Fe', cubic=True)
    sites, voids = find_interstitial_sites(iron), find_voids(iron)
    assert np.array_equal(sites[: len(voids)], voids)
    octahedra = sites[len(voids) :]
    # Wyckoff position 6b of Im-3m, with the site symmetry 4/mmm of order 16: 3 midpoints of edges, 3 of faces.
    halves = np.round(2 * octahedra / iron.cell.lengths(), 6)
    assert sorted(map(tuple, halves.tolist())) == [
        (0, 0, 1), (0, 1, 0), (0, 1, 1), (1, 0, 0), (1, 0, 1), (1, 1, 0)
    ]  # fmt: skip
    assert {site_symmetry_order(iron, site) for site in octahedra} == {16}
    assert {site_symmetry_order(iron, site) for site in voids} == {8}  # 12d, -4m2
    distances = np.sort(
        get_distances(octahedra, (iron * (1, 1, 1)).repeat(3).positions - iron.cell.array.sum(axis=0))[1]
    )
    a_A = iron.cell[0, 0]
    assert np.allclose(distances[:, :6], [a_A / 2] * 2 + [a_A / 2**0.5] * 4)


@pytest.mark.parametrize(
    ('atoms', 'n_octahedra'),
    [
        (bulk('Fe', cubic=True) * (2, 2, 2), 48),
        (bulk('CsCl', 'cesiumchloride', a=4.12), 6),
        # The octahedra of these lattices are voids, or the lattice has no octahedra.
        (bulk('Cu', cubic=True), 0),
        (bulk('Ti'), 0),
        (bulk('Si', cubic=True), 0),
        (bulk('Po', 'sc', a=3.34), 0),
        (bulk('NaCl', 'rocksalt', a=5.64, cubic=True), 0),
    ],
)
def test_octahedra_are_added_only_where_they_are_not_voids(atoms, n_octahedra):
    assert len(find_interstitial_sites(atoms)) == len(find_voids(atoms)) + n_octahedra


@pytest.mark.parametrize(
    ('crystal', 'families', 'numbers'),
    [
        (bulk('Cu'), {(1, 0, 0)}, [3]),
        (bulk('Fe'), {(1, 1, 0), (1, 1, 1)}, [6, 4]),
        (bulk('Ti'), {(0, 0, 1), (1, 0, 0)}, [1, 3]),
        (bulk('Si'), {(1, 1, 0)}, [6]),
    ],
)
def test_the_directions_are_those_of_the_conventional_cell_in_any_cell(crystal, families, numbers):
    rotated = crystal.repeat((2, 1, 3))
    rotated.rotate(25, (1, 2, 3), rotate_cell=True)
    for atoms in (crystal, rotated):
        axes = dumbbell_axes(atoms)
        assert {axis.family for axis in axes} == families
        assert [
            sum(axis.family == family for axis in axes) for family in dict.fromkeys(a.family for a in axes)
        ] == numbers
    # An atom is at each end of the shortest lattice vector along the direction.
    expected = {'Cu': {(1, 0, 0): 3.61}, 'Fe': {(1, 1, 0): 2.87 * 2**0.5, (1, 1, 1): 2.87 * 0.75**0.5},
                'Ti': {(0, 0, 1): 2.95 * 1.59, (1, 0, 0): 2.95}, 'Si': {(1, 1, 0): 5.43 / 2**0.5}}  # fmt: skip
    for axis in dumbbell_axes(rotated):
        end = rotated.positions[0] + axis.vector * expected[crystal.get_chemical_symbols()[0]][axis.family]
        assert get_distances(end, rotated.positions, rotated.cell, True)[1].min() < 0.02


def test_the_length_of_a_dumbbell_makes_the_shortest_relative_distance_as_long_as_possible():
    iron = bulk('Fe', cubic=True) * (2, 2, 2)
    for axis, pair in zip(dumbbell_axes(iron)[4:8], ('Fe-Fe', 'Fe-C', 'W-Fe', 'Fe-Fe'), strict=True):
        radii = {'Fe': 1.32, 'C': 0.76, 'W': 1.62}
        one, other = (radii[symbol] for symbol in pair.split('-'))

        def shortest(length, axis=axis, one=one, other=other):
            ends = iron.positions[0] + np.outer([length / 2, -length / 2], axis.vector)
            distances = get_distances(ends, iron.positions[1:], iron.cell, True)[1]
            ratios = distances / np.array([[one + 1.32], [other + 1.32]])
            return min(length / (one + other), ratios.min())

        lengths = np.linspace(1, 3, 201)
        best = lengths[np.argmax([shortest(length) for length in lengths])]
        assert dumbbell_length(iron, 0, axis.vector, pair) == pytest.approx(best, abs=0.011)
