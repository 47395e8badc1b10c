"""Model systems with known statistics, and means with error estimates."""

from __future__ import annotations

import numpy as np
from ase import units

from aiida_mlip_autopipe.calculators.evaluation import Evaluation
from aiida_mlip_autopipe.exploration.dynamics.flexible import FlexiblePiston
from aiida_mlip_autopipe.exploration.phase_space import (
    Bussi,
    Langevin,
    LangevinPiston,
    PhaseSpace,
    VelocityVerlet,
)

TEMPERATURE_K = 300.0
KT = units.kB * TEMPERATURE_K

# Five standard errors: one false failure in two million comparisons.
N_SIGMA = 5.0


def standard_error(series: np.ndarray, n_blocks: int = 40) -> float:
    """Return the standard error of the mean of a correlated series, from the scatter of its block means."""
    blocks = np.array_split(np.asarray(series, dtype=float), n_blocks)
    means = [block.mean() for block in blocks]
    return float(np.std(means, ddof=1) / np.sqrt(n_blocks))


def assert_mean(series: np.ndarray, expected: float, resolution: float) -> None:
    """Compare a mean with its expected value.

    The test fails if they differ by more than five standard errors, or if the standard error is too large to detect a
    relative deviation of ``resolution``.
    """
    error = standard_error(series)
    deviation = (np.mean(series) - expected) / error
    assert abs(deviation) < N_SIGMA, f'{np.mean(series):.5g} instead of {expected:.5g}, {deviation:.1f} standard errors'
    assert N_SIGMA * error < resolution * abs(expected), f'too noisy: standard error {error:.3g} of {expected:.4g}'


class IdealGas:
    """An ideal gas, without forces."""

    def __call__(self, positions, cell):
        return Evaluation(0.0, np.zeros_like(positions), np.zeros(6))


class Springs:
    """Harmonic springs between pairs of atoms of a periodic crystal, with the stress.

    ``U = k/2 Σ (r - r0)²`` over pairs with fixed images.
    """

    def __init__(self, first, second, shifts, constant, length):
        self.first, self.second, self.shifts = first, second, shifts
        self.constant, self.length = constant, length

    def __call__(self, positions, cell):
        vectors = positions[self.second] + self.shifts @ cell - positions[self.first]
        distances = np.sqrt((vectors**2).sum(axis=1))
        stretch = distances - self.length
        pulls = (self.constant * stretch / distances)[:, np.newaxis] * vectors
        forces = np.zeros_like(positions)
        np.add.at(forces, self.first, pulls)
        np.add.at(forces, self.second, -pulls)
        stress = vectors.T @ pulls / abs(np.linalg.det(cell))
        energy = 0.5 * self.constant * (stretch**2).sum()
        return Evaluation(float(energy), forces, stress[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]])


class Tethers:
    """A harmonic tether of each atom to a point in space. It does not conserve the momentum."""

    def __init__(self, anchors, constants):
        self.anchors, self.constants = anchors, np.reshape(constants, (-1, 1))

    def __call__(self, positions, cell):
        displacements = positions - self.anchors
        return Evaluation(
            float(0.5 * (self.constants * displacements**2).sum()), -self.constants * displacements, np.zeros(6)
        )


class SoftSpheres:
    """``U = ε Σ (1 - r²/r_c²)³`` below r_c in a cubic cell with periodic images: a smooth, chaotic fluid."""

    def __init__(self, energy, cutoff):
        self.energy, self.cutoff = energy, cutoff

    def __call__(self, positions, cell):
        edge = cell[0, 0]
        first, second = np.triu_indices(len(positions), 1)
        vectors = positions[second] - positions[first]
        vectors -= edge * np.round(vectors / edge)
        inside = 1.0 - (vectors**2).sum(axis=1) / self.cutoff**2
        inside = np.maximum(inside, 0.0)
        pushes = (6.0 * self.energy / self.cutoff**2 * inside**2)[:, np.newaxis] * vectors
        forces = np.zeros_like(positions)
        np.add.at(forces, second, pushes)
        np.add.at(forces, first, -pushes)
        stress = -(vectors.T @ pushes) / edge**3
        return Evaluation(
            float(self.energy * (inside**3).sum()), forces, stress[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]
        )


class CellSprings:
    """An ideal gas in a box whose elastic energy depends on the cell only."""

    def __init__(self, reference, stiffness):
        self.reference, self.stiffness = np.array(reference), stiffness

    def __call__(self, positions, cell):
        energy, virial = self.energy_and_virial(cell)
        stress = virial / abs(np.linalg.det(cell))
        return Evaluation(float(energy), np.zeros_like(positions), stress[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]])


class LengthSprings(CellSprings):
    """``U = K/2 Σ ln²(a/a₀)`` of the lengths of the cell vectors."""

    def energy_and_virial(self, cell):
        lengths = np.linalg.norm(cell, axis=1)
        strains = np.log(lengths / np.linalg.norm(self.reference, axis=1))
        directions = cell / lengths[:, np.newaxis]
        energy = 0.5 * self.stiffness * (strains**2).sum()
        return energy, self.stiffness * (directions.T * strains) @ directions


class StrainSprings(CellSprings):
    """``U = K/2 tr η²`` of the Lagrangian strain ``η = (Fᵀ F - 1)/2``."""

    def energy_and_virial(self, cell):
        gradient = np.linalg.inv(self.reference) @ cell
        strain = 0.5 * (gradient @ gradient.T - np.eye(3))
        return 0.5 * self.stiffness * (strain**2).sum(), self.stiffness * gradient.T @ strain @ gradient


class ShapeSprings(CellSprings):
    """``U = K/2 Σ (ε - ε̄)²`` of the logarithmic strains ``ε``. It does not depend on the volume."""

    def shear(self, cell):
        gradient = np.linalg.inv(self.reference) @ cell
        values, vectors = np.linalg.eigh(gradient.T @ gradient)
        strains = 0.5 * np.log(values)
        return (vectors * (strains - strains.mean())) @ vectors.T

    def shear_squared(self, cell):
        return (self.shear(cell) ** 2).sum()

    def energy_and_virial(self, cell):
        shear = self.shear(cell)
        return 0.5 * self.stiffness * (shear**2).sum(), self.stiffness * shear


def make_system(positions, cell, masses, free=None, rng=None) -> PhaseSpace:
    """Return a state with thermal momenta."""
    n = len(positions)
    system = PhaseSpace(
        positions=np.array(positions, dtype=float),
        momenta=np.zeros((n, 3)),
        cell=np.array(cell, dtype=float),
        masses=np.broadcast_to(np.reshape(masses, (-1, 1)), (n, 1)).astype(float),
        free=np.ones(n, dtype=bool) if free is None else free,
    )
    system.momenta = system.thermal_momenta(TEMPERATURE_K, rng or np.random.default_rng(0))
    return system


def make(
    kind: str,
    system,
    evaluate,
    timestep_fs,
    rng,
    pressure=0.0,
    barostat_time_fs=200.0,
    thermostat_time_fs=50.0,
    cell='isotropic',
    tension=None,
):
    """Return an integrator by its name, at the temperature of the tests."""
    common = (system, evaluate, evaluate(system.positions, system.cell), timestep_fs * units.fs, rng)
    relaxation_time = thermostat_time_fs * units.fs
    barostat = {
        'relaxation_time': relaxation_time,
        'barostat_time': barostat_time_fs * units.fs,
        'reference_temperature_K': TEMPERATURE_K,
    }
    integrator = {
        'nve': lambda: VelocityVerlet(*common),
        'langevin': lambda: Langevin(*common, relaxation_time=relaxation_time),
        'bussi': lambda: Bussi(*common, relaxation_time=relaxation_time),
        'npt': lambda: (
            LangevinPiston(*common, **barostat)
            if cell == 'isotropic'
            else FlexiblePiston(*common, **barostat, cell_setting=cell, tension=tension)
        ),
    }[kind]()
    integrator.set_targets(TEMPERATURE_K, pressure)
    return integrator


def crystal_of_springs(repeats: int = 2, constant: float = 2.0):
    """Return fcc copper with springs between nearest neighbours: positions, cell and forces."""
    from ase.build import bulk
    from ase.neighborlist import primitive_neighbor_list

    atoms = bulk('Cu', cubic=True) * (repeats, repeats, repeats)
    length = 3.61 / np.sqrt(2)
    first, second, shifts = primitive_neighbor_list('ijS', atoms.pbc, atoms.cell.array, atoms.positions, length * 1.1)
    # Each pair once. With two cells along each axis, all twelve neighbours are different atoms or images.
    half = np.array(
        [(i, *s) < (j, *(-s)) for i, j, s in zip(first.tolist(), second.tolist(), shifts, strict=True)], dtype=bool
    )
    springs = Springs(first[half], second[half], shifts[half].astype(float), constant, length)
    return atoms.positions, atoms.cell.array, springs
