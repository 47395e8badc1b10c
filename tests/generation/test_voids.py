from __future__ import annotations

import numpy as np
import pytest
from ase.build import bulk, fcc111

from aiida_mlip_autopipe.generation.voids import find_voids


# Octahedral and tetrahedral sites of textbook lattices, in a cubic cell: number of each and a representative.
@pytest.mark.parametrize(
    ('atoms', 'share', 'count', 'first'),
    [
        (bulk('Cu', cubic=True), 0.95, 4, [0.5, 0.5, 0.5]),
        (bulk('Cu', cubic=True), 0.85, 12, [0.5, 0.5, 0.5]),
        (bulk('Fe', cubic=True), 0.95, 12, [0.5, 0.25, 0.0]),
        (bulk('NaCl', 'rocksalt', a=5.64, cubic=True), 0.95, 8, [0.25, 0.25, 0.25]),
    ],
)
def test_voids_are_the_interstitial_sites_of_the_lattice(atoms, share, count, first):
    voids = find_voids(atoms, share)
    assert len(voids) == count
    fractions = voids @ np.linalg.inv(atoms.cell.array) - first
    assert np.abs(fractions - np.round(fractions)).max(axis=1).min() < 1e-6


def test_vacuum_is_no_void():
    slab = fcc111('Cu', (2, 2, 4), vacuum=10.0)
    for pbc in (True, (True, True, False)):
        slab.pbc = pbc
        voids = find_voids(slab)
        assert len(voids)
        assert slab.positions[:, 2].min() - 2 < voids[:, 2].min()
        assert voids[:, 2].max() < slab.positions[:, 2].max() + 2
