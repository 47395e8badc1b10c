from __future__ import annotations

import numpy as np
import pytest
import spglib
from ase.build import bulk, fcc111
from ase.geometry import get_distances
from ase.spacegroup import crystal
from scipy.spatial.transform import Rotation

from aiida_mlip_autopipe.structures.voids import find_voids


# Octahedral and tetrahedral sites of common lattices in a cubic cell: their number and one of them.
@pytest.mark.parametrize(
    ('atoms', 'fraction', 'count', 'first'),
    [
        (bulk('Cu', cubic=True), 0.95, 4, [0.5, 0.5, 0.5]),
        (bulk('Cu', cubic=True), 0.85, 12, [0.5, 0.5, 0.5]),
        (bulk('Fe', cubic=True), 0.95, 12, [0.5, 0.25, 0.0]),
        (bulk('NaCl', 'rocksalt', a=5.64, cubic=True), 0.95, 8, [0.25, 0.25, 0.25]),
    ],
)
def test_voids_are_the_interstitial_sites_of_the_lattice(atoms, fraction, count, first):
    voids = find_voids(atoms, fraction)
    assert len(voids) == count
    fractions = voids @ np.linalg.inv(atoms.cell.array) - first
    assert np.abs(fractions - np.round(fractions)).max(axis=1).min() < 1e-6


def test_voids_are_local_maxima_of_the_distance_to_all_atoms_and_have_the_symmetry_of_the_crystal():
    positions, cell = [(0.4697, 0, 2 / 3), (0.4133, 0.2672, 0.7855)], [4.916, 4.916, 5.405, 90, 90, 120]
    quartz = crystal(['Si', 'O'], positions, spacegroup=154, cellpar=cell)
    voids = find_voids(quartz)
    around = Rotation.random(60, rng=1).apply([0, 0, 0.05])
    for void in voids:
        radii = get_distances(np.vstack([void, void + around]), quartz.positions, quartz.cell, True)[1].min(axis=1)
        assert (radii[1:] < radii[0]).all()
    found = spglib.get_symmetry((quartz.cell.array, quartz.get_scaled_positions(), quartz.numbers))
    fractions = voids @ np.linalg.inv(quartz.cell.array)
    for rotation, shift in zip(found['rotations'], found['translations'], strict=True):
        images = (fractions @ rotation.T + shift) @ quartz.cell.array
        assert get_distances(images, voids, quartz.cell, True)[1].min(axis=1).max() < 1e-3
    assert len(voids) == 9  # three on a twofold axis, six elsewhere


def test_vacuum_is_not_a_void():
    slab = fcc111('Cu', (2, 2, 4), vacuum=10.0)
    for pbc in (True, (True, True, False)):
        slab.pbc = pbc
        voids = find_voids(slab)
        assert len(voids)
        assert slab.positions[:, 2].min() - 2 < voids[:, 2].min()
        assert voids[:, 2].max() < slab.positions[:, 2].max() + 2
