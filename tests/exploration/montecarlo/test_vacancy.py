"""Jumps into voids sample populations that are known exactly."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111
from support.errors import refused
from support.model_systems import KT, assert_mean, make, make_system

from aiida_mlip_autopipe.calculators.evaluation import Evaluation
from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.exploration.montecarlo.moves import vacancy as module
from aiida_mlip_autopipe.exploration.montecarlo.settings import MonteCarloSettings
from aiida_mlip_autopipe.exploration.montecarlo.trials import MonteCarlo
from aiida_mlip_autopipe.structures.voids import find_voids

RADIUS = 0.6
# A long cage of three squares, whose two voids have overlapping spheres, and two short ones with one void each.
SQUARE = np.array([[2.0, 2, 0], [2, -2, 0], [-2, 2, 0], [-2, -2, 0]]) / np.sqrt(2)
FAR, UP = np.array([12.0, 0.0, 0.0]), np.array([0.0, 0.0, 1.0])
HOST = np.concatenate(
    [SQUARE + z * UP for z in (-0.8, 0, 0.8)] + [SQUARE + x * FAR + z * UP for x in (1, -1) for z in (-0.4, 0.4)]
)
VOIDS = np.array([-0.4 * UP, 0.4 * UP, FAR, -FAR])
# The wells: their centres, force constants in eV/Å² and depths in eV.
CENTRES, CONSTANTS, DEPTHS = (
    np.array([[0.1, 0, 0.1], FAR, -FAR]),
    np.array([0.15, 0.4, 0.6]),
    KT * np.array([0.0, 0.4, 1.0]),
)


class ThreeWells:
    """The last atom in three harmonic wells, and an ideal gas of all others."""

    def __call__(self, positions, cell):
        displaced = positions[-1] - CENTRES
        energies = 0.5 * CONSTANTS * (displaced**2).sum(axis=1) - DEPTHS
        well = int(np.argmin(energies))
        forces = np.zeros_like(positions)
        forces[-1] = -CONSTANTS[well] * displaced[well]
        return Evaluation(float(energies[well]), forces, np.zeros(6))


@pytest.fixture
def rigid_host(monkeypatch):
    """The voids of a host that does not move are found once."""
    cached = lru_cache(lambda content, fraction: find_voids(Atoms(positions=np.frombuffer(content).reshape(-1, 3))))
    monkeypatch.setattr(module, 'find_voids', lambda atoms, fraction: cached(atoms.positions.tobytes(), fraction))


def run_wells(moves, n_rounds, n_md_steps, seed):
    """Return the positions of the mobile atom (rounds, 3), and the statistics of the moves."""
    rng = np.random.default_rng(seed)
    positions = np.vstack([HOST, CENTRES[0]])
    free = np.arange(len(positions)) == len(HOST)
    system = make_system(positions, np.zeros((3, 3)), [20.0] * len(positions), free, rng)
    integrator = make('langevin', system, ThreeWells(), 4.0, rng, thermostat_time_fs=30.0)
    atoms = Atoms(f'Cu{len(positions)}', positions)
    monte_carlo = MonteCarlo(MonteCarloSettings(moves=moves, n_trials=2), atoms, free, 'nvt', None)
    series = []
    for _ in range(n_rounds):
        for _ in range(n_md_steps):
            integrator.step()
        monte_carlo.run_round(integrator)
        series.append(system.positions[-1].copy())
    return np.array(series), monte_carlo.summary()


def spheres_around(points):
    """Return the pattern of spheres that contain each point, as a number from 0 to 15."""
    inside = np.linalg.norm(points[:, np.newaxis] - VOIDS, axis=2) < RADIUS
    return inside @ [1, 2, 4, 8]


@pytest.mark.physics
def test_jumps_alone_sample_the_populations_of_overlapping_spheres(rigid_host):
    """The atom never leaves the spheres. Its probability in each region is an integral on a fine grid."""
    found = find_voids(Atoms(positions=HOST))
    assert {tuple(np.round(void, 6).tolist()) for void in found} == {tuple(void.tolist()) for void in VOIDS}
    series, (statistics,) = run_wells([{'kind': 'vacancy', 'radius_A': RADIUS}], 3_500, 0, seed=1)
    weights = np.zeros(16)
    axis = np.linspace(-1.5, 1.5, 101)
    grid = np.stack(np.meshgrid(axis, axis, axis, indexing='ij'), axis=-1).reshape(-1, 3)
    for centre, constant, depth in zip(CENTRES, CONSTANTS, DEPTHS, strict=True):
        points = np.round(centre) + grid
        energies = 0.5 * constant * ((points - centre) ** 2).sum(axis=1) - depth
        weights += np.bincount(spheres_around(points), np.exp(-energies / KT), minlength=16)
    weights[0] = 0.0
    exact, found = weights / weights.sum(), spheres_around(series)
    assert set(found) == set(np.flatnonzero(exact)) == {1, 2, 3, 4, 8}
    for region in (1, 2, 3, 4, 8):
        assert_mean(found == region, exact[region], resolution=0.5)
    assert statistics['acceptance'] > 0.1


@pytest.mark.physics
def test_jumps_and_dynamics_sample_the_populations_of_harmonic_wells(rigid_host):
    """The weight of a harmonic well is ``exp(ε/kT) k^(-3/2)``."""
    series, _ = run_wells([{'kind': 'vacancy', 'radius_A': RADIUS}], 4_000, 5, seed=2)
    weights = np.exp(DEPTHS / KT) * CONSTANTS**-1.5
    wells = np.round(series[:, 0] / FAR[0]).astype(int)
    for well in range(3):
        assert_mean(wells == (0, 1, -1)[well], weights[well] / weights.sum(), resolution=0.4)


@pytest.fixture
def crystal():
    """Copper with one vacancy and thermal displacements."""
    atoms = bulk('Cu', cubic=True) * (2, 2, 2)
    atoms.rattle(0.08, seed=1)
    del atoms[5]
    return atoms


def propose(atoms, free=None, n=30, **settings):
    """Return the index of the atom that each trial moves, its position, and the factor; None for no atom."""
    free = np.ones(len(atoms), dtype=bool) if free is None else free
    move = module.Vacancy(module.VacancySettings(**settings))
    move.begin(atoms, free)
    system, rng = make_system(atoms.positions, atoms.cell.array, 60.0, free), np.random.default_rng(1)
    for _ in range(n):
        trial = move.propose(system, rng)
        moved = np.flatnonzero((trial.positions != atoms.positions).any(axis=1))
        assert len(moved) <= 1
        index = int(moved[0]) if len(moved) else None
        yield index, None if index is None else trial.positions[index], trial.log_factor


def test_an_atom_of_a_crystal_jumps_into_the_vacancy(crystal):
    site = bulk('Cu', cubic=True).repeat(2).positions[5]
    moved = set()
    for index, position, factor in propose(crystal):
        vectors = (position - site) @ np.linalg.inv(crystal.cell.array)
        vectors = (vectors - np.round(vectors)) @ crystal.cell.array
        # The centre of the void is displaced by about as much as the atoms around it.
        assert np.linalg.norm(vectors) < 0.4 + 0.3
        assert factor == 0.0
        moved.add(index)
    assert len(moved) > 15


def test_the_factor_of_a_jump_is_the_ratio_of_the_proposal_densities():
    atoms = Atoms(f'Cu{len(HOST) + 1}', np.vstack([HOST, CENTRES[0]]))
    free = np.arange(len(atoms)) == len(HOST)
    factors: dict[tuple[int, int], set[float]] = {}
    for start in (CENTRES[0], VOIDS[0] - 0.5 * UP, FAR):
        atoms.positions[-1] = start
        (first,) = spheres_around(start[np.newaxis])
        for _, position, factor in propose(atoms, free, n=80, radius_A=RADIUS):
            (last,) = spheres_around(position[np.newaxis])
            factors.setdefault((first, last), set()).add(float(factor))
    # From the overlap of two spheres, one of the two others is drawn. The reverse draws one of three, two of which
    # contain the first position.
    assert factors.pop((3, 4)) == factors.pop((3, 8)) == {np.log((2 / 3) / (1 / 2))}
    assert factors.pop((4, 3)) == {np.log((1 / 2) / (2 / 3))}
    # A jump from one of the spheres to their overlap has no reverse, since the reverse would not draw either of them.
    assert factors.pop((1, 3)) == {-np.inf}
    assert set(factors) == {(1, 2), (1, 4), (1, 8), (4, 1), (4, 2), (4, 8)}
    assert set.union(*factors.values()) == {0.0}


def test_fixed_atoms_do_not_jump(crystal):
    free = np.zeros(len(crystal), dtype=bool)
    free[[3, 7]] = True
    assert {index for index, _, _ in propose(crystal, free)} == {3, 7}


def test_an_atom_outside_all_spheres_does_not_jump(crystal):
    free = np.arange(len(crystal)) == 3
    crystal.positions[3] += [0.6, 0.0, 0.0]
    assert {(index, factor) for index, _, factor in propose(crystal, free, n=5)} == {(None, -np.inf)}


@pytest.mark.parametrize(
    'atoms',
    [bulk('Cu', cubic=True) * 2, bulk('W', cubic=True) * 2, bulk('Cu'), fcc111('Cu', (2, 2, 3), vacuum=8.0)],
    ids=['fcc', 'bcc', 'one atom', 'slab'],
)
def test_a_structure_without_a_vacancy_is_refused(atoms):
    with refused(Code.MOVE_IMPOSSIBLE):
        list(propose(atoms))


def test_jumps_out_of_molecules_are_refused(molecules):
    settings = MonteCarloSettings(moves=[{'kind': 'vacancy'}])
    free = np.ones(len(molecules), dtype=bool)
    with refused(Code.MOVE_IMPOSSIBLE):
        MonteCarlo(settings, molecules, free, 'nvt', None, molecules.get_tags())
