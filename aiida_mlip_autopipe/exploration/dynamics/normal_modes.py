"""Displacements of a structure along its normal modes, drawn from the canonical distribution at a temperature."""

from __future__ import annotations

from typing import Any

import numpy as np

from aiida_mlip_autopipe.calculators.evaluation import Evaluation
from aiida_mlip_autopipe.exploration.dynamics.harmonic import find_vibrations, rotation_axes
from aiida_mlip_autopipe.exploration.dynamics.minimiser import Fire, Limits
from aiida_mlip_autopipe.exploration.dynamics.static_steps import StaticSteps
from aiida_mlip_autopipe.exploration.phase_space import Evaluate, PhaseSpace
from aiida_mlip_autopipe.exploration.settings.normal_modes import NormalModesSettings

RULE = 'normal_modes'


class NormalModes(StaticSteps):
    """Normal mode sampling: J. S. Smith, O. Isayev and A. E. Roitberg, Chem. Sci. 8, 3192 (2017).

    Each step draws one structure. The first step also relaxes the positions and computes the Hessian of the atoms that
    may move by central differences of the forces, with two evaluations for each coordinate.

    Parameters
    ----------
    system, evaluate, evaluation
        See `StaticSteps`.
    settings
        Settings with one temperature.
    pbc
        Which directions are periodic, shape (3,).
    rng
        The only source of randomness.
    """

    def __init__(
        self,
        system: PhaseSpace,
        evaluate: Evaluate,
        evaluation: Evaluation,
        settings: NormalModesSettings,
        pbc: np.ndarray,
        rng: np.random.Generator,
    ):
        super().__init__(system, evaluate, evaluation)
        self.settings = settings
        self.rng = rng
        self.reference = system.positions
        self.residual_force = 0.0
        self._pbc = pbc
        self._free = np.flatnonzero(system.free)
        self._fire: Fire | None = Fire(system, evaluate, evaluation, Limits(settings.force_eV_per_A), 'positions')
        # The rows of the Hessian, and the forces of a coordinate that has been displaced forward but not backward.
        self._rows: list[list[float]] = []
        self._forward: list[float] | None = None
        self._matrix: np.ndarray | None = None
        self._matrix_dump: list[list[float]] | None = None

    def step(self) -> None:
        """Relax the structure, displace one coordinate, or draw a structure."""
        if self._fire is not None and not self._has_relaxed(self._fire):
            self._fire.step()
            self.evaluation = self._fire.evaluation
        elif self._matrix is None:
            self._displace()
        else:
            self._draw(self._matrix)
            return
        self.n_substeps += 1

    def dump(self) -> dict[str, Any]:
        """Return the state that `system` does not contain, as JSON; floats are preserved exactly."""
        return {
            'n_substeps': self.n_substeps,
            'fire': None if self._fire is None else self._fire.dump(),
            'reference': self.reference.tolist(),
            'residual_force': self.residual_force,
            'rows': list(self._rows),
            'forward': self._forward,
            'matrix': self._matrix_dump,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Restore a state from `dump`."""
        self.n_substeps = state['n_substeps']
        if state['fire'] is None:
            self._fire = None
        elif self._fire is not None:
            self._fire.restore(state['fire'])
        self.reference = np.array(state['reference'])
        self.residual_force = state['residual_force']
        self._rows, self._forward = list(state['rows']), state['forward']
        self._matrix_dump = state['matrix']
        self._matrix = None if self._matrix_dump is None else np.array(self._matrix_dump)

    def _has_relaxed(self, fire: Fire) -> bool:
        """Return whether the relaxation has ended, and take its result as the reference if it has."""
        if not fire.converged and self.n_substeps < self.settings.max_relaxation_steps:
            return False
        self.reference = self.system.positions
        self.residual_force = float(np.linalg.norm(self.evaluation.forces[self._free], axis=1).max())
        self._fire = None
        return True

    def _displace(self) -> None:
        """Evaluate the structure with one coordinate displaced, and make the modes after the last one."""
        index = len(self._rows)
        atom, axis, sign = self._free[index // 3], index % 3, 1 if self._forward is None else -1
        positions = self.reference.copy()
        positions[atom, axis] += sign * self.settings.displacement_A
        self._evaluate(positions)
        forces = self.evaluation.forces[self._free].ravel()
        if self._forward is None:
            self._forward = forces.tolist()
            return
        row = (forces - np.array(self._forward)) / (2.0 * self.settings.displacement_A)
        self._rows.append(row.tolist())
        self._forward = None
        if len(self._rows) == 3 * len(self._free) and self.evaluation.finite:
            self._make_matrix()

    def _make_matrix(self) -> None:
        """Make the matrix of the displacements from the Hessian, and report the modes that are not sampled."""
        settings, system = self.settings, self.system
        vibrations = find_vibrations(
            np.array(self._rows),
            system.masses[self._free, 0],
            self.reference[self._free],
            rotation_axes(system.cell, self._pbc),
            translates=bool(system.free.all()),
        )
        frequencies = vibrations.frequencies_THz
        imaginary = frequencies < -settings.min_frequency_THz
        soft = np.abs(frequencies) <= settings.min_frequency_THz
        drawn = ~soft if settings.imaginary_modes == 'drawn' else ~(soft | imaginary)
        matrix = vibrations.displacement_matrix(settings.scalar_temperature(), settings.statistics, drawn)
        self._matrix, self._matrix_dump, self._rows = matrix, matrix.tolist(), []
        self._report(frequencies, imaginary, soft)

    def _report(self, frequencies: np.ndarray, imaginary: np.ndarray, soft: np.ndarray) -> None:
        settings = self.settings
        if self.residual_force > settings.force_eV_per_A:
            self.reports.append(
                (
                    RULE,
                    f'the structure is not at a minimum of the energy: the largest force is '
                    f'{self.residual_force:.3g} eV/Å (limit {settings.force_eV_per_A:g} eV/Å)',
                )
            )
        if imaginary.any():
            is_drawn = settings.imaginary_modes == 'drawn'
            treatment = 'sampled, using the absolute value of the frequency' if is_drawn else 'not sampled'
            self.reports.append(
                (
                    RULE,
                    f'number of modes with imaginary frequencies, up to {-frequencies.min():.3g}i THz: '
                    f'{imaginary.sum()} of {len(frequencies)}; such modes are {treatment}',
                )
            )
        if soft.any():
            self.reports.append(
                (
                    RULE,
                    f'number of modes with frequencies of at most {settings.min_frequency_THz:g} THz: {soft.sum()} of '
                    f'{len(frequencies)}; such modes are not sampled',
                )
            )

    def _draw(self, matrix: np.ndarray) -> None:
        """Draw and evaluate a structure, which completes a step."""
        positions = self.reference.copy()
        positions[self._free] += (matrix @ self.rng.standard_normal(len(matrix))).reshape(-1, 3)
        self._evaluate(positions)
        self.n_substeps = 0

    def _evaluate(self, positions: np.ndarray) -> None:
        self.system.positions = positions
        self.evaluation = self.evaluate(positions, self.system.cell)
