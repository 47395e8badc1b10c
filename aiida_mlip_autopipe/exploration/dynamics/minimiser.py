"""Minimisation of the energy by FIRE, with a public state, so that a restart continues exactly."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import units

from aiida_mlip_autopipe.calculators.evaluation import Evaluation
from aiida_mlip_autopipe.exploration.dynamics.cells import voigt_to_matrix
from aiida_mlip_autopipe.exploration.dynamics.static_steps import StaticSteps
from aiida_mlip_autopipe.exploration.phase_space import Evaluate, PhaseSpace

# Parameters from the reference, and the maximum displacement of an atom in one step, in Å, as in ASE.
DT_START, DT_MAX, DT_UP, DT_DOWN = 0.1, 1.0, 1.1, 0.5
ALPHA_START, ALPHA_FACTOR, N_MIN = 0.1, 0.99, 5
MAX_STEP_A = 0.2


@dataclass(frozen=True)
class Limits:
    """When a relaxation has converged: the largest force, and the largest difference between stress and pressure."""

    force_eV_per_A: float
    stress_GPa: float = 0.0
    pressure_GPa: float = 0.0


class Fire(StaticSteps):
    """The fast inertial relaxation engine: E. Bitzek et al., Phys. Rev. Lett. 97, 170201 (2006).

    If the cell is relaxed, its deformation gradient ``F`` is a further coordinate, multiplied by the number of atoms,
    and the positions are those in the cell before the deformation (E. B. Tadmor et al., Phys. Rev. B 59, 235 (1999)).
    The force on ``F`` is ``-V (σ + P) F⁻ᵀ``. A symmetric stress does not rotate the cell.

    Parameters
    ----------
    system
        The state, which is changed in place. Its momenta remain zero.
    evaluate
        A function that returns energy, forces and stress for positions and a cell.
    evaluation
        The evaluation of the initial state.
    limits
        The limits at which the relaxation has converged.
    degrees
        ``cell``, ``positions``, ``normal``, or ``transverse``: positions and the cell perpendicular to a direction.
    direction
        The direction of ``transverse``, a unit vector.
    """

    def __init__(
        self,
        system: PhaseSpace,
        evaluate: Evaluate,
        evaluation: Evaluation,
        limits: Limits,
        degrees: str,
        direction: np.ndarray | None = None,
    ):
        super().__init__(system, evaluate, evaluation)
        self.limits = limits
        self.degrees = degrees
        self.pressure = limits.pressure_GPa * units.GPa
        normal = np.cross(system.cell[0], system.cell[1])
        self._normal = normal / np.linalg.norm(normal) if degrees == 'normal' else normal
        self._start_cell = system.cell.copy()
        self._with_cell = degrees in ('cell', 'transverse')
        self._across: np.ndarray | None = None
        if degrees == 'transverse' and direction is not None:
            self._across = np.eye(3) - np.outer(direction, direction)
        n_rows = len(system.positions) + (3 if self._with_cell else 0)
        self.velocities = np.zeros((n_rows, 3))
        self.dt, self.alpha, self.n_downhill = DT_START, ALPHA_START, 0

    @property
    def converged(self) -> bool:
        """Whether the forces and, if the cell is relaxed, the stress are below their limits."""
        if float(np.linalg.norm(self._atomic_forces(), axis=1).max()) > self.limits.force_eV_per_A:
            return False
        return not self._with_cell or bool(np.abs(self._excess_stress()).max() <= self.limits.stress_GPa * units.GPa)

    def finish(self) -> None:
        """Report a relaxation that has not converged."""
        if self.converged:
            return
        force = float(np.linalg.norm(self._atomic_forces(), axis=1).max())
        text = f'the relaxation did not converge: the maximum force is {force:.3g} eV/Å'
        if self._with_cell:
            excess = np.abs(self._excess_stress()).max() / units.GPa
            text += f', and the stress differs from the pressure by up to {excess:.3g} GPa'
        self.reports.append(('relaxation', text))

    def step(self) -> None:
        """Take one step and evaluate the new structure."""
        forces = self._forces()
        power = float(np.sum(forces * self.velocities))
        if power > 0.0:
            norm = np.sqrt(np.sum(self.velocities**2) / np.sum(forces**2))
            self.velocities = (1.0 - self.alpha) * self.velocities + self.alpha * norm * forces
            if self.n_downhill > N_MIN:
                self.dt = min(self.dt * DT_UP, DT_MAX)
                self.alpha *= ALPHA_FACTOR
            self.n_downhill += 1
        elif self.velocities.any():
            self.velocities = np.zeros_like(self.velocities)
            self.alpha, self.n_downhill = ALPHA_START, 0
            self.dt *= DT_DOWN
        self.velocities = self.velocities + self.dt * forces
        change = self.dt * self.velocities
        longest = float(np.linalg.norm(change, axis=1).max())
        if longest > MAX_STEP_A:
            change = change * (MAX_STEP_A / longest)
        self._move(change)
        self.evaluation = self.evaluate(self.system.positions, self.system.cell)

    def dump(self) -> dict[str, Any]:
        """Return the state as JSON; floats are preserved exactly."""
        return {
            'start_cell': self._start_cell.tolist(),
            'velocities': self.velocities.tolist(),
            'dt': self.dt,
            'alpha': self.alpha,
            'n_downhill': self.n_downhill,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Restore a state from `dump`."""
        self._start_cell = np.array(state['start_cell'])
        self.velocities = np.array(state['velocities'])
        self.dt, self.alpha, self.n_downhill = state['dt'], state['alpha'], state['n_downhill']

    def _atomic_forces(self) -> np.ndarray:
        """Return the forces along the relaxed directions, (n, 3) in eV/Å."""
        forces: np.ndarray = self.evaluation.forces * self.system.free[:, np.newaxis]
        if self.degrees == 'normal':
            forces = (forces @ self._normal)[:, np.newaxis] * self._normal
        return forces

    def _excess_stress(self) -> np.ndarray:
        """Return the stress plus the pressure on the diagonal, (3, 3) in eV/Å³; zero at the target pressure."""
        excess = voigt_to_matrix(self.evaluation.stress) + self.pressure * np.eye(3)
        return np.asarray(excess if self._across is None else self._across @ excess @ self._across)

    def _deformation(self) -> np.ndarray:
        """Return the deformation gradient of the cell relative to the initial cell."""
        return np.asarray(np.linalg.solve(self._start_cell, self.system.cell).T)

    def _forces(self) -> np.ndarray:
        """Return the forces on all coordinates."""
        forces = self._atomic_forces()
        if not self._with_cell:
            return forces
        gradient = self._deformation()
        virial = -self.system.volume * self._excess_stress()
        on_cell = np.linalg.solve(gradient, virial).T / len(forces)
        if self._across is not None:
            on_cell = self._across @ on_cell @ self._across
        return np.vstack([forces @ gradient, on_cell])

    def _move(self, change: np.ndarray) -> None:
        system, n = self.system, len(self.system.positions)
        if not self._with_cell:
            system.positions = system.positions + change
            return
        gradient = self._deformation()
        undeformed = np.linalg.solve(gradient, system.positions.T).T + change[:n]
        gradient = gradient + change[n:] / n
        system.positions = undeformed @ gradient.T
        system.cell = self._start_cell @ gradient.T
