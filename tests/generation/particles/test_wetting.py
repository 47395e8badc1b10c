"""Liquids between slabs, which the kind `interface` makes."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.data.vdw_alvarez import vdw_radii
from ase.neighborlist import neighbor_list
from support.errors import refused

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import PhysicsViolationError
from aiida_mlip_autopipe.exploration.dynamics.ensembles import choose_ensemble
from aiida_mlip_autopipe.exploration.montecarlo.moves.volume import Volume, VolumeSettings
from aiida_mlip_autopipe.exploration.phase_space import PhaseSpace
from aiida_mlip_autopipe.structures.densities import DALTON_PER_A3

COPPER = {'kind': 'alloy', 'composition': {'Cu': 1.0}, 'a_A': 3.615}
ROCK_SALT = {'kind': 'ionic', 'prototype': 'rocksalt', 'sites': {'A': 'Na', 'X': 'Cl'}, 'a_A': 5.64}
WATER = {'molecules': [{'name': 'H2O'}], 'density_g_per_cm3': 1.0, 'thickness_A': 12.0}
BRINE = {
    'molecules': [
        {'name': 'Na', 'charge': 1, 'concentration_mol_per_L': 2.0},
        {'name': 'Cl', 'charge': -1, 'concentration_mol_per_L': 2.0},
        {'name': 'H2O'},
    ],
    'density_g_per_cm3': 1.07,
    'thickness_A': 14.0,
}
ON_COPPER = {'substrate': COPPER, 'substrate_miller': [1, 1, 1], 'substrate_n_layers': 3}
ON_SALT = {'substrate': ROCK_SALT, 'substrate_miller': [1, 0, 0], 'substrate_n_layers': 3}


def wetted(slab: dict, liquid: dict = WATER, **fields) -> dict:
    return {'kind': 'interface', **slab, 'liquid': liquid, 'n_seeds': 1, **fields}


def split(seed) -> tuple[Atoms, Atoms]:
    """Return the slab and the liquid."""
    return seed.atoms[: seed.record['n_substrate']], seed.atoms[seed.record['n_substrate'] :]


def molecules_of(liquid: Atoms) -> list[Atoms]:
    return [liquid[liquid.get_tags() == tag] for tag in np.unique(liquid.get_tags())]


def smallest_ratio(atoms: Atoms) -> float:
    """Return the smallest distance between molecules, or to the slab, divided by the sum of Alvarez's radii."""
    first, second, distances, shifts = neighbor_list('ijdS', atoms, 4.0)
    tags, radii = atoms.get_tags(), vdw_radii[atoms.numbers]
    apart = (tags[first] != tags[second]) | (shifts.any(axis=1) & (tags[first] > 0))
    return float((distances / (radii[first] + radii[second]))[apart].min())


@pytest.fixture
def make(generate):
    """Generate seeds for a calculator with a cutoff of 5 Å."""
    return partial(generate, cutoff_A=5.0)


@pytest.fixture(scope='module')
def seeds():
    """Return a slab in brine and rock salt in water."""
    from pydantic import TypeAdapter

    from aiida_mlip_autopipe.generation import GENERATORS, generate_seeds

    entries = [wetted(ON_COPPER, BRINE), wetted(ON_SALT)]
    settings = TypeAdapter(tuple[GENERATORS.settings_union(), ...]).validate_python(entries)
    return generate_seeds(settings, random_seed=7, cutoff_A=5.0).seeds


def test_the_liquid_fills_the_space_between_the_faces_of_the_slab(seeds):
    for seed in seeds:
        slab, liquid = split(seed)
        assert seed.atoms.pbc.all()
        gap, height = seed.record['gap_A'], seed.atoms.cell[2, 2]
        bottom, top = slab.positions[:, 2].min(), slab.positions[:, 2].max()
        assert liquid.positions[:, 2].min() >= top + gap - 1e-6
        assert liquid.positions[:, 2].max() <= bottom + height - gap + 1e-6
        assert liquid.positions[:, 2].min() < top + gap + 1.0
        assert liquid.positions[:, 2].max() > bottom + height - gap - 1.0


def test_molecules_are_whole_and_numbered_and_nothing_overlaps(seeds):
    for seed in seeds:
        slab, liquid = split(seed)
        assert seed.record['molecular'] is True
        assert 'form' not in seed.record
        assert not slab.get_tags().any()
        found = molecules_of(liquid)
        assert liquid.get_tags().tolist() == [n for n, one in enumerate(found, start=1) for _ in one]
        for one in found:
            if len(one) > 1:
                np.testing.assert_allclose(one.get_all_distances(), molecule('H2O').get_all_distances(), atol=1e-8)
        assert smallest_ratio(seed.atoms) >= 0.75 - 1e-6


def test_the_density_is_that_of_the_settings_and_the_thickness_is_close(seeds):
    for seed, density, thickness in zip(seeds, (1.07, 1.0), (14.0, 12.0), strict=True):
        slab, liquid = split(seed)
        area = np.linalg.norm(np.cross(*seed.atoms.cell.array[:2])[2])
        actual = seed.atoms.cell[2, 2] - np.ptp(slab.positions[:, 2]) - seed.record['gap_A']
        assert actual == pytest.approx(thickness, rel=0.1)
        assert liquid.get_masses().sum() * DALTON_PER_A3 / (area * actual) == pytest.approx(density)
        assert seed.record['liquid']['density_g_per_cm3'] == pytest.approx(density)
        assert seed.record['liquid']['thickness_A'] == pytest.approx(actual)


def test_salt_water_is_neutral_and_the_slab_keeps_its_charges(seeds):
    brine, salt = seeds
    counts = [one['count'] for one in brine.record['liquid']['molecules']]
    assert counts[0] == counts[1] > 0
    assert split(brine)[1].get_initial_charges().sum() == 0
    assert set(split(salt)[0].get_initial_charges()) == {1.0, -1.0}
    assert salt.atoms.get_initial_charges().sum() == 0


def test_the_slab_is_that_of_the_kind_surface(make, seeds):
    entry = {'kind': 'surface', 'of': COPPER, 'miller_indices': [[1, 1, 1]], 'n_layers': 3}
    expected = make(entry).seeds[0].atoms
    slab = split(seeds[0])[0]
    assert slab.numbers.tolist() == expected.numbers.tolist()
    assert np.array_equal(slab.positions[:, :2], expected.positions[:, :2])
    np.testing.assert_allclose(np.ptp(slab.positions[:, 2] - expected.positions[:, 2]), 0, atol=1e-12)
    assert np.array_equal(slab.cell.array[:2], expected.cell.array[:2])


def test_seeds_are_reproducible_and_differ(make):
    entry = wetted(ON_COPPER) | {'n_seeds': 2}
    first, again = make(entry).seeds, make(entry).seeds
    assert [seed.seed_id for seed in first] == [seed.seed_id for seed in again]
    assert first[0].seed_id != first[1].seed_id
    assert np.array_equal(*(split(seed)[0].positions for seed in first))


def test_the_liquid_is_explored_at_constant_volume(make, seeds):
    atoms = seeds[0].atoms
    assert choose_ensemble(atoms, 'auto', 6.0, molecular=True).ensemble == 'nvt'
    notes = make(wetted(ON_COPPER)).report['entries']['0']['notes']
    assert any('NVT' in note and 'dispersion' in note for note in notes)


def test_strain_and_rattling_move_molecules_as_a_whole_and_atoms_of_the_slab_one_by_one(make):
    plain, moved = (
        make(wetted(ON_COPPER, perturb=perturb)).seeds[0]
        for perturb in ({}, {'rattle_A': 0.03, 'anisotropic_strain': 0.02, 'supercell': [1, 2, 1]})
    )
    tags = moved.atoms.get_tags()
    n_slab, n_molecules = plain.record['n_substrate'], plain.atoms.get_tags().max()
    assert (tags == 0).sum() == 2 * n_slab
    assert set(np.bincount(tags)[1:]) == {3}
    assert len(np.unique(tags[tags > 0])) == 2 * n_molecules
    for one in molecules_of(moved.atoms[tags > 0]):
        np.testing.assert_allclose(one.get_all_distances(), molecule('H2O').get_all_distances(), atol=1e-8)
    strain = moved.atoms.cell.array @ np.linalg.inv(np.diag([1, 2, 1]) @ plain.atoms.cell.array)
    scaled = [seed.atoms[seed.atoms.get_tags() == 0].get_scaled_positions(wrap=False) for seed in (plain, moved)]
    shifts = (scaled[1][:n_slab] - scaled[0] * [1, 0.5, 1]) @ moved.atoms.cell.array
    assert not np.allclose(strain, np.eye(3))
    assert shifts.std() == pytest.approx(0.03, rel=5 / np.sqrt(2 * shifts.size))


def test_a_volume_move_scales_molecules_as_a_whole_and_atoms_of_the_slab_one_by_one(seeds):
    atoms = seeds[0].atoms
    move = Volume(VolumeSettings(max_change=0.05))
    move.molecules = atoms.get_tags()
    free, masses = np.ones(len(atoms), dtype=bool), atoms.get_masses()[:, None]
    move.begin(atoms, free)
    system = PhaseSpace(atoms.positions, np.zeros_like(atoms.positions), atoms.cell.array, masses, free)
    trial = move.propose(system, np.random.default_rng(1))
    scale = trial.cell[2, 2] / atoms.cell[2, 2]
    n_slab = seeds[0].record['n_substrate']
    np.testing.assert_allclose(trial.positions[:n_slab], scale * atoms.positions[:n_slab])
    water = np.flatnonzero(atoms.get_tags() == atoms.get_tags().max())
    np.testing.assert_allclose(
        np.linalg.norm(np.diff(trial.positions[water], axis=0), axis=1),
        np.linalg.norm(np.diff(atoms.positions[water], axis=0), axis=1),
    )
    n_bodies = n_slab + atoms.get_tags().max()
    assert trial.log_factor == pytest.approx(3 * (n_bodies + 1) * np.log(scale))


def test_a_gap_that_is_too_small_is_refused(make):
    with pytest.raises(PhysicsViolationError) as caught:
        make(wetted(ON_COPPER, gap_A=0.5, validation={'max_redraws': 0}))
    assert caught.value.rule in ('contact', 'min_distance')


def test_each_termination_has_a_seed(make):
    rutile = {'kind': 'ionic', 'prototype': 'perovskite', 'sites': {'A': 'Sr', 'B': 'Ti', 'X': 'O'}, 'a_A': 3.905}
    slab = {'substrate': rutile, 'substrate_miller': [1, 0, 0], 'substrate_thickness_A': 6}
    number = len(make({'kind': 'surface', 'of': rutile, 'miller_indices': [[1, 0, 0]], 'thickness_A': 6}).seeds)
    entries = [{**wetted(slab, terminations=which), 'n_seeds': None} for which in ('all', 'first')]
    assert [len(make(entry).seeds) for entry in entries] == [number, 1]


@pytest.mark.parametrize(
    ('entry', 'code', 'values'),
    [
        ({**wetted(ON_COPPER), 'film': COPPER, 'film_miller': [1, 1, 1]}, Code.VALUES_EXCLUDE, ['film', 'liquid']),
        ({'kind': 'interface', **ON_COPPER}, Code.VALUES_INCOMPLETE, ['film', 'liquid']),
        ({'kind': 'interface', **ON_COPPER, 'film': COPPER}, Code.VALUES_INCOMPLETE, ['film_miller']),
        (wetted(ON_COPPER, vacuum_A=20.0), Code.VALUES_EXCLUDE, ['vacuum_A']),
        (wetted(ON_COPPER, max_strain=0.01), Code.VALUES_EXCLUDE, ['max_strain']),
        (wetted(ON_COPPER, {**WATER, 'molecules': [{'name': 'H2O', 'count': 10}]}), Code.VALUES_EXCLUDE, ['count']),
        (wetted(ON_COPPER, {'molecules': [{'name': 'H2O'}]}), Code.VALUES_INCOMPLETE, ['density_g_per_cm3']),
        (wetted(ON_COPPER, {**WATER, 'contact_factor': 1.1}), Code.DENSITY_IMPOSSIBLE, ['contact_factor']),
        (wetted(ON_COPPER, {**WATER, 'density_g_per_cm3': 0.01}), Code.CELL_TOO_SMALL, ['thickness_A']),
        (wetted(ON_COPPER, {**WATER, 'molecules': [{'name': 'Na', 'charge': 1}]}), Code.CHARGE_UNBALANCED, ['Na +1']),
        (wetted(ON_COPPER, {**WATER, 'thickness_A': 8.0}, gap_A=9.0), Code.OUT_OF_RANGE, ['8', 'gap_A']),
        ({'kind': 'defect', 'of': wetted(ON_COPPER) | {'n_seeds': None}, 'vacancies': {'Cu': 1}, 'n_seeds': 1},
         Code.HOST_UNSUITABLE, ['interface']),
    ],
)  # fmt: skip
def test_impossible_settings_are_refused(make, entry, code, values):
    with refused(code, *values):
        make(entry)
