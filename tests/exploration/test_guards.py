"""Each guard is triggered only by its condition."""

from __future__ import annotations

import itertools
import re

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import add_adsorbate, bulk, fcc111, molecule
from ase.data import covalent_radii

from aiida_mlip_autopipe.calculators.evaluation import Evaluation
from aiida_mlip_autopipe.exploration.guards import Guards, temperature_limit
from aiida_mlip_autopipe.exploration.phase_space import PhaseSpace
from aiida_mlip_autopipe.exploration.settings.dynamics import GuardSettings
from aiida_mlip_autopipe.structures.distances import (
    distance_blocks,
    find_detached,
    find_fragments,
    find_overlap,
)


def system_of(atoms: Atoms, temperature_K: float = 300.0) -> PhaseSpace:
    system = PhaseSpace(
        positions=atoms.positions.copy(),
        momenta=np.zeros((len(atoms), 3)),
        cell=atoms.cell.array.copy(),
        masses=atoms.get_masses()[:, np.newaxis],
        free=np.ones(len(atoms), dtype=bool),
    )
    system.momenta = system.thermal_momenta(temperature_K, np.random.default_rng(0))
    return system


def evaluation_of(system: PhaseSpace, energy: float = 0.0, force: float = 0.0) -> Evaluation:
    forces = np.zeros_like(system.positions)
    forces[0, 0] = force
    return Evaluation(energy, forces, np.zeros(6))


@pytest.fixture
def crystal() -> Atoms:
    return bulk('Cu', cubic=True) * (2, 2, 2)


def triggered_rule(guards: Guards, system: PhaseSpace, evaluation: Evaluation, target: float = 300.0) -> str | None:
    alarm = guards.check_step(system, evaluation, 0.0, target)
    return alarm.rule if alarm else None


def test_no_guard_is_triggered_in_a_stable_run(crystal):
    guards, system = Guards(GuardSettings(), crystal), system_of(crystal)
    assert triggered_rule(guards, system, evaluation_of(system, energy=1.0, force=5.0)) is None
    assert guards.check_distances(system) is None


@pytest.mark.parametrize('bad', [np.nan, np.inf])
@pytest.mark.parametrize('where', ['energy', 'forces', 'stress', 'momenta'])
def test_a_value_that_is_not_finite_always_triggers_the_guard(crystal, bad, where):
    off = GuardSettings(
        check_temperature=False, energy_jump_eV=None, force_eV_per_A=None, distance_factor=None, volume_factor=None
    )
    system = system_of(crystal)
    evaluation = evaluation_of(system)
    if where == 'momenta':
        system.momenta[3, 1] = bad
    elif where == 'energy':
        evaluation = evaluation_of(system, energy=bad)
    else:
        getattr(evaluation, where)[1] = bad
    assert triggered_rule(Guards(off, crystal), system, evaluation) == 'not_finite'


@pytest.mark.parametrize(('jump', 'rule'), [(0.49, None), (-0.49, None), (0.51, 'energy'), (-0.51, 'energy')])
def test_a_jump_of_the_energy_in_either_direction_triggers_the_guard(crystal, jump, rule):
    system = system_of(crystal)
    assert triggered_rule(Guards(GuardSettings(), crystal), system, evaluation_of(system, energy=jump * 32)) == rule


@pytest.mark.parametrize(('force', 'rule'), [(99.0, None), (-101.0, 'force')])
def test_a_large_force_triggers_the_guard(crystal, force, rule):
    system = system_of(crystal)
    assert triggered_rule(Guards(GuardSettings(), crystal), system, evaluation_of(system, force=force)) == rule


def test_the_force_on_a_fixed_atom_is_ignored(crystal):
    system = system_of(crystal)
    system.free[0] = False
    assert triggered_rule(Guards(GuardSettings(), crystal), system, evaluation_of(system, force=1000.0)) is None


@pytest.mark.parametrize(('factor', 'rule'), [(0.99, None), (1.01, 'temperature')])
def test_the_temperature_limit_is_set_or_derived_from_the_target(crystal, factor, rule):
    limit = temperature_limit(300.0, 93)
    assert limit == 300 * 4 + 1000
    for settings, highest in ((GuardSettings(), limit), (GuardSettings(temperature_K=700.0), 700.0)):
        system = system_of(crystal)
        system.momenta *= np.sqrt(factor * highest / system.temperature_K)
        assert triggered_rule(Guards(settings, crystal), system, evaluation_of(system)) == rule
    assert (
        triggered_rule(Guards(GuardSettings(check_temperature=False), crystal), system, evaluation_of(system)) is None
    )


def test_the_temperature_limit_allows_the_fluctuations_of_a_few_atoms():
    assert temperature_limit(300.0, 3) == pytest.approx(300 * (1 + 10 * np.sqrt(2 / 3)) + 1000)


@pytest.mark.parametrize(('ratio', 'rule'), [(1.99, None), (2.01, 'volume'), (0.51, None), (0.49, 'volume')])
def test_a_large_change_of_the_volume_triggers_the_guard(crystal, ratio, rule):
    system = system_of(crystal)
    system.cell = system.cell * ratio ** (1 / 3)
    assert triggered_rule(Guards(GuardSettings(), crystal), system, evaluation_of(system)) == rule


@pytest.mark.parametrize(
    ('deformation', 'rule'),
    [
        (np.diag([1.0, 1.0, 0.71]), None),
        (np.diag([1.0, 1.0, 0.69]), 'shape'),
        (np.diag([1.3, 0.72, 1.0]), None),
        (np.array([[1, 0, 0], [np.tan(np.radians(19)), 1, 0], [0, 0, 1]]), None),
        (np.array([[1, 0, 0], [np.tan(np.radians(-21)), 1, 0], [0, 0, 1]]), 'shape'),
    ],
    ids=['width', 'a small width', 'widths', 'angle', 'a large change of an angle'],
)
def test_a_large_change_of_the_shape_triggers_the_guard(crystal, deformation, rule):
    system = system_of(crystal)
    system.cell = system.cell @ deformation
    evaluation = evaluation_of(system)
    assert triggered_rule(Guards(GuardSettings(), crystal, shape_changes=True), system, evaluation) == rule
    off = GuardSettings(width_factor=None, angle_change_deg=None)
    assert triggered_rule(Guards(off, crystal, shape_changes=True), system, evaluation) is None
    assert triggered_rule(Guards(GuardSettings(), crystal), system, evaluation) is None


@pytest.mark.parametrize(('distance', 'rule'), [(1.33, None), (1.31, 'distance')])
def test_overlapping_atoms_trigger_the_guard_across_the_cell_boundary(crystal, distance, rule):
    system = system_of(crystal)
    system.positions[1] = system.positions[0] - [0, 0, distance] + system.cell[2]
    alarm = Guards(GuardSettings(detached_factor=None), crystal).check_distances(system)
    assert (alarm.rule if alarm else None) == rule
    if alarm:
        assert re.findall(r'Cu\d|[\d.]+\d', alarm.message) == ['Cu0', 'Cu1', '1.310', '0.50', '0.5']


def test_the_closest_pair_is_found_relative_to_the_covalent_radii():
    atoms = Atoms('HHAu2', [[0, 0, 0], [0.74, 0, 0], [5, 0, 0], [6.3, 0, 0]])
    overlap = find_overlap(atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc, 0.5)
    assert overlap.atoms == (2, 3)
    assert overlap.distance_A == pytest.approx(1.3)


def test_an_evaporated_atom_is_detected():
    slab = fcc111('Cu', (2, 2, 3), vacuum=12.0)
    guards, system = Guards(GuardSettings(), slab), system_of(slab)
    assert guards.check_distances(system) is None
    system.positions[-1, 2] += 8.0
    alarm = guards.check_distances(system)
    assert alarm.rule == 'detached'
    assert 'Cu11 ' in alarm.message
    assert '7.9 Å' in alarm.message


def test_a_detached_fragment_is_detected_although_its_atoms_have_neighbours():
    slab = fcc111('Cu', (3, 3, 3), vacuum=20.0)
    guards, system = Guards(GuardSettings(), slab), system_of(slab)
    system.positions[-3:, 2] += 5.0
    assert guards.check_distances(system) is None
    system.positions[-3:, 2] += 3.5
    alarm = guards.check_distances(system)
    assert alarm.rule == 'detached'
    assert alarm.message.startswith('Cu24, Cu25, Cu26 ')
    system.positions[-9:-3, 2] += 8.5
    assert guards.check_distances(system).message.startswith('Cu18, Cu19, Cu20, Cu21, Cu22, Cu23 and 3 ')


@pytest.mark.parametrize(('height', 'rule'), [(1.8, 'detached'), (9.0, None)], ids=['adsorbed', 'above the surface'])
def test_a_detached_molecule_is_reported_only_if_it_was_adsorbed(height, rule):
    slab = fcc111('Cu', (2, 2, 3), vacuum=20.0)
    add_adsorbate(slab, molecule('H2O'), height, 'ontop', mol_index=0)
    guards, system = Guards(GuardSettings(), slab), system_of(slab)
    assert guards.check_distances(system) is None
    system.positions[-3:, 2] += 9.0
    alarm = guards.check_distances(system)
    assert (alarm.rule if alarm else None) == rule
    if alarm:
        assert alarm.message.startswith('O12, H13, H14 ')
    # In both cases, the dissociation of the molecule is detected.
    system.positions[-1, 2] += 12.0
    assert 'H14' in guards.check_distances(system).message


def test_molecules_of_a_gas_may_separate():
    """Molecules may separate unless they were in contact in the seed. An atom that leaves its molecule is detached."""
    gas = molecule('H2O')
    for shift in (4.0, 12.0):
        other = molecule('H2O')
        other.positions += [0.0, 0.0, shift]
        gas += other
    guards, system = Guards(GuardSettings(), gas), system_of(gas)
    system.positions[3:6, 1] += 6.0
    assert guards.check_distances(system) is None
    system.positions[1, 0] += 6.0
    assert 'H1 ' in guards.check_distances(system).message


def test_molecules_that_were_generated_may_separate_although_they_were_in_contact():
    gas = molecule('H2O')
    other = molecule('H2O')
    other.positions += [0.0, 0.0, 2.5]
    gas += other
    system = system_of(gas)
    system.positions[3:, 1] += 20.0
    assert Guards(GuardSettings(), gas).check_distances(system).rule == 'detached'
    guards = Guards(GuardSettings(), gas, molecules=np.repeat([1, 2], 3))
    assert guards.check_distances(system) is None
    # An atom that leaves its molecule for empty space is detached.
    system.positions[1, 0] += 9.0
    assert 'H1 ' in guards.check_distances(system).message


def test_a_gas_does_not_trigger_the_guard():
    gas = molecule('H2')
    gas.positions[1, 2] += 4.0
    assert Guards(GuardSettings(), gas).check_distances(system_of(gas)) is None


def test_the_temperature_follows_from_the_kinetic_energy_and_the_degrees_of_freedom(crystal):
    system = system_of(crystal, 300.0)
    assert system.temperature_K == pytest.approx(2 * system.kinetic_energy / (93 * units.kB))


@pytest.mark.parametrize('periodic', [(True, True, True), (True, False, True), (False, False, False)])
def test_in_a_skewed_cell_short_distances_are_exact_and_long_ones_are_never_too_short(periodic, monkeypatch):
    monkeypatch.setattr('aiida_mlip_autopipe.structures.distances.BLOCK_PAIRS', 24)
    rng = np.random.default_rng(0)
    for _ in range(20):
        cell = 6 * np.eye(3) + rng.uniform(-2, 2, (3, 3))
        positions = rng.uniform(-1, 2, (8, 3)) @ cell
        pbc = np.array(periodic)
        shifts = np.array(list(itertools.product(*[range(-3, 4) if axis else [0] for axis in periodic])))
        vectors = positions[np.newaxis, :, np.newaxis] - positions[:, np.newaxis, np.newaxis] + shifts @ cell
        true = np.sqrt((vectors**2).sum(axis=3)).min(axis=2)
        np.fill_diagonal(true, np.inf)
        for cutoff in (0.0, 2.0, 5.0):
            blocks = list(distance_blocks(positions, cell, pbc, cutoff))
            assert [start for start, _ in blocks] == [0, 3, 6]
            found = np.concatenate([block for _, block in blocks])
            assert (found >= true - 1e-9).all()
            assert found[true < cutoff] == pytest.approx(true[true < cutoff])


def random_structure(rng: np.random.Generator, periodic: tuple[bool, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Return a skewed cell, without vectors in non-periodic directions, and atoms inside and outside of it."""
    size = rng.uniform(2.0, 9.0)
    cell = size * (np.eye(3) + rng.uniform(-0.4, 0.4, (3, 3)))
    cell[1] += rng.integers(-2, 3) * cell[0]
    positions = rng.uniform(-1, 2, (8, 3)) @ cell
    cell[~np.array(periodic)] *= rng.integers(0, 2)
    return positions, cell


def all_distances(positions: np.ndarray, cell: np.ndarray, periodic: tuple[bool, ...]) -> np.ndarray:
    """Return the distances between all atoms, (n, n), to the nearest of many images."""
    shifts = np.array(list(itertools.product(*[range(-12, 13) if axis else [0] for axis in periodic]))) @ cell
    vectors = positions[np.newaxis, :] - positions[:, np.newaxis]
    found = np.sqrt(((vectors[:, :, np.newaxis] + shifts) ** 2).sum(axis=3)).min(axis=2)
    np.fill_diagonal(found, np.inf)
    return found


@pytest.mark.parametrize('periodic', [(True, True, True), (True, False, True), (False, True, False), (False,) * 3])
def test_overlaps_agree_with_the_distances_to_all_images(periodic):
    rng, pbc = np.random.default_rng(0), np.array(periodic)
    n_overlaps = 0
    for _ in range(20):
        positions, cell = random_structure(rng, periodic)
        numbers = rng.choice([1, 8, 29, 79], len(positions))
        true = all_distances(positions, cell, periodic)
        radii = covalent_radii[numbers]
        ratios = true / (radii + radii[:, np.newaxis])
        for factor in (0.3, 0.5, 1.0):
            overlap = find_overlap(numbers, positions, cell, pbc, factor)
            assert (overlap is None) == (ratios.min() >= factor)
            if overlap is not None:
                assert overlap.atoms == np.unravel_index(ratios.argmin(), ratios.shape)
                assert overlap.distance_A == pytest.approx(true[overlap.atoms])
                n_overlaps += 1
    assert 0 < n_overlaps < 60


def test_two_atoms_in_a_huge_cell_need_little_time_and_memory():
    atoms = Atoms('H2', [[0, 0, 0], [0, 0, 0.2]], cell=[1e4] * 3, pbc=True)
    overlap = find_overlap(atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc, 0.5)
    assert overlap.atoms == (0, 1)


def test_a_single_atom_is_never_detached():
    atoms = bulk('Cu')
    assert Guards(GuardSettings(), atoms).check_distances(system_of(atoms)) is None


def test_a_cell_smaller_than_the_cutoff_is_checked_with_its_images():
    atoms = bulk('Cu') * (2, 1, 1)
    assert find_overlap(atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc, 0.9) is None
    overlap = find_overlap(atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc, 1.0)
    assert overlap.distance_A == pytest.approx(3.61 / np.sqrt(2))


def test_detached_atoms_in_a_flat_cell_are_found_by_exact_distances():
    cell = np.array([[10.0, 0, 0], [28.0, 3.0, 0], [0, 0, 30.0]])
    positions = np.array([[0.0, 0, 0], [1.0, 2.8, 0], [5.0, 1.5, 15.0]])
    periodic = np.array([True] * 3)
    assert find_fragments(positions, cell, periodic, 3.5, 3.5).tolist() == [0, 0, 1]
    assert find_detached(positions, cell, periodic, 3.5, np.zeros(3, dtype=int)).tolist() == [2]
    assert find_detached(positions, cell, periodic, 3.5, np.array([0, 0, 1])).tolist() == []
