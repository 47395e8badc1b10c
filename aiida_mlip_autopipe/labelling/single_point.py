"""The label of one structure: one call to a calculator, with its results, its failures and its time limit."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import SCFError

from aiida_mlip_autopipe.calculators.attempts import Attempt, NotConvergedError
from aiida_mlip_autopipe.calculators.evaluation import Evaluator
from aiida_mlip_autopipe.calculators.isolated_atoms import isolated_atom_energy
from aiida_mlip_autopipe.jobs.interruptions import Interruptions, TimeLimitReached
from aiida_mlip_autopipe.labelling.contract import LabellingRequest
from aiida_mlip_autopipe.labelling.label import EnergyKind, Failure, Label, Rule


class SinglePoints:
    """Computes labels with a calculator.

    Parameters
    ----------
    calculator
        An ASE calculator. It may have the attributes ``attempts`` (its attempts to converge the last structure) and
        ``converged`` (false if it did not converge), as some ASE calculators have.
    request
        The energy of the labels, whether they have a stress, and the time limit.
    threads
        Number of threads.
    interruptions
        Ends a calculation if the job must end.
    """

    def __init__(self, calculator: Any, request: LabellingRequest, threads: int, interruptions: Interruptions):
        self.calculator = calculator
        self.request = request
        self.threads = threads
        self.calls = 0
        self.n_done = 0
        self.longest_s = 0.0
        self._interruptions = interruptions
        self._started = 0.0

    def label(self, atoms: Atoms) -> Label | Failure:
        """Return the label of a structure, or the reason why it has none.

        Raises
        ------
        Interrupted
            If the job must end.
        """
        return self._finish(lambda: self._label(atoms))

    def isolated_atom(self, symbol: str) -> Label | Failure:
        """Return the label of an isolated atom, or the reason why it has none.

        Raises
        ------
        Interrupted
            If the job must end.
        """
        return self._finish(lambda: self._isolated_atom(symbol))

    def fail(self, rule: Rule, reason: str) -> Failure:
        """Return the failure of the current structure."""
        return Failure(reason, rule, self._attempts(False, reason), self._seconds, self.threads)

    def _finish(self, compute: Callable[[], Label | Failure]) -> Label | Failure:
        self._started = time.monotonic()
        if hasattr(self.calculator, 'attempts'):
            self.calculator.attempts = ()
        try:
            with self._interruptions.watching(self.request.time_limit_s):
                outcome = compute()
        except TimeLimitReached:
            outcome = self.fail('time_limit', f'the calculation took longer than {self.request.time_limit_s:g} s')
        except (NotConvergedError, SCFError) as error:
            outcome = self.fail('not_converged', _message(error))
        except Exception as error:
            # Calculators raise various errors for structures that they do not support.
            outcome = self.fail('raised', _message(error))
        self.n_done += 1
        self.longest_s = max(self.longest_s, self._seconds)
        return outcome

    def _label(self, atoms: Atoms) -> Label | Failure:
        evaluator = Evaluator(atoms, self.calculator, with_stress=self._has_stress(atoms))
        evaluation = evaluator.evaluate(atoms.positions, atoms.cell.array)
        self.calls += evaluator.calls
        if evaluation.forces.shape != (len(atoms), 3):
            return self.fail('raised', f'the forces have the shape {evaluation.forces.shape}, not ({len(atoms)}, 3)')
        if not evaluation.is_finite(needs_stress=evaluator.with_stress):
            return self.fail('not_finite', 'the energy, a force or the stress is not finite')
        if getattr(self.calculator, 'converged', None) is False:
            return self.fail('not_converged', 'the calculator reports that it did not converge')
        results = self.calculator.results
        chosen, free_energy, extrapolated = _energies(results, self.request.energy)
        moments = results.get('magmoms')
        return Label(
            energy_eV=chosen,
            energy_kind=self.request.energy,
            forces_eV_A=evaluation.forces,
            free_energy_eV=free_energy,
            extrapolated_energy_eV=extrapolated,
            stress_eV_A3=evaluation.stress if evaluator.with_stress else None,
            magnetic_moments_muB=None if moments is None else np.array(moments, dtype=float),
            attempts=self._attempts(True, ''),
            seconds=self._seconds,
            threads=self.threads,
        )

    def _isolated_atom(self, symbol: str) -> Label | Failure:
        energy = isolated_atom_energy(symbol, self.calculator)
        if not np.isfinite(energy):
            return self.fail('not_finite', 'the energy is not finite')
        attempts = self._attempts(True, '')
        return Label(energy, 'total', np.zeros((1, 3)), attempts=attempts, seconds=self._seconds, threads=self.threads)

    def _has_stress(self, atoms: Atoms) -> bool:
        known = getattr(self.calculator, 'implemented_properties', ('stress',))
        return self.request.with_stress and bool(atoms.pbc.all()) and 'stress' in known

    def _attempts(self, converged: bool, message: str) -> tuple[Attempt, ...]:
        recorded: tuple[Attempt, ...] = tuple(getattr(self.calculator, 'attempts', ()))
        return recorded or (Attempt('', converged, None, self._seconds, message),)

    @property
    def _seconds(self) -> float:
        return time.monotonic() - self._started


def _energies(results: Mapping[str, Any], kind: EnergyKind) -> tuple[float, float | None, float | None]:
    """Return the energy of the label, the free energy and its extrapolation to zero smearing width.

    The energy of ASE's calculators of DFT codes is the extrapolated one.

    Raises
    ------
    ValueError
        If the energy of the label is the free energy, but the calculator has none.
    """
    energy = float(results['energy'])
    if kind == 'total':
        return energy, None, None
    extrapolated = float(results.get('extrapolated_energy', energy))
    free_energy = None if results.get('free_energy') is None else float(results['free_energy'])
    if kind == 'extrapolated':
        return extrapolated, free_energy, extrapolated
    if free_energy is None:
        raise ValueError("the calculator has no free energy; set energy to 'extrapolated' or 'total'")
    return free_energy, free_energy, extrapolated


def _message(error: Exception) -> str:
    return f'{type(error).__name__}: {error}'
