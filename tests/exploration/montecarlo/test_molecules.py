"""Translations and rotations move one molecule as a rigid body, and sample exact distributions."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from scipy import stats
from support.errors import refused
from support.model_systems import KT, assert_mean, make, make_system

from aiida_mlip_autopipe.calculators.evaluation import Evaluation
from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.exploration.montecarlo.settings import MonteCarloSettings
from aiida_mlip_autopipe.exploration.montecarlo.trials import MonteCarlo

FIELD = 2.0 * KT  # energy of a dipole across the field
SPRING = 1.0
BOTH = [{'kind': 'translation', 'max_displacement_A': 0.4}, {'kind': 'rotation', 'max_angle_deg': 120}]


class DipolesInField:
    """Pairs of atoms as dipoles ``(r₂ - r₁)/d`` in a field along z, with harmonic tethers at their centres."""

    def __init__(self, centres, distances):
        self.centres, self.distances = centres, distances

    def __call__(self, positions, cell):
        pairs = positions.reshape(-1, 2, 3)
        cosines = (pairs[:, 1, 2] - pairs[:, 0, 2]) / self.distances
        displaced = pairs.mean(axis=1) - self.centres
        energy = -FIELD * cosines.sum() + 0.5 * SPRING * (displaced**2).sum()
        return Evaluation(float(energy), np.zeros_like(positions), np.zeros(6))


def run(moves, n_rounds, seed=1):
    """Return the positions of two dipoles (rounds, 2, 2, 3) after each round, and the statistics of the moves.

    The first dipole crosses the boundary of the cell.
    """
    rng = np.random.default_rng(seed)
    centres, distances = np.array([[0.0, 0.0, 0.0], [4.0, 4.0, 4.0]]), np.array([1.2, 1.6])
    half = np.array([1.0, 0.0, 0.0]) * distances[:, np.newaxis] / 2
    positions = np.stack([centres - half, centres + half], axis=1).reshape(4, 3)
    system = make_system(positions, 8 * np.eye(3), [20.0] * 4, rng=rng)
    integrator = make('langevin', system, DipolesInField(centres, distances), 1.0, rng)
    atoms = Atoms('HFHF', positions, cell=system.cell, pbc=True)
    settings = MonteCarloSettings(moves=moves, n_trials=4)
    monte_carlo = MonteCarlo(settings, atoms, system.free, 'nvt', None, molecules=np.array([1, 1, 2, 2]))
    series = []
    for _ in range(n_rounds):
        monte_carlo.run_round(integrator)
        series.append(system.positions.reshape(2, 2, 3).copy())
    return np.array(series), distances, centres, monte_carlo.summary()


@pytest.mark.physics
def test_dipoles_have_the_exact_distributions_of_orientations_and_centres():
    """``p(cos θ) ∝ exp(x cos θ)`` with the Langevin function as its mean; a Gaussian for the centres."""
    series, distances, centres, _ = run(BOTH, 5_000)
    vectors = series[200:, :, 1] - series[200:, :, 0]
    lengths = np.linalg.norm(vectors, axis=2)
    np.testing.assert_allclose(lengths, np.broadcast_to(distances, lengths.shape), rtol=1e-12)
    ratio = FIELD / KT
    langevin = 1 / np.tanh(ratio) - 1 / ratio
    for number in range(2):
        cosines = vectors[:, number, 2] / distances[number]
        assert_mean(cosines, langevin, resolution=0.3)
        assert_mean(cosines**2, 1 - 2 * langevin / ratio, resolution=0.3)
        cumulative = (np.exp(ratio * cosines[::20]) - np.exp(-ratio)) / (2 * np.sinh(ratio))
        assert stats.kstest(cumulative, 'uniform').pvalue > 1e-5
        displaced = series[200:, number].mean(axis=1) - centres[number]
        assert_mean((displaced**2).sum(axis=1), 3 * KT / SPRING, resolution=0.3)
        for component in displaced.T:
            assert stats.kstest(component[::20], stats.norm(scale=np.sqrt(KT / SPRING)).cdf).pvalue > 1e-5


@pytest.mark.parametrize(('move', 'fixed'), [(BOTH[0], 'orientation'), (BOTH[1], 'centre')])
def test_a_move_changes_only_the_centre_or_only_the_orientation_of_one_molecule(move, fixed):
    series, _, _, _ = run([move], 50)
    properties = {'orientation': series[:, :, 1] - series[:, :, 0], 'centre': series.mean(axis=2)}
    unchanged = properties.pop(fixed)
    np.testing.assert_allclose(unchanged, np.broadcast_to(unchanged[0], unchanged.shape), atol=1e-12)
    (changed,) = properties.values()
    assert (np.ptp(changed, axis=0) > 0.1).any(axis=1).all()  # of both molecules


@pytest.mark.parametrize('kind', ['translation', 'rotation'])
def test_molecules_stay_whole_across_the_boundaries_of_the_cell(job_folder, molecules, kind):
    monte_carlo = {'moves': [{'kind': kind}], 'n_md_steps': 1, 'n_trials': 20}
    settings = {'ensemble': 'nvt', 'n_steps': 4, 'timestep_fs': 1e-6, 'monte_carlo': monte_carlo}
    folder = job_folder().write(molecules, settings, molecular=True)
    result = folder.run()
    assert result.outcome == 'completed'
    assert result.statistics['moves'][0]['accepted'] > 10
    last = folder.frames().positions[-1]
    for number in (1, 2, 3):
        members = molecules.get_tags() == number
        before, after = (positions[members] for positions in (molecules.positions, last))
        assert np.linalg.norm(after - before) > 1e-3
        np.testing.assert_allclose(
            np.linalg.norm(after - after[0], axis=1), np.linalg.norm(before - before[0], axis=1), atol=1e-6
        )


@pytest.mark.parametrize(
    ('kind', 'numbers', 'fixed', 'allowed'),
    [
        ('translation', None, [], False),
        ('rotation', None, [], False),
        ('translation', [1, 2, 3, 4], [], True),
        ('rotation', [1, 2, 3, 4], [], False),
        ('rotation', [1, 2, 3, 3], [], True),
        ('rotation', [1, 2, 3, 3], [3], False),
        ('translation', [1, 1, 2, 2], [1, 3], False),
        ('rotation', [0, 0, 1, 1], [3], False),
    ],
)
def test_a_move_without_a_molecule_that_it_can_change_is_refused(kind, numbers, fixed, allowed):
    atoms = Atoms('H4', [[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], cell=[9, 9, 9], pbc=True)
    free = ~np.isin(np.arange(4), fixed)
    settings = MonteCarloSettings(moves=[{'kind': kind}])
    molecules = None if numbers is None else np.array(numbers)
    if allowed:
        MonteCarlo(settings, atoms, free, 'nvt', None, molecules)
        return
    with refused(Code.MOVE_IMPOSSIBLE):
        MonteCarlo(settings, atoms, free, 'nvt', None, molecules)
