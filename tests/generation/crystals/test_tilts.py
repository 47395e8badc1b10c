from __future__ import annotations

import numpy as np
import pytest
import spglib
from ase.neighborlist import neighbor_list
from support.errors import refused

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.generation.crystals.tilts import TILT_SYSTEMS, tilted_cell

TILTED = [name for name in TILT_SYSTEMS if name != 'a0a0a0']


def perovskite(tilts: str, fields: dict | None = None, a: str = 'Ca') -> dict:
    sites = {'A': a, 'B': 'Ti', 'X': 'O'}
    return {'kind': 'ionic', 'prototype': 'perovskite', 'sites': sites, 'tilts': tilts, **(fields or {})}


def octahedra(atoms) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return the position (3,) and the vectors to the anions (6, 3) of each octahedron."""
    i, j, vectors = neighbor_list('ijD', atoms, 2.4)
    titanium = (atoms.symbols[i] == 'Ti') & (atoms.symbols[j] == 'O')
    centres = np.flatnonzero(atoms.symbols == 'Ti')
    return [(atoms.positions[centre], vectors[titanium & (i == centre)]) for centre in centres]


def bridge_angles(atoms) -> np.ndarray:
    """Return the Ti–O–Ti angles in degrees, one for each O."""
    i, j, vectors = neighbor_list('ijD', atoms, 2.4)
    angles = []
    for oxygen in np.flatnonzero(atoms.symbols == 'O'):
        one, other = vectors[(i == oxygen) & (atoms.symbols[j] == 'Ti')]
        angles.append(np.degrees(np.arccos(one @ other / np.linalg.norm(one) / np.linalg.norm(other))))
    return np.array(angles)


@pytest.mark.parametrize('tilts', TILTED)
@pytest.mark.parametrize('tilt_deg', [4.0, 12.0])
def test_a_tilted_perovskite_has_the_space_group_of_its_system_and_regular_octahedra(generate, tilts, tilt_deg):
    (seed,) = generate(perovskite(tilts, {'tilt_deg': tilt_deg}, a='Sr')).seeds
    cell = (seed.atoms.cell.array, seed.atoms.get_scaled_positions(), seed.atoms.numbers)
    assert spglib.get_symmetry_dataset(cell, 1e-4).number == TILT_SYSTEMS[tilts].spacegroup
    assert seed.record['tilts'] == tilts
    assert seed.record['tilt_deg'] == tilt_deg
    for _, vectors in octahedra(seed.atoms):
        lengths = np.linalg.norm(vectors, axis=1)
        assert len(lengths) == 6
        assert np.ptp(lengths) < 1e-6
        cosines = vectors @ vectors.T / lengths[0] ** 2
        assert np.allclose(np.sort(np.round(cosines, 6), axis=1), [-1, 0, 0, 0, 0, 1], atol=1e-6)


# The B–O–B angle as a function of the rotation of an octahedron, from plane geometry: 180° - 2φ for a rotation φ about
# an axis normal to the bond, and, for a rotation ω about [111], cos(180° - angle) = (1 + 2 cos 2ω) / 3.
@pytest.mark.parametrize('tilt_deg', [3.0, 10.0])
def test_the_bridge_angle_follows_from_the_tilt(generate, tilt_deg):
    for tilts in ('a0a0c+', 'a0a0c-'):
        angles = bridge_angles(generate(perovskite(tilts, {'tilt_deg': tilt_deg}, a='Sr')).seeds[0].atoms)
        assert sorted(set(np.round(angles, 3))) == pytest.approx([180 - 2 * tilt_deg, 180], abs=2e-3)
    angles = bridge_angles(generate(perovskite('a-a-a-', {'tilt_deg': tilt_deg}, a='Sr')).seeds[0].atoms)
    about_111 = np.radians(tilt_deg * np.sqrt(3))
    assert 180 - angles == pytest.approx(np.degrees(np.arccos((1 + 2 * np.cos(2 * about_111)) / 3)), abs=1e-4)


@pytest.mark.parametrize(('tilts', 'sign'), [('a0a0c+', 1), ('a0a0c-', -1)])
def test_octahedra_along_the_axis_turn_in_phase_or_out_of_phase(generate, tilts, sign):
    atoms = generate(perovskite(tilts, {'tilt_deg': 8.0}, a='Sr')).seeds[0].atoms.repeat((1, 1, 2))
    # The turn about c of the Ti–O bonds that are normal to it, from the Ti–Ti direction at 45° to a.
    turns = {}
    for centre, vectors in octahedra(atoms):
        flat = vectors[np.abs(vectors[:, 2]) < 0.5]
        angle = (np.degrees(np.arctan2(flat[:, 1], flat[:, 0])) + 45) % 90 - 45
        turns[tuple(np.round(centre / atoms.cell.lengths() % 1 % 1, 3))] = round(float(np.mean((angle % 90) - 45)), 3)
    levels = sorted({place[2] for place in turns})
    for x, y, z in turns:
        above = turns[x, y, levels[(levels.index(z) + 1) % len(levels)]]
        assert above == pytest.approx(sign * turns[x, y, z], abs=1e-3)
        assert abs(turns[x, y, z]) == pytest.approx(8.0, abs=1e-3)
        # Neighbours normal to the axis always turn in opposite senses.
    assert sum(turn > 0 for turn in turns.values()) == len(turns) / 2


def test_the_default_of_calcium_titanate_agrees_with_its_crystal_structure(generate):
    (seed,) = generate(perovskite('a-b+a-', {'a_A': 5.4423})).seeds
    _, b, c = seed.atoms.cell.lengths()
    assert (b, c) == pytest.approx((7.640, 5.380), rel=0.012)
    assert bridge_angles(seed.atoms) == pytest.approx(156, abs=1.5)  # 155.7° and 156.6° in the crystal
    i, j, d = neighbor_list('ijd', seed.atoms, 3.4)
    eight = np.sort(d[(i == np.flatnonzero(seed.atoms.symbols == 'Ca')[0]) & (seed.atoms.symbols[j] == 'O')])[:8]
    crystal = [2.359, 2.381, 2.381, 2.470, 2.618, 2.618, 2.667, 2.667]
    assert eight == pytest.approx(crystal, abs=0.1)


def test_small_tilts_approach_the_cubic_limit():
    for name in TILTED:
        cell, roles = tilted_cell(name, 1e-6)
        system = TILT_SYSTEMS[name]
        n_cubic = round(abs(np.linalg.det(np.array(system.cell))))
        assert len(cell) == 5 * n_cubic
        cubic = np.linalg.norm(system.cell[0])  # a of the cell in units of the cubic one
        assert cell.get_volume() == pytest.approx(n_cubic / cubic**3)
        assert (roles == 'X').sum() == 3 * n_cubic


@pytest.mark.parametrize(
    ('fields', 'code', 'values'),
    [
        ({'tilts': 'a0a0c+'}, Code.VALUES_INCOMPLETE, ['a0a0c+', 'tilt_deg']),
        ({'tilts': 'a0a0a0', 'tilt_deg': 5.0}, Code.VALUES_INCOMPLETE, ['tilts']),
        ({'prototype': 'spinel', 'tilts': 'a-a-a-'}, Code.VALUES_EXCLUDE, ['spinel']),
    ],
)
def test_tilts_that_do_nothing_are_refused(generate, fields, code, values):
    with refused(code, *values):
        generate({**perovskite('a-a-a-'), **fields})
