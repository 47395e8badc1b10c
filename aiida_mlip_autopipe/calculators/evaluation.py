"""Energy, forces and stress of a structure, with a count of the evaluations."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes

# Minimum volume per atom of a periodic structure in Å³. That of hydrogen at 1000 GPa is about 1 Å³. In a cell that has
# collapsed, an atom has so many neighbours that an evaluation would take hours or exhaust the memory.
MIN_VOLUME_A3 = 0.1


@dataclass(frozen=True, eq=False)
class Evaluation:
    """The results of a calculator for one structure.

    Attributes
    ----------
    energy
        Potential energy in eV.
    forces
        Forces in eV/Å, (n, 3), including those on fixed atoms.
    stress
        Stress in eV/Å³ with ASE's sign convention and Voigt order, (6,); NaN if it was not computed.
    """

    energy: float
    forces: np.ndarray
    stress: np.ndarray

    @classmethod
    def unknown(cls, n_atoms: int) -> Evaluation:
        """Return an evaluation without results: all values are NaN."""
        return cls(np.nan, np.full((n_atoms, 3), np.nan), np.full(6, np.nan))

    @property
    def finite(self) -> bool:
        """Whether energy, forces and, if it was computed, stress are finite."""
        return self.is_finite(needs_stress=not np.isnan(self.stress).all())

    def is_finite(self, needs_stress: bool) -> bool:
        """Return whether energy, forces and, if it is needed, all components of the stress are finite.

        Parameters
        ----------
        needs_stress
            Whether the stress is used. If not, a stress that consists only of NaN is accepted, because it was not
            computed.
        """
        known = np.isfinite(self.stress).all() or (not needs_stress and np.isnan(self.stress).all())
        return bool(np.isfinite(self.energy) and np.isfinite(self.forces).all() and known)


class Evaluator:
    """Evaluates structures with the same atoms.

    Parameters
    ----------
    atoms
        The atoms. The evaluator changes their positions and cell.
    calculator
        An ASE calculator.
    with_stress
        Whether the stress is needed.
    """

    def __init__(self, atoms: Atoms, calculator: Any, with_stress: bool):
        self.atoms = atoms
        self.calculator = calculator
        self.with_stress = with_stress
        self.calls = 0
        # ASE's SumCalculator has no method `reset`. It has no state, and the calculators in it detect changes.
        self._reset: Callable[[], None] = getattr(calculator, 'reset', _do_nothing)
        self._properties = ['energy', 'forces', 'stress'] if with_stress else ['energy', 'forces']

    def evaluate(self, positions: np.ndarray, cell: np.ndarray) -> Evaluation:
        """Return energy, forces and stress of a structure (Å), with one call to the calculator.

        A structure with non-finite positions or cell, or with a volume per atom below `MIN_VOLUME_A3`, is not passed to
        the calculator, as it could crash the process.
        """
        if not (np.isfinite(positions).all() and np.isfinite(cell).all()) or self._has_collapsed(cell):
            return Evaluation.unknown(len(positions))
        self.atoms.positions[:] = positions
        self.atoms.cell[:] = cell
        # Nothing else changes. Comparing the complete structure, as ASE does, would take longer than a step.
        changes = ['positions', 'cell'] if self.calls else list(all_changes)
        self._reset()
        self.calculator.calculate(self.atoms, self._properties, changes)
        self.calls += 1
        results = self.calculator.results
        stress = np.asarray(results['stress'], dtype=float) if self.with_stress else np.full(6, np.nan)
        if stress.shape == (3, 3):
            stress = stress[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]
        return Evaluation(float(results['energy']), np.array(results['forces'], dtype=float), np.array(stress))

    def _has_collapsed(self, cell: np.ndarray) -> bool:
        n = len(self.atoms)
        return bool(self.atoms.pbc.all() and abs(np.linalg.det(cell)) < MIN_VOLUME_A3 * n)


def _do_nothing() -> None:
    pass


class EvaluatingCalculator(Calculator):  # type: ignore[misc]
    """An evaluator as an ASE calculator, so that all calls are counted."""

    implemented_properties = ('energy', 'forces')

    def __init__(self, evaluator: Evaluator):
        super().__init__()
        self._evaluator = evaluator

    def calculate(
        self, atoms: Atoms | None = None, properties: Any = ('energy',), system_changes: Any = all_changes
    ) -> None:
        """Evaluate the structure."""
        super().calculate(atoms, properties, system_changes)
        evaluation = self._evaluator.evaluate(self.atoms.positions, self.atoms.cell.array)
        self.results = {'energy': evaluation.energy, 'forces': evaluation.forces}
