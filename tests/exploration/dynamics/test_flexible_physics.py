"""A cell that changes its shape samples its ensemble: statistics are compared with exact results."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms, units
from scipy import stats
from support.model_systems import (
    KT,
    TEMPERATURE_K,
    LengthSprings,
    ShapeSprings,
    StrainSprings,
    assert_mean,
    crystal_of_springs,
    make,
    make_system,
)

from aiida_mlip_autopipe.exploration.dynamics.cells import VOIGT
from aiida_mlip_autopipe.exploration.montecarlo.settings import MonteCarloSettings
from aiida_mlip_autopipe.exploration.montecarlo.trials import MonteCarlo

pytestmark = pytest.mark.physics

OBLIQUE = np.array([[6.0, 0.0, 0.0], [2.0, 5.0, 0.0], [-1.0, 1.0, 7.0]])
RECTANGULAR = np.diag([6.0, 5.0, 7.0])


def gas(n_atoms, cell, rng):
    positions = rng.uniform(size=(n_atoms, 3)) @ cell
    return make_system(positions, cell, np.linspace(10.0, 60.0, n_atoms), rng=rng)


def strain_of(cell, reference):
    """Return the Lagrangian strain (3, 3), from the metric tensors of the cells."""
    inverse = np.linalg.inv(reference)
    return 0.5 * (inverse @ (cell @ cell.T) @ inverse.T - np.eye(3))


def run_gas(
    model, box, n_atoms, n_steps, measure, seed=1, barostat_time_fs=30.0, timestep_fs=2.0, after_step=None, **settings
):
    """Return what `measure` returns for the cell after each step of an ideal gas in a box with an elastic energy."""
    rng = np.random.default_rng(seed)
    system = gas(n_atoms, box, rng)
    integrator = make(
        'npt', system, model, timestep_fs, rng, thermostat_time_fs=20.0, barostat_time_fs=barostat_time_fs, **settings
    )
    # Critical damping gives the shortest correlation times. The friction does not affect the distribution.
    integrator.cell_friction = 2.0 * np.sqrt(model.stiffness / integrator.cell_mass)
    measured = []
    for step in range(n_steps):
        integrator.step()
        if after_step:
            after_step(integrator, step)
        measured.append(measure(system.cell))
    return np.array(measured[500:])


def test_the_lengths_of_an_anisotropic_cell_have_their_exact_distribution():
    """``U = K/2 Σ ln²(a/a₀)`` and the measure ``V^(N+1) Π da/a`` give Gaussians of ``ln(a/a₀)``.

    Their mean is ``(N + 1) kT/K``, which depends on the power of the volume, and their variance is ``kT/K``.
    """
    n_atoms, stiffness = 4, 25 * KT
    lengths = np.linalg.norm(OBLIQUE, axis=1)
    angles = []

    def measure(cell):
        now = np.linalg.norm(cell, axis=1)
        angles.append((cell / now[:, None]) @ (cell / now[:, None]).T)
        return np.log(now / lengths)

    strains = run_gas(
        LengthSprings(OBLIQUE, stiffness), OBLIQUE, n_atoms, 16_000, measure, barostat_time_fs=15.0, cell='anisotropic'
    )
    mean = (n_atoms + 1) * KT / stiffness
    for strain in strains.T:
        assert_mean(strain, mean, resolution=0.2)
        assert_mean((strain - mean) ** 2, KT / stiffness, resolution=0.3)
    assert np.ptp(angles, axis=0).max() < 1e-11


def exact_moments(n_atoms, stiffness, directions, reference, tension, power):
    """Return means and covariances of the strains, by weighting Gaussian strains with a power of ``det(1 + 2 η)``.

    ``U - V₀ tr(t η) = K/2 tr (η - V₀ t/K)²`` up to a constant, and the invariant measure of metric tensors ``M`` in d
    dimensions is ``det(M)^(-(d+1)/2) dM``. With ``V^(N+1)``, the weight is ``det(M)^((N-d)/2)``.
    """
    rng = np.random.default_rng(99)
    d, n_samples = len(directions), 400_000
    noise = rng.normal(scale=np.sqrt(KT / stiffness), size=(n_samples, d, d))
    strains = (noise + noise.transpose(0, 2, 1)) / 2
    strains += abs(np.linalg.det(reference)) * tension[np.ix_(directions, directions)] / stiffness
    weights = np.maximum(np.linalg.det(np.eye(d) + 2 * strains), 0.0) ** power
    weights = weights / weights.sum()
    mean = np.einsum('s,sij->ij', weights, strains)
    return mean, np.einsum('s,sij->ij', weights, (strains - mean) ** 2)


@pytest.mark.parametrize('cell_setting', ['flexible', 'in_plane'])
def test_strains_under_a_tension_have_their_exact_distribution(cell_setting):
    """The tension stretches along x, compresses along y, and shears. The sign is that of ASE's stress."""
    d = 3 if cell_setting == 'flexible' else 2
    n_atoms, stiffness = 6, 150 * KT
    directions = list(range(d))
    tension = np.zeros((3, 3))
    tension[0, 0], tension[1, 1], tension[0, 1] = 0.15, -0.1, 0.1
    tension[1, 0] = tension[0, 1]
    tension *= stiffness / abs(np.linalg.det(RECTANGULAR))
    components = np.array([tension[i, j] for i, j in VOIGT])
    mean, variance = exact_moments(n_atoms, stiffness, directions, RECTANGULAR, tension, (n_atoms - d) / 2)
    assert mean[0, 0] > 0.1
    assert mean[0, 1] > 0.05
    strains = run_gas(
        StrainSprings(RECTANGULAR, stiffness),
        RECTANGULAR,
        n_atoms,
        12_000,
        lambda cell: np.append(strain_of(cell, RECTANGULAR).ravel(), cell[2]),
        barostat_time_fs=20.0,
        cell=cell_setting,
        tension=components,
    )
    third, strains = strains[:, 9:], strains[:, :9].reshape(-1, 3, 3)
    for i, j in VOIGT:
        if i >= d or j >= d:
            continue
        width = np.sqrt(variance[i, j])
        # The strains are shifted by one standard deviation, so that an expected mean is never zero.
        assert_mean((strains[:, i, j] - mean[i, j]) / width + 1.0, 1.0, resolution=0.25)
        assert_mean((strains[:, i, j] - mean[i, j]) ** 2, variance[i, j], resolution=0.3)
    if cell_setting == 'in_plane':
        assert np.array_equal(third, np.broadcast_to(RECTANGULAR[2], third.shape))


def mean_square_shear(stiffness):
    """Return ``<Σ (ε_i - ε̄)²>`` for ``U = K/2 Σ (ε_i - ε̄)²`` of the logarithmic strains.

    The invariant measure of metric tensors is ``Π dε Π sinh |ε_i - ε_j|`` in the logarithms of the stretches.
    """
    grid = np.linspace(-1.0, 1.0, 401) * 8 * np.sqrt(KT / stiffness)
    first, second = np.meshgrid(grid, grid)
    third = -first - second
    squares = first**2 + second**2 + third**2
    weights = np.exp(-0.5 * stiffness * squares / KT)
    for difference in (first - second, second - third, first - third):
        weights = weights * np.abs(np.sinh(difference))
    return float((weights * squares).sum() / weights.sum())


@pytest.mark.parametrize('with_moves', [False, True], ids=['barostat', 'barostat and volume moves'])
def test_an_ideal_gas_in_a_flexible_cell_has_the_volumes_of_an_isotropic_one(with_moves):
    """``p(V) ∝ V^N exp(-P V/kT)`` if the energy, which limits the shape, does not depend on the volume."""
    n_atoms, stiffness = 4, 6 * KT
    pressure = (n_atoms + 1) * KT / 216.0
    cell = 6 * np.eye(3)
    model = ShapeSprings(cell, stiffness)
    settings = MonteCarloSettings(moves=({'kind': 'volume', 'max_change': 0.4},), n_md_steps=10, n_trials=1)
    monte_carlo = MonteCarlo(
        settings, Atoms('Ar4', cell=cell, pbc=True), np.ones(n_atoms, bool), 'npt_flexible', distance_factor=None
    )

    def after_step(integrator, step):
        if with_moves and monte_carlo.is_due(step + 1):
            monte_carlo.run_round(integrator)

    measured = run_gas(
        model,
        cell,
        n_atoms,
        8_000 if with_moves else 16_000,
        lambda cell: (np.linalg.det(cell), model.shear_squared(cell)),
        pressure=pressure,
        barostat_time_fs=10.0,
        cell='flexible',
        after_step=after_step,
    )
    volumes, shears = measured.T
    assert_mean(volumes, (n_atoms + 1) * KT / pressure, resolution=0.15)
    assert_mean((volumes * pressure / KT - n_atoms - 1) ** 2, n_atoms + 1, resolution=0.6)
    assert stats.kstest(volumes[::200] * pressure / KT, stats.gamma(n_atoms + 1).cdf).pvalue > 1e-5
    assert_mean(shears, mean_square_shear(stiffness), resolution=0.25)
    assert not with_moves or 0.1 < monte_carlo.moves[0].n_accepted / monte_carlo.moves[0].n_tried < 0.9


def test_strain_fluctuations_of_a_cold_crystal_agree_with_its_elastic_constants():
    """``<η η> = kT S/V``, with the compliances S from second differences of the static energy."""
    positions, cell, springs = crystal_of_springs(1)

    def energy(strain):
        deformation = np.linalg.cholesky(np.eye(3) + 2 * strain).T
        return springs(positions @ deformation, cell @ deformation).energy

    def component(index, size):
        strain = np.zeros((3, 3))
        i, j = VOIGT[index]
        strain[i, j] += size / 2
        strain[j, i] += size / 2
        return strain

    h = 1e-3
    stiffness = np.array(
        [
            [
                sum(s * t * energy(component(a, s * h) + component(b, t * h)) for s in (1, -1) for t in (1, -1))
                for b in range(6)
            ]
            for a in range(6)
        ]
    ) / (4 * h**2)
    temperature_K = 1.0
    expected = units.kB * temperature_K * np.linalg.inv(stiffness)

    rng = np.random.default_rng(9)
    system = make_system(positions, cell, 63.5, rng=rng)
    system.momenta *= np.sqrt(temperature_K / TEMPERATURE_K)
    integrator = make('npt', system, springs, 4.0, rng, barostat_time_fs=150.0, cell='flexible')
    integrator.set_targets(temperature_K, 0.0)
    strains = []
    for _ in range(12_000):
        integrator.step()
        strain = strain_of(system.cell, cell)
        strains.append([strain[i, j] * (1 if i == j else 2) for i, j in VOIGT])
    strains = np.array(strains[1000:])
    assert abs(strains.mean(axis=0)).max() < 0.3 * np.sqrt(expected.diagonal().min())
    for a in range(6):
        assert_mean(strains[:, a] ** 2, expected[a, a], resolution=0.5)
    for a, b in ((0, 1), (1, 2), (0, 2)):
        assert expected[a, b] < -0.2 * expected[a, a]
        assert_mean(strains[:, a] * strains[:, b], expected[a, b], resolution=0.8)


@pytest.mark.parametrize('cell_setting', ['anisotropic', 'flexible', 'in_plane'])
def test_without_friction_a_conserved_quantity_is_constant_to_second_order(cell_setting):
    """``U + K + Σ p_k²/2W + P V - V₀ tr(t η) - kT ln V`` is conserved."""
    tension = np.array([0.01, -0.005, 0.0, 0.0, 0.0, 0.005])
    positions, cell, springs = crystal_of_springs(1)

    def energies(timestep_fs):
        rng = np.random.default_rng(11)
        system = make_system(positions, cell, [20.0, 40.0, 63.0, 80.0], rng=rng)
        integrator = make(
            'npt', system, springs, timestep_fs, rng, 0.01, 40.0, 1e15, cell=cell_setting, tension=tension
        )
        integrator.cell_friction = 0.0
        found = []
        for _ in range(int(500 / timestep_fs)):
            integrator.step()
            strain = strain_of(system.cell, cell)
            work = 0.01 * system.volume - KT * np.log(system.volume)
            for weight, (i, j), t in zip((1, 1, 1, 2, 2, 2), VOIGT, tension, strict=True):
                work -= np.linalg.det(cell) * weight * t * strain[i, j]
            of_cell = 0.5 * np.sum(system.cell_momentum**2) / integrator.cell_mass
            found.append(integrator.evaluation.energy + system.kinetic_energy + of_cell + work)
        assert np.ptp(strain) > 0.002
        return np.array(found)

    coarse, fine = energies(1.0), energies(0.5)
    assert np.std(coarse) / np.std(fine) == pytest.approx(4.0, rel=0.4)
    assert np.ptp(fine) / 9 < 0.05 * KT


def test_a_shear_tension_does_not_rotate_an_isotropic_solid():
    """Stress, strain and their rates have the same axes, so the deformation gradient remains symmetric."""
    rng = np.random.default_rng(5)
    cell = RECTANGULAR
    system = gas(3, cell, rng)
    system.momenta[:] = 0.0
    tension = np.array([0.5, -0.2, 0.1, 0.3, -0.4, 0.6]) / 5
    integrator = make(
        'npt', system, StrainSprings(cell, 100.0), 1.0, rng, barostat_time_fs=50.0, cell='flexible', tension=tension
    )
    integrator.set_targets(0.0, 0.0)
    largest = 0.0
    for _ in range(300):
        integrator.step()
        gradient = np.linalg.solve(cell, system.cell)
        largest = max(largest, np.abs(gradient - np.eye(3)).max())
        assert np.abs(gradient - gradient.T).max() < 1e-12
    assert largest > 0.05


def test_the_choice_of_the_cell_vectors_does_not_matter_in_a_flexible_cell():
    """The same lattice with other cell vectors follows the same trajectory."""
    other = np.array([[1, 0, 1], [0, 1, 1], [1, 1, 1]])
    cells = []
    for vectors in (np.eye(3), other):
        rng = np.random.default_rng(3)
        positions, cell, _ = crystal_of_springs(1)
        system = make_system(positions, vectors @ cell, 63.5, rng=rng)
        # The energy depends on the strain, which does not depend on the choice of the vectors.
        model = StrainSprings(vectors @ cell, 80.0)
        integrator = make('npt', system, model, 2.0, rng, cell='flexible', tension=np.array([0.1, 0, 0, 0, 0.05, 0]))
        for _ in range(200):
            integrator.step()
        cells.append(np.linalg.solve(vectors, system.cell))
    np.testing.assert_allclose(cells[0], cells[1], rtol=0, atol=1e-9)
    assert np.abs(cells[0] - cell).max() > 0.05


@pytest.mark.parametrize('cell_setting', ['anisotropic', 'flexible', 'in_plane'])
def test_a_drift_is_the_same_in_one_step_or_two(cell_setting):
    """The sub-step is the exact solution for constant momenta, whatever its length."""
    ends = []
    for n_parts in (1, 2):
        rng = np.random.default_rng(8)
        system = gas(3, OBLIQUE, rng)
        integrator = make('npt', system, StrainSprings(OBLIQUE, 1.0), 1.0, rng, cell=cell_setting)
        system.cell_momentum = integrator.cell_mass * 1e-2 * rng.normal(size=system.cell_momentum.shape)
        for _ in range(n_parts):
            integrator.drift(20.0 / n_parts)
        ends.append((system.positions, system.cell))
    np.testing.assert_allclose(ends[0][0], ends[1][0], rtol=1e-12)
    np.testing.assert_allclose(ends[0][1], ends[1][1], rtol=1e-12, atol=1e-12)
    assert np.abs(system.cell - OBLIQUE).max() > 0.1
