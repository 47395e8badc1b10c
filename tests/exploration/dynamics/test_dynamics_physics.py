"""Each integrator samples its ensemble: statistics are compared with exact results."""

from __future__ import annotations

import numpy as np
import pytest
from ase import units
from scipy import linalg, stats
from support.model_systems import (
    KT,
    TEMPERATURE_K,
    IdealGas,
    SoftSpheres,
    Tethers,
    assert_mean,
    crystal_of_springs,
    make,
    make_system,
    standard_error,
)

pytestmark = pytest.mark.physics

FLUID = SoftSpheres(energy=2.0, cutoff=3.2)
EDGE = 6.4


def fluid_system(fixed, rng):
    """Eight soft spheres of three masses in a box: a fluid with a short correlation time."""
    grid = EDGE / 2 * np.array([[i, j, k] for i in range(2) for j in range(2) for k in range(2)], dtype=float)
    free = np.ones(8, dtype=bool)
    free[list(fixed)] = False
    masses = np.array([12.0, 40.0, 40.0, 100.0, 12.0, 40.0, 100.0, 12.0])
    return make_system(grid + rng.normal(scale=0.1, size=(8, 3)), EDGE * np.eye(3), masses, free, rng)


@pytest.mark.parametrize('fixed', [(), (0, 3)], ids=['all free', 'two fixed'])
@pytest.mark.parametrize('kind', ['langevin', 'bussi'])
def test_velocities_and_kinetic_energy_are_canonical(kind, fixed):
    rng = np.random.default_rng(1)
    system = fluid_system(fixed, rng)
    integrator = make(kind, system, FLUID, 1.0, rng, thermostat_time_fs=20.0)
    n_dof = 3 * (8 - len(fixed)) - (0 if fixed else 3)
    assert system.n_dof == n_dof
    n_steps, stride = 60_000, 60
    kinetic, squares, velocities = [], [], []
    for step in range(n_steps):
        integrator.step()
        kinetic.append(system.kinetic_energy)
        squares.append((system.momenta**2 / system.masses).sum(axis=1))
        if step % stride == 0:
            velocities.append(system.momenta[1, 0] / np.sqrt(system.masses[1, 0]))
    kinetic, squares = np.array(kinetic[500:]), np.array(squares[500:])

    assert_mean(kinetic, 0.5 * n_dof * KT, resolution=0.05)
    # The variance distinguishes the canonical distribution from others, such as that of Berendsen's thermostat.
    assert_mean((kinetic - 0.5 * n_dof * KT) ** 2, 0.5 * n_dof * KT**2, resolution=0.2)
    mass_fractions = system.masses[:, 0] / system.masses.sum()
    expected = 3 * KT * (1.0 - mass_fractions) if not fixed else np.full(8, 3 * KT)
    assert not squares[:, ~system.free].any()
    for mass in (12.0, 40.0, 100.0):
        group = system.free & (system.masses[:, 0] == mass)
        # With Bussi, only collisions distribute the energy among the atoms.
        resolution = 0.25 if kind == 'langevin' else 0.4
        assert_mean((squares[:, group] / expected[group]).mean(axis=1), 1.0, resolution)

    p_kinetic = stats.kstest(kinetic[::stride] / KT, stats.gamma(n_dof / 2).cdf).pvalue
    width = np.sqrt(KT * (1.0 if fixed else 1.0 - mass_fractions[1]))
    p_velocity = stats.kstest(velocities[10:], stats.norm(scale=width).cdf).pvalue
    assert min(p_kinetic, p_velocity) > 1e-5


@pytest.mark.parametrize('kind', ['nve', 'langevin', 'bussi', 'npt'])
def test_the_centre_of_mass_does_not_drift(kind):
    rng = np.random.default_rng(2)
    system = fluid_system((), rng)
    integrator = make(kind, system, FLUID, 2.0, rng)

    def scaled_centre():
        centre = (system.masses * system.positions).sum(axis=0) / system.masses.sum()
        return centre @ np.linalg.inv(system.cell)

    before = scaled_centre()
    for _ in range(5000):
        integrator.step()
    assert scaled_centre() == pytest.approx(before, abs=1e-10)
    assert np.abs(system.momenta.sum(axis=0)).max() < 1e-10


def test_four_free_atoms_have_nine_degrees_of_freedom():
    # With twelve degrees of freedom, a thermostat at 300 K would give 400 K.
    rng = np.random.default_rng(3)
    system = make_system(rng.uniform(0, EDGE, (4, 3)), EDGE * np.eye(3), 40.0, rng=rng)
    assert system.n_dof == 9
    integrator = make('bussi', system, FLUID, 1.0, rng, thermostat_time_fs=20.0)
    temperatures = []
    for _ in range(20_000):
        integrator.step()
        temperatures.append(system.temperature_K)
    assert_mean(temperatures[500:], TEMPERATURE_K, resolution=0.1)


def test_a_slab_with_fixed_atoms_has_the_target_temperature():
    # A Nosé–Hoover chain that counted the fixed atoms gave 1.8 K for the other atoms.
    rng = np.random.default_rng(4)
    system = fluid_system((0, 1, 2, 3), rng)
    integrator = make('langevin', system, FLUID, 1.0, rng, thermostat_time_fs=20.0)
    anchors = system.positions[:4].copy()
    temperatures = []
    for _ in range(20_000):
        integrator.step()
        temperatures.append(system.temperature_K)
    assert_mean(temperatures[500:], TEMPERATURE_K, resolution=0.1)
    assert np.array_equal(system.positions[:4], anchors)


@pytest.mark.parametrize('omega_dt', [0.1, 1.0])
def test_a_harmonic_solid_has_exact_mean_energies_at_any_time_step(omega_dt):
    """B A O A B gives ``<U> = N_f k T / 2`` exactly. ``<K>`` is lower by the factor ``1 - (ω Δt)²/4``."""
    rng = np.random.default_rng(5)
    mass, timestep_fs = 50.0, 2.0
    omega = omega_dt / (timestep_fs * units.fs)
    anchors = np.arange(12.0).reshape(4, 3)
    free = np.array([True, True, True, False])
    system = make_system(anchors, 20 * np.eye(3), mass, free, rng)
    tethers = Tethers(anchors, mass * omega**2)
    integrator = make('langevin', system, tethers, timestep_fs, rng, thermostat_time_fs=timestep_fs * 10)
    potential, kinetic = [], []
    for _ in range(int(40_000 / min(1.0, omega_dt * 3))):
        integrator.step()
        potential.append(integrator.evaluation.energy)
        kinetic.append(system.kinetic_energy)
    half = 0.5 * 9 * KT
    assert_mean(potential[100:], half, resolution=0.1)
    assert_mean(kinetic[100:], half * (1 - omega_dt**2 / 4), resolution=0.1)


class ConstantNormal:
    """A random generator that always returns the same normal number."""

    def __init__(self, number):
        self.number = number

    def standard_normal(self, shape):
        return np.full(shape, self.number)


def linear_step(timestep_fs, constant, mass, relaxation_fs):
    """Return M and b of one step ``(q, p) ← M (q, p) + b ξ`` of a tethered atom along one axis."""
    columns = []
    for q, p, noise in ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)):
        anchors = np.zeros((2, 3))
        system = make_system(anchors, 20 * np.eye(3), mass, np.array([True, False]))
        system.positions[0, 0], system.momenta[:] = q, 0.0
        system.momenta[0, 0] = p
        tethers = Tethers(anchors, constant)
        make('langevin', system, tethers, timestep_fs, ConstantNormal(noise), thermostat_time_fs=relaxation_fs).step()
        columns.append((system.positions[0, 0], system.momenta[0, 0]))
    map_and_noise = np.array(columns).T
    return map_and_noise[:, :2], map_and_noise[:, 2:]


@pytest.mark.parametrize('omega_dt', [0.3, 1.2])
def test_one_step_preserves_the_canonical_distribution_of_positions(omega_dt):
    """The stationary covariance of a step, ``C = M C Mᵀ + b bᵀ``, is computed without sampling.

    It is ``k T / k`` for the positions at any time step, and zero between positions and momenta. Neither is true if the
    halves of B or A are unequal.
    """
    mass, timestep_fs = 50.0, 2.0
    constant = mass * (omega_dt / (timestep_fs * units.fs)) ** 2
    step, noise = linear_step(timestep_fs, constant, mass, relaxation_fs=10.0)
    covariance = linalg.solve_discrete_lyapunov(step, noise @ noise.T)
    assert covariance[0, 0] == pytest.approx(KT / constant, rel=1e-10)
    assert covariance[1, 1] == pytest.approx(mass * KT * (1 - omega_dt**2 / 4), rel=1e-10)
    assert abs(covariance[0, 1]) < 1e-10 * np.sqrt(covariance[0, 0] * covariance[1, 1])


def test_momenta_decay_with_the_time_constant_of_the_langevin_thermostat():
    step, _ = linear_step(2.0, 0.0, 50.0, relaxation_fs=10.0)
    assert step[1, 1] == pytest.approx(np.exp(-0.2), rel=1e-12)


@pytest.mark.parametrize('start', [0.2, 3.0])
def test_kinetic_energy_decays_with_the_time_constant_of_the_bussi_thermostat(start):
    """``<K> → K̄ + (K - K̄) exp(-Δt/τ)`` in one step. This is not a stationary average."""
    rng = np.random.default_rng(10)
    system = fluid_system((), rng)
    integrator = make('bussi', system, FLUID, 1.0, rng, thermostat_time_fs=20.0)
    canonical = 0.5 * system.n_dof * KT
    momenta = system.momenta * np.sqrt(start * canonical / system.kinetic_energy)
    kinetic = []
    for _ in range(4000):
        system.momenta = momenta
        integrator.thermalise(10 * units.fs)
        kinetic.append(system.kinetic_energy)
    assert_mean(kinetic, canonical * (1 + (start - 1) * np.exp(-0.5)), resolution=0.05)


def test_nve_conserves_the_energy_to_second_order():
    def total_energies(timestep_fs):
        rng = np.random.default_rng(6)
        system = fluid_system((), rng)
        integrator = make('nve', system, FLUID, timestep_fs, rng)
        energies = []
        for _ in range(int(20_000 / timestep_fs)):
            integrator.step()
            energies.append(integrator.evaluation.energy + system.kinetic_energy)
        return np.array(energies)

    coarse, fine = total_energies(2.0), total_energies(1.0)
    assert np.std(coarse) / np.std(fine) == pytest.approx(4.0, rel=0.4)
    # Less than 0.001 kT per degree of freedom in 20 ps, without a trend beyond the noise of the blocks.
    assert abs(fine[-5000:].mean() - fine[:5000].mean()) / 21 < 1e-3 * KT
    assert np.ptp(fine) / 21 < 0.05 * KT


def ideal_gas_volumes(run, n_steps, n_atoms=4, seed=7):
    """Return the volumes of an ideal gas, at a pressure that gives a cell length of about 6 Å."""
    rng = np.random.default_rng(seed)
    pressure = (n_atoms + 1) * KT / 216.0
    system = make_system(rng.uniform(0, 6, (n_atoms, 3)), 6 * np.eye(3), [10.0, 20.0, 40.0, 80.0][:n_atoms], rng=rng)
    integrator = make('npt', system, IdealGas(), 2.0, rng, pressure=pressure, barostat_time_fs=40.0)
    volumes = run(system, integrator, n_steps)
    return np.array(volumes), pressure


def assert_gamma_distributed(volumes, n_atoms, pressure, stride):
    """``p(V) ∝ V^N exp(-P V/kT)``: a gamma distribution of shape N + 1."""
    assert_mean(volumes, (n_atoms + 1) * KT / pressure, resolution=0.1)
    assert_mean((volumes * pressure / KT - n_atoms - 1) ** 2, n_atoms + 1, resolution=0.3)
    assert stats.kstest(volumes[::stride] * pressure / KT, stats.gamma(n_atoms + 1).cdf).pvalue > 1e-5


def test_the_barostat_samples_the_volumes_of_an_ideal_gas():
    def run(system, integrator, n_steps):
        volumes = []
        for _ in range(n_steps):
            integrator.step()
            volumes.append(system.volume)
        return volumes

    volumes, pressure = ideal_gas_volumes(run, 120_000)
    assert_gamma_distributed(volumes[2000:], 4, pressure, stride=400)


def test_the_barostat_does_not_change_the_temperature():
    rng = np.random.default_rng(8)
    system = fluid_system((), rng)
    integrator = make('npt', system, FLUID, 1.0, rng, pressure=KT / 30, thermostat_time_fs=20.0)
    temperatures, cell_energies, virials = [], [], []
    for _ in range(40_000):
        integrator.step()
        temperatures.append(system.temperature_K)
        cell_energies.append(0.5 * system.cell_momentum**2 / integrator.cell_mass)
        stress = integrator.evaluation.stress[:3].sum() / 3
        virials.append(8 * KT / system.volume - stress)
    assert_mean(temperatures[1000:], TEMPERATURE_K, resolution=0.05)
    assert_mean(cell_energies[1000:], 0.5 * KT, resolution=0.2)
    # The mean internal pressure, with all 3 N degrees of freedom, equals the external one.
    assert_mean(virials[1000:], KT / 30, resolution=0.15)


def test_without_friction_the_piston_conserves_the_enthalpy_to_second_order():
    """``U + K + p_ε²/2W + P V - c k T ε`` is conserved, because the forces of atoms and cell act in pairs.

    A fast thermostat compensates for errors in the coupling of atoms and cell, so averages would not reveal them.
    """

    def enthalpies_of_run(timestep_fs):
        rng = np.random.default_rng(11)
        system = fluid_system((), rng)
        pressure = KT / 30
        integrator = make('npt', system, FLUID, timestep_fs, rng, pressure, thermostat_time_fs=1e15)
        integrator.cell_friction = 0.0
        enthalpies = []
        for _ in range(int(4000 / timestep_fs)):
            integrator.step()
            cell = 0.5 * system.cell_momentum**2 / integrator.cell_mass
            volume_term = pressure * system.volume - 3.0 * KT * np.log(system.volume) / 3.0
            enthalpies.append(integrator.evaluation.energy + system.kinetic_energy + cell + volume_term)
        return np.array(enthalpies)

    coarse, fine = enthalpies_of_run(2.0), enthalpies_of_run(1.0)
    assert np.std(coarse) / np.std(fine) == pytest.approx(4.0, rel=0.4)
    assert np.ptp(fine) / 21 < 0.05 * KT


def test_volume_fluctuations_of_a_crystal_agree_with_its_bulk_modulus():
    """``<δV²> = k T V / B``, with B from the curvature of the static energy."""
    rng = np.random.default_rng(9)
    positions, cell, springs = crystal_of_springs()
    volume = np.linalg.det(cell)
    strain = 1e-3
    energies = [springs(positions * scale, cell * scale).energy for scale in (1 - strain, 1.0, 1 + strain)]
    bulk_modulus = (energies[0] - 2 * energies[1] + energies[2]) / (9 * strain**2) / volume
    system = make_system(positions, cell, 63.5, rng=rng)
    integrator = make('npt', system, springs, 4.0, rng, barostat_time_fs=300.0)
    # At this low temperature the crystal is harmonic. The momenta equilibrate within a few steps.
    temperature_K = 1.0
    system.momenta *= np.sqrt(temperature_K / TEMPERATURE_K)
    integrator.set_targets(temperature_K, 0.0)
    volumes = []
    for _ in range(60_000):
        integrator.step()
        volumes.append(system.volume)
    volumes = np.array(volumes[3000:])
    variance = units.kB * temperature_K * volume / bulk_modulus
    assert_mean((volumes - volumes.mean()) ** 2, variance, resolution=0.2)
    assert abs(volumes.mean() - volume) < 0.01 * volume
    assert standard_error(volumes) < np.sqrt(variance)
