"""Monte Carlo, alone and with dynamics, samples distributions that are known exactly."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from ase import Atoms
from ase.data import covalent_radii
from scipy import stats
from support.model_systems import KT, N_SIGMA, IdealGas, Tethers, assert_mean, make, make_system, standard_error

from aiida_mlip_autopipe.calculators.evaluation import Evaluation
from aiida_mlip_autopipe.exploration.montecarlo.settings import MonteCarloSettings
from aiida_mlip_autopipe.exploration.montecarlo.trials import MonteCarlo

pytestmark = pytest.mark.physics

SPACING = 4.0
SPECIES = np.array(
    [29, 29, 79, 79, 47, 0]
)  # three species, and a fixed atom, so that the total momentum is not conserved
MASSES = np.array([20.0, 20.0, 60.0, 60.0, 40.0, 40.0])
# Energies of neighbours on a ring of five sites in units of kT. They are not symmetric in the species.
COUPLING = {(29, 29): 0.0, (29, 79): -0.8, (29, 47): 0.5, (79, 79): 0.3, (47, 79): -0.4, (47, 47): 0.0}
SPRINGS = {29: 3.0, 79: 1.5, 47: 5.0}
PAIR_ENERGIES = np.zeros((80, 80))
for (_a, _b), _value in COUPLING.items():
    PAIR_ENERGIES[_a, _b] = PAIR_ENERGIES[_b, _a] = _value * KT


class RingLattice:
    """Atoms on a ring of sites, with a lattice energy, and harmonic tethers that depend on the species."""

    def __init__(self):
        self.sites = np.array([[SPACING * site, 0.0, 0.0] for site in range(6)])
        self.constants = np.array([[SPRINGS.get(int(number), 1.0)] for number in SPECIES])

    def occupation(self, positions):
        """Return the species on each of the five sites."""
        sites = np.round(positions[:5, 0] / SPACING).astype(int)
        species = np.zeros(5, dtype=int)
        species[sites] = SPECIES[:5]
        return tuple(species.tolist()), sites

    @staticmethod
    def lattice_energy(species):
        return float(sum(PAIR_ENERGIES[species[site], species[(site + 1) % 5]] for site in range(5)))

    def __call__(self, positions, cell):
        species, sites = self.occupation(positions)
        displaced = positions - self.sites[np.append(sites, 5)]
        energy = self.lattice_energy(species) + 0.5 * float((self.constants * displaced**2).sum())
        return Evaluation(energy, -self.constants * displaced, np.zeros(6))


def exact_populations():
    """Return the Boltzmann probability of each of the 30 arrangements."""
    arrangements = sorted(set(permutations(SPECIES[:5].tolist())))
    weights = np.exp([-RingLattice.lattice_energy(species) / KT for species in arrangements])
    return dict(zip(arrangements, weights / weights.sum(), strict=True))


def run_ring(moves, n_md_steps, n_trials, n_rounds, seed, kind='langevin'):
    """Return the arrangement and the displacements from the sites (rounds, 5, 3) after each round."""
    rng = np.random.default_rng(seed)
    model = RingLattice()
    free = np.array([True] * 5 + [False])
    system = make_system(model.sites, 40 * np.eye(3), MASSES, free, rng)
    integrator = make(kind, system, model, 4.0, rng, thermostat_time_fs=30.0)
    atoms = Atoms(SPECIES, positions=model.sites, cell=40 * np.eye(3), pbc=True)
    settings = MonteCarloSettings(moves=moves, n_md_steps=max(n_md_steps, 1), n_trials=n_trials)
    monte_carlo = MonteCarlo(settings, atoms, free, 'nvt', distance_factor=None)
    arrangements, displacements = [], []
    for _ in range(n_rounds):
        for _ in range(n_md_steps):
            integrator.step()
        monte_carlo.run_round(integrator)
        species, sites = model.occupation(system.positions)
        arrangements.append(species)
        displacements.append(system.positions[:5] - model.sites[sites])
    return arrangements, np.array(displacements), monte_carlo


def assert_populations(arrangements):
    """Compare the fractions of the arrangements with exact probabilities, using errors for correlated series."""
    exact = exact_populations()
    assert set(arrangements) == set(exact)
    numbers = {species: number for number, species in enumerate(exact)}
    series = np.array([numbers[species] for species in arrangements])
    worst = 0.0
    for species, probability in exact.items():
        hits = series == numbers[species]
        error = standard_error(hits)
        assert error < 0.06 * probability + 0.004
        worst = max(worst, abs(hits.mean() - probability) / error)
    assert worst < N_SIGMA
    # The energies differ by up to 2 kT, so a wrong sign or a missing factor of two would be detected.
    assert max(exact.values()) / min(exact.values()) > 5


def assert_tethered(displacements, resolution):
    """Compare the energy of each tether with ``3/2 k T``, and its mean elongation with zero."""
    constants = np.array([SPRINGS[int(number)] for number in SPECIES[:5]])
    for atom, constant in enumerate(constants):
        assert_mean(0.5 * constant * (displacements[:, atom] ** 2).sum(axis=1), 1.5 * KT, resolution)
        for component in displacements[:, atom].T:
            assert abs(component.mean()) < N_SIGMA * standard_error(component) < 0.5 * np.sqrt(KT / constant)


def test_swaps_alone_sample_the_populations_of_a_small_lattice():
    arrangements, displacements, monte_carlo = run_ring(
        [{'kind': 'swap', 'partners': 'any'}], n_md_steps=0, n_trials=2, n_rounds=30_000, seed=1
    )
    assert_populations(arrangements)
    assert not displacements.any()
    assert 0.2 < monte_carlo.summary()[0]['acceptance'] < 0.95


def test_displacements_alone_sample_the_tethers():
    arrangements, displacements, _ = run_ring(
        [{'kind': 'displacement', 'max_displacement_A': 0.25}], n_md_steps=0, n_trials=10, n_rounds=10_000, seed=2
    )
    assert len(set(arrangements)) == 1
    assert_tethered(displacements[200:], resolution=0.2)


def test_swaps_and_displacements_together_sample_both():
    moves = [
        {'kind': 'swap', 'partners': 'any', 'weight': 1},
        {'kind': 'displacement', 'max_displacement_A': 0.25, 'weight': 4},
    ]
    arrangements, displacements, monte_carlo = run_ring(moves, n_md_steps=0, n_trials=10, n_rounds=15_000, seed=3)
    assert_populations(arrangements)
    assert_tethered(displacements[200:], resolution=0.2)
    swap, displacement = monte_carlo.summary()
    assert displacement['tried'] / swap['tried'] == pytest.approx(4, rel=0.1)


@pytest.mark.parametrize('kind', ['langevin', 'bussi'])
def test_dynamics_with_moves_preserves_the_canonical_distribution(kind):
    moves = [
        {'kind': 'swap', 'partners': 'any', 'weight': 3},
        {'kind': 'displacement', 'max_displacement_A': 0.2, 'weight': 2},
    ]
    arrangements, displacements, _ = run_ring(moves, n_md_steps=5, n_trials=5, n_rounds=12_000, seed=4, kind=kind)
    assert_populations(arrangements)
    # The relative error of Verlet for the tethers is at most (ω Δt)²/4, here 0.4 %. Langevin has none.
    assert_tethered(displacements[200:], resolution=0.25)


def test_overlaps_have_their_exact_weight_although_no_move_enters_or_leaves_them():
    """The separation of two tethered atoms is Gaussian, so its square has a noncentral chi-squared distribution."""
    rng = np.random.default_rng(7)
    constant, separation, limit = 1.0, 1.5, 0.5 * 2 * covalent_radii[29]
    spread = np.sqrt(2 * KT / constant)
    exact = stats.ncx2.cdf((limit / spread) ** 2, 3, (separation / spread) ** 2)
    assert 0.1 < exact < 0.2
    anchors = np.array([[0, 0, 0], [separation, 0, 0], [20, 0, 0]])
    free = np.array([True, True, False])
    system = make_system(anchors, 40 * np.eye(3), [20.0, 20.0, 20.0], free, rng)
    integrator = make('langevin', system, Tethers(anchors, [constant] * 3), 6.0, rng, thermostat_time_fs=30.0)
    atoms = Atoms('Cu3', positions=anchors, cell=40 * np.eye(3), pbc=True)
    move = {'kind': 'displacement', 'max_displacement_A': 0.3}
    monte_carlo = MonteCarlo(MonteCarloSettings(moves=[move], n_trials=3), atoms, free, 'nvt', distance_factor=0.5)
    overlapping = []
    for _ in range(4000):
        for _ in range(5):
            integrator.step()
        monte_carlo.run_round(integrator)
        overlapping.append(np.linalg.norm(system.positions[0] - system.positions[1]) < limit)
    assert_mean(np.array(overlapping), exact, resolution=0.5)


def volumes_of_ideal_gas(moves, with_dynamics, n_rounds, seed):
    """Return the volumes of four atoms of an ideal gas, and the pressure."""
    rng = np.random.default_rng(seed)
    pressure = 5 * KT / 216.0
    positions = rng.uniform(0, 6, (4, 3))
    system = make_system(positions, 6 * np.eye(3), [10.0, 20.0, 40.0, 80.0], rng=rng)
    integrator = make('npt', system, IdealGas(), 2.0, rng, pressure=pressure)
    atoms = Atoms('Ar4', positions=positions, cell=6 * np.eye(3), pbc=True)
    settings = MonteCarloSettings(moves=moves, n_trials=3)
    monte_carlo = MonteCarlo(settings, atoms, system.free, 'npt', distance_factor=None)
    volumes = []
    for _ in range(n_rounds):
        for _ in range(5 if with_dynamics else 0):
            integrator.step()
        monte_carlo.run_round(integrator)
        volumes.append(system.volume)
    return np.array(volumes), pressure


VOLUME_MOVES = {
    'logarithmic': [{'kind': 'volume', 'max_change': 0.9}],
    'linear': [{'kind': 'volume', 'max_change': 0.9, 'scale': 'linear'}],
    'both with displacements': [
        {'kind': 'volume', 'max_change': 0.9},
        {'kind': 'volume', 'max_change': 0.9, 'scale': 'linear'},
        {'kind': 'displacement'},
    ],
}


@pytest.mark.parametrize('with_dynamics', [False, True], ids=['alone', 'with the barostat'])
@pytest.mark.parametrize('moves', VOLUME_MOVES.values(), ids=VOLUME_MOVES.keys())
def test_volume_moves_sample_the_volumes_of_an_ideal_gas(moves, with_dynamics):
    """``p(V) ∝ V^N exp(-P V/kT)``: a gamma distribution of shape N + 1, with and without dynamics."""
    volumes, pressure = volumes_of_ideal_gas(moves, with_dynamics, 15_000, seed=5)
    reduced = volumes[200:] * pressure / KT
    assert_mean(reduced, 5, resolution=0.1)
    assert_mean((reduced - 5) ** 2, 5, resolution=0.3)
    assert stats.kstest(reduced[::20], stats.gamma(5).cdf).pvalue > 1e-5
