"""Integrators whose state is public. They count only the unconstrained degrees of freedom.

All of them compose exact sub-steps in the order B A O A B of Leimkuhler and Matthews, J. Chem. Phys. 138, 174102
(2013): B is a kick by the forces, A is a drift, and O is the thermostat. A step evaluates the forces once.

If no atom is fixed, the total momentum remains zero: after each sub-step that could change it, the momenta are
projected onto those with zero total. For Gaussian noise, this projection is exact, so the integrators sample the
canonical distribution of the remaining ``3 N - 3`` degrees of freedom. If atoms are fixed, each of the other atoms has
three degrees of freedom.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import units

from aiida_mlip_autopipe.calculators.evaluation import Evaluation

Evaluate = Callable[[np.ndarray, np.ndarray], Evaluation]


class EvaluationError(Exception):
    """The calculator raised an error for a structure."""


@dataclass
class PhaseSpace:
    """Positions, momenta and cell of the atoms, in ASE's units.

    Attributes
    ----------
    positions, momenta
        Arrays of shape (n, 3). Positions are not wrapped.
    cell
        Array of shape (3, 3); it may be left-handed.
    masses
        Array of shape (n, 1).
    free
        Boolean array of shape (n,): which atoms may move.
    cell_momentum
        For NPT: the momentum conjugate to the logarithm of the cell length. If the cell changes its shape, the momenta
        of its deformations (k,).
    """

    positions: np.ndarray
    momenta: np.ndarray
    cell: np.ndarray
    masses: np.ndarray
    free: np.ndarray
    cell_momentum: float | np.ndarray = 0.0

    def __post_init__(self) -> None:
        self.conserves_momentum = bool(self.free.all())
        self.n_dof = 3 * int(self.free.sum()) - (3 if self.conserves_momentum else 0)
        self._mobile = self.free[:, np.newaxis].astype(float)
        self._mass_fractions = self.masses / self.masses.sum()

    @property
    def volume(self) -> float:
        """Volume of the cell in Å³."""
        return float(abs(np.linalg.det(self.cell)))

    @property
    def kinetic_energy(self) -> float:
        """Kinetic energy in eV."""
        return float(0.5 * np.sum(self.momenta**2 / self.masses))

    @property
    def temperature_K(self) -> float:
        """Temperature of the unconstrained degrees of freedom, in K."""
        return 2.0 * self.kinetic_energy / (self.n_dof * units.kB) if self.n_dof else 0.0

    def project(self, momenta: np.ndarray) -> np.ndarray:
        """Return the momenta with those of fixed atoms set to zero. If no atom is fixed, remove the total momentum."""
        projected: np.ndarray
        if self.conserves_momentum:
            projected = momenta - self._mass_fractions * momenta.sum(axis=0)
        else:
            projected = momenta * self._mobile
        return projected

    def thermal_momenta(self, temperature_K: float, rng: np.random.Generator) -> np.ndarray:
        """Draw momenta from the Maxwell–Boltzmann distribution of the unconstrained degrees of freedom."""
        noise = rng.standard_normal(self.momenta.shape)
        return self.project(noise * np.sqrt(self.masses * units.kB * temperature_K))


class VelocityVerlet:
    """NVE, and the base class of the other integrators.

    Parameters
    ----------
    system
        The state, which is changed in place.
    evaluate
        A function that returns energy, forces and stress for positions and a cell.
    evaluation
        The evaluation of the initial state.
    timestep
        The time step in ASE's unit of time.
    rng
        The only source of randomness.
    """

    def __init__(
        self,
        system: PhaseSpace,
        evaluate: Evaluate,
        evaluation: Evaluation,
        timestep: float,
        rng: np.random.Generator,
    ):
        self.system = system
        self.evaluate = evaluate
        self.evaluation = evaluation
        self.timestep = timestep
        self.rng = rng
        self.temperature_K = 0.0
        self.pressure = 0.0
        # Each step is one evaluation, and there is nothing to report; see `StaticSteps`.
        self.n_substeps = 0
        self.reports: list[tuple[str, str]] = []

    def set_targets(self, temperature_K: float, pressure: float) -> None:
        """Set the temperature in K and the pressure in eV/Å³ for the next steps."""
        self.temperature_K = temperature_K
        self.pressure = pressure

    def work(self, cell: np.ndarray) -> float:
        """Return the work in eV against the pressure when the cell changes to another one (3, 3)."""
        return float(self.pressure * (abs(np.linalg.det(cell)) - self.system.volume))

    @property
    def converged(self) -> bool:
        """Whether no further step is needed; always False, because only a relaxation converges."""
        return False

    def finish(self) -> None:
        """Do nothing, because there is nothing to report at the end of the run."""

    def dump(self) -> dict[str, Any]:
        """Return the state that `system` does not contain, as JSON."""
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """Restore a state from `dump`."""

    def step(self) -> None:
        """Take one step."""
        half = 0.5 * self.timestep
        self.kick(half)
        self.drift(half)
        self.thermalise(self.timestep)
        self.drift(half)
        self.evaluation = self.evaluate(self.system.positions, self.system.cell)
        self.kick_back(half)

    def kick(self, time: float) -> None:
        """Add the impulse of the forces to the momenta: B."""
        system = self.system
        system.momenta = system.project(system.momenta + time * self.evaluation.forces)

    def kick_back(self, time: float) -> None:
        """Add the impulse of the forces at the end of the step: B with its parts in reverse order."""
        self.kick(time)

    def drift(self, time: float) -> None:
        """Move the atoms at constant momenta: A."""
        self.system.positions = self.system.positions + time * self.system.momenta / self.system.masses

    def thermalise(self, time: float) -> None:
        """Do nothing, because NVE has no thermostat: O."""


class Langevin(VelocityVerlet):
    """NVT: the Ornstein–Uhlenbeck process on the momenta, solved exactly.

    ``p ← c p + √(1 - c²) √(m k T) ξ`` with ``c = exp(-Δt/τ)``.
    """

    def __init__(self, *args: Any, relaxation_time: float):
        super().__init__(*args)
        self.relaxation_time = relaxation_time

    def thermalise(self, time: float) -> None:
        """Apply friction and noise: O."""
        kept = np.exp(-time / self.relaxation_time)
        noise = self.system.thermal_momenta(self.temperature_K, self.rng)
        self.system.momenta = kept * self.system.momenta + np.sqrt(1.0 - kept**2) * noise


class Bussi(VelocityVerlet):
    """NVT: all momenta are scaled by one random factor, so that the kinetic energy has the canonical distribution.

    Equation A7 of Bussi, Donadio and Parrinello, J. Chem. Phys. 126, 014101 (2007), with the sign of the factor from
    equation A8.
    """

    def __init__(self, *args: Any, relaxation_time: float):
        super().__init__(*args)
        self.relaxation_time = relaxation_time

    def thermalise(self, time: float) -> None:
        """Scale the momenta: O."""
        system = self.system
        kinetic = system.kinetic_energy
        if kinetic == 0.0:
            system.momenta = system.thermal_momenta(self.temperature_K, self.rng)
            return
        kept = np.exp(-time / self.relaxation_time)
        # The target energy of one degree of freedom, relative to the kinetic energy.
        ratio = 0.5 * units.kB * self.temperature_K / kinetic
        first = self.rng.standard_normal()
        others = 2.0 * self.rng.standard_gamma(0.5 * (system.n_dof - 1))
        root = np.sqrt(kept) + first * np.sqrt((1.0 - kept) * ratio)
        factor = np.sqrt(root**2 + (1.0 - kept) * ratio * others)
        system.momenta = system.momenta * (factor if root >= 0.0 else -factor)


class LangevinPiston(Langevin):
    """NPT with a cell of constant shape: the equations of Martyna, Tobias and Klein with Langevin noise.

    After Quigley and Probert, J. Chem. Phys. 120, 11432 (2004), equations 5 and 6, with ``ε = ln V / 3``, its momentum
    ``p_ε`` and inertia ``W = (N_f + 3) k T τ²``:

    ``ṙ = p/m + v r``, ``ṗ = F - (1 + 3/N_f) v p``, ``ṗ_ε = (1 + 3/N_f) Σ p²/m - V tr σ - 3 P V + c k T`` with
    ``v = p_ε/W``, and noise and friction on both momenta.

    The sampled density is ``V^N exp(-(U + P V)/kT)`` in scaled coordinates, as in the isothermal-isobaric ensemble and
    in the volume move. With zero total momentum and ``c = 0``, the equations would sample ``V^(N-1)``. The term with
    ``c = 3`` adds the missing pressure of three degrees of freedom. If all ``3 N`` are present, ``c = 0``.
    """

    def __init__(self, *args: Any, relaxation_time: float, barostat_time: float, reference_temperature_K: float):
        super().__init__(*args, relaxation_time=relaxation_time)
        system = self.system
        self.cell_mass = (system.n_dof + 3) * units.kB * reference_temperature_K * barostat_time**2
        self.cell_friction = 10.0 / barostat_time
        self._dof_factor = 1.0 + 3.0 / system.n_dof
        self._missing_dof = 3 if system.conserves_momentum else 0

    def kick(self, time: float) -> None:
        """Add the impulse of the force on the cell, then the impulses of the forces on the atoms: B."""
        self._kick_cell(time)
        self._kick_atoms(time)

    def kick_back(self, time: float) -> None:
        """Add the impulses of the forces on the atoms, then the impulse of the force on the cell: B."""
        self._kick_atoms(time)
        self._kick_cell(time)

    def _kick_cell(self, time: float) -> None:
        system = self.system
        volume = system.volume
        system.cell_momentum = system.cell_momentum + time * (
            self._dof_factor * 2.0 * system.kinetic_energy
            - volume * float(self.evaluation.stress[:3].sum())
            - 3.0 * volume * self.pressure
            + self._missing_dof * units.kB * self.temperature_K
        )

    def _kick_atoms(self, time: float) -> None:
        system = self.system
        half = np.exp(-0.5 * time * self._dof_factor * system.cell_momentum / self.cell_mass)
        system.momenta = half * system.project(half * system.momenta + time * self.evaluation.forces)

    def drift(self, time: float) -> None:
        """Move the atoms and scale the cell; exact for a constant strain rate: A."""
        system = self.system
        strain = time * system.cell_momentum / self.cell_mass
        scale = np.exp(strain)
        mean_scale = np.exp(0.5 * strain) * (np.sinh(0.5 * strain) / (0.5 * strain) if strain else 1.0)
        system.positions = scale * system.positions + time * mean_scale * system.momenta / system.masses
        system.cell = scale * system.cell

    def thermalise(self, time: float) -> None:
        """Apply friction and noise to atoms and cell: O."""
        super().thermalise(time)
        kept = np.exp(-time * self.cell_friction)
        width = np.sqrt((1.0 - kept**2) * self.cell_mass * units.kB * self.temperature_K)
        self.system.cell_momentum = kept * self.system.cell_momentum + width * self._cell_noise()

    def _cell_noise(self) -> float | np.ndarray:
        return float(self.rng.standard_normal())
