"""Athermal quasistatic deformation: an affine strain, then a relaxation of the atoms, in steps up to failure."""

from __future__ import annotations

from typing import Any

import numpy as np
from ase import units

from aiida_mlip_autopipe.calculators.evaluation import Evaluation
from aiida_mlip_autopipe.core.wording import counted
from aiida_mlip_autopipe.exploration.dynamics.cells import voigt_to_matrix
from aiida_mlip_autopipe.exploration.dynamics.minimiser import Fire, Limits
from aiida_mlip_autopipe.exploration.dynamics.static_steps import StaticSteps
from aiida_mlip_autopipe.exploration.phase_space import Evaluate, PhaseSpace
from aiida_mlip_autopipe.exploration.settings.deform import DeformSettings

RULE = 'deform'
AXES = 'abc'


def deformation_vectors(settings: DeformSettings, cell: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the unit vectors of the direction, and of the normal of the planes that are moved apart or sheared.

    Parameters
    ----------
    settings
        The direction and, for a shear, the plane.
    cell
        The cell of the seed, (3, 3).
    """
    given, plane = settings.direction, settings.plane
    direction = cell[AXES.index(given)] if isinstance(given, str) else np.array(given)
    normal = direction
    if settings.mode == 'shear':
        normal = np.cross(*(cell[AXES.index(axis)] for axis in plane)) if isinstance(plane, str) else np.array(plane)
    return direction / np.linalg.norm(direction), normal / np.linalg.norm(normal)


class Deformation(StaticSteps):
    """Athermal quasistatic deformation: C. E. Maloney and A. Lemaître, Phys. Rev. E 74, 016118 (2006).

    Step ``k`` has the deformation gradient ``F = 1 + k ε d nᵀ`` for a strain (``n = d``) or a shear (``n ⊥ d``), or
    ``(1 + k ε) 1``. The atoms follow it affinely and are then relaxed by FIRE.

    Parameters
    ----------
    system, evaluate, evaluation
        See `StaticSteps`.
    settings
        The deformation, and the limits of the relaxation and of the failure.
    """

    def __init__(self, system: PhaseSpace, evaluate: Evaluate, evaluation: Evaluation, settings: DeformSettings):
        super().__init__(system, evaluate, evaluation)
        self.settings = settings
        self.n_done = 0
        self.n_unrelaxed = 0
        self.failed = False
        self.max_stress: float | None = None
        self._strain_of_max = 0.0
        self._seed_cell = system.cell.copy()
        self._direction, self._normal = deformation_vectors(settings, self._seed_cell)
        self._fire = self._make_fire()

    @property
    def converged(self) -> bool:
        """Whether the structure has failed."""
        return self.failed

    def gradient(self, step: int) -> np.ndarray:
        """Return the deformation gradient after the given number of steps, relative to the seed, (3, 3)."""
        strain = step * self.settings.strain_per_step
        if self.settings.mode == 'volumetric':
            return np.asarray((1.0 + strain) * np.eye(3))
        return np.eye(3) + strain * np.outer(self._direction, self._normal)

    def step(self) -> None:
        """Strain the structure or relax it further, which completes a step if it has relaxed."""
        if self.n_substeps == 0:
            self._strain()
        else:
            self._fire.step()
            self.evaluation = self._fire.evaluation
        self.n_substeps += 1
        if self._fire.converged or self.n_substeps > self.settings.max_relaxation_steps:
            self._complete()

    def finish(self) -> None:
        """Report relaxations that have not converged."""
        if self.n_unrelaxed:
            self.reports.append(
                (
                    RULE,
                    f'the relaxation did not converge in {self.n_unrelaxed} of {counted(self.n_done, "strain step")}',
                )
            )

    def dump(self) -> dict[str, Any]:
        """Return the state that `system` does not contain, as JSON; floats are preserved exactly."""
        return {
            'n_substeps': self.n_substeps,
            'n_done': self.n_done,
            'n_unrelaxed': self.n_unrelaxed,
            'failed': self.failed,
            'max_stress': self.max_stress,
            'strain_of_max': self._strain_of_max,
            'seed_cell': self._seed_cell.tolist(),
            'fire': self._fire.dump(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Restore a state from `dump`."""
        self.n_substeps, self.n_done = state['n_substeps'], state['n_done']
        self.n_unrelaxed, self.failed = state['n_unrelaxed'], state['failed']
        self.max_stress, self._strain_of_max = state['max_stress'], state['strain_of_max']
        self._seed_cell = np.array(state['seed_cell'])
        self._direction, self._normal = deformation_vectors(self.settings, self._seed_cell)
        self._fire = self._make_fire()
        self._fire.restore(state['fire'])

    def _strain(self) -> None:
        """Apply the strain of the next step to the cell and the atoms."""
        system, target = self.system, self.gradient(self.n_done + 1)
        increment = np.linalg.solve(self.gradient(self.n_done).T, target.T).T
        relaxes_cell = self.settings.transverse == 'relaxed'
        system.cell = system.cell @ increment.T if relaxes_cell else self._seed_cell @ target.T
        system.positions = system.positions @ increment.T
        self.evaluation = self.evaluate(system.positions, system.cell)
        self._fire = self._make_fire()

    def _make_fire(self) -> Fire:
        settings = self.settings
        limits = Limits(settings.force_eV_per_A, settings.stress_GPa)
        degrees = 'transverse' if settings.transverse == 'relaxed' else 'positions'
        return Fire(self.system, self.evaluate, self.evaluation, limits, degrees, self._direction)

    def _complete(self) -> None:
        """Complete a strain step, and check whether the structure has failed."""
        self.n_unrelaxed += not self._fire.converged
        self.n_done += 1
        self.n_substeps = 0
        strain, stress = self.n_done * self.settings.strain_per_step, self._stress()
        if self.max_stress is None or stress > self.max_stress:
            self.max_stress, self._strain_of_max = stress, strain
        fraction = self.settings.failure_fraction
        if fraction is not None and self.max_stress > 0.0 and stress < fraction * self.max_stress:
            self.failed = True
            self.reports.append((RULE, self._describe_failure(strain, stress, self.max_stress)))

    def _describe_failure(self, strain: float, stress: float, max_stress: float) -> str:
        return (
            f'the structure failed at a strain of {strain:.4g}: the stress fell to {stress / units.GPa:.3g} GPa after '
            f'a maximum of {max_stress / units.GPa:.3g} GPa at a strain of {self._strain_of_max:.4g}'
        )

    def _stress(self) -> float:
        """Return the component of the stress that resists the strain, in eV/Å³; positive if it does."""
        stress = voigt_to_matrix(self.evaluation.stress)
        component = (
            np.trace(stress) / 3.0 if self.settings.mode == 'volumetric' else self._direction @ stress @ self._normal
        )
        return float(np.sign(self.settings.strain_per_step) * component)
