"""One step of a run: the step of the integrator, the Monte Carlo moves that follow it, and the guards of both."""

from __future__ import annotations

import math
import sys
import traceback
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from aiida_mlip_autopipe.calculators.evaluation import Evaluation
from aiida_mlip_autopipe.exploration.dynamics.schedule import Schedule
from aiida_mlip_autopipe.exploration.dynamics.static_steps import StaticSteps
from aiida_mlip_autopipe.exploration.guards import Alarm, Guards
from aiida_mlip_autopipe.exploration.montecarlo.base import MoveRefusedError
from aiida_mlip_autopipe.exploration.montecarlo.trials import MonteCarlo
from aiida_mlip_autopipe.exploration.phase_space import EvaluationError, VelocityVerlet
from aiida_mlip_autopipe.exploration.preparation import PreparedJob
from aiida_mlip_autopipe.jobs.failures import find_failure
from aiida_mlip_autopipe.jobs.job_file import JobRefusedError
from aiida_mlip_autopipe.structures.seed import fixed_mask

P = ParamSpec('P')
R = TypeVar('R')


def make_monte_carlo(prepared: PreparedJob, ensemble: str) -> MonteCarlo | None:
    """Return the Monte Carlo moves of a job; None if it has none.

    Raises
    ------
    JobRefusedError
        If a move is impossible.
    """
    settings, atoms = prepared.settings, prepared.atoms
    if settings.monte_carlo is None:
        return None
    factor = settings.guards.distance_factor
    try:
        return MonteCarlo(settings.monte_carlo, atoms, ~fixed_mask(atoms), ensemble, factor, prepared.molecules)
    except MoveRefusedError as error:
        raise JobRefusedError(error.code, str(error)) from error


class GuardedSteps:
    """Takes the steps of a run and applies the guards that are cheap enough for every step.

    Parameters
    ----------
    guards
        The guards.
    schedule
        The target temperatures.
    monte_carlo
        The moves between the steps; None without Monte Carlo.
    decay_steps
        Number of steps in which the thermostat removes excess energy; see `decay_steps`.
    """

    def __init__(self, guards: Guards, schedule: Schedule, monte_carlo: MonteCarlo | None, decay_steps: float):
        self.guards = guards
        self.schedule = schedule
        self.monte_carlo = monte_carlo
        self.decay_steps = decay_steps

    def take(self, integrator: VelocityVerlet | StaticSteps, step: int, sampled: bool) -> Alarm | None:
        """Take a step, and try the Monte Carlo moves that follow it.

        Parameters
        ----------
        integrator
            The integrator, which changes its system.
        step
            The absolute step before this one.
        sampled
            Whether frames are stored at this step.
        """
        system, energy_before = integrator.system, integrator.evaluation.energy
        recent_K = self.schedule.recent_temperature(step, self.decay_steps)
        try:
            integrator.step()
        except EvaluationError as error:
            integrator.evaluation = Evaluation.unknown(len(system.positions))
            return Alarm('calculator', f'the calculator raised {error}')
        alarm = self.guards.check_step(system, integrator.evaluation, energy_before, recent_K)
        if alarm is None and self.monte_carlo is not None and self.monte_carlo.is_due(step + 1):
            assert isinstance(integrator, VelocityVerlet)  # only dynamics has Monte Carlo moves
            self.monte_carlo.run_round(integrator, equilibrating=not sampled)
            # An accepted move may change the energy by any amount.
            alarm = self.guards.check_step(system, integrator.evaluation, integrator.evaluation.energy, recent_K)
        return alarm


def decay_steps(prepared: PreparedJob, ensemble: str) -> float:
    """Return the number of steps in which the thermostat reduces excess energy by a factor of e.

    The energy of a harmonic solid relaxes with the time constant of a Langevin thermostat, and half as fast with
    Bussi's, which exchanges energy only with the kinetic half. The longer time is used for both.
    """
    settings = prepared.settings
    if settings.kind != 'dynamics' or ensemble == 'nve':
        return math.inf
    return 2.0 * settings.thermostat_time_fs / prepared.timestep_fs


def reporting_errors(evaluate: Callable[P, R]) -> Callable[P, R]:
    """Return a function that evaluates a structure and raises an `EvaluationError` if the calculator raises an error.

    The traceback is written to stderr. Errors of the machine, such as a lack of memory, are raised unchanged, because
    the structure is not their cause.
    """

    def evaluate_or_report(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return evaluate(*args, **kwargs)
        except Exception as error:
            message = f'{type(error).__name__}: {error}'
            if isinstance(error, MemoryError | OSError) or find_failure(message):
                raise
            traceback.print_exc(file=sys.stderr)
            raise EvaluationError(message) from error

    return evaluate_or_report
