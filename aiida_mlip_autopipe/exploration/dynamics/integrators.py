"""The integrator of each ensemble, and the minimiser of a relaxation."""

from __future__ import annotations

from typing import Any

from ase import units

from aiida_mlip_autopipe.exploration.dynamics.minimiser import Fire
from aiida_mlip_autopipe.exploration.phase_space import Bussi, Langevin, LangevinPiston, VelocityVerlet
from aiida_mlip_autopipe.exploration.settings.kinds import AnyExploration

# The inertia of the cell is proportional to a temperature, but its stiffness is not. At a few kelvin the cell would
# oscillate too fast for the time step. The inertia does not affect the sampled distribution.
MIN_REFERENCE_TEMPERATURE_K = 300.0


def make_integrator(
    ensemble: str, settings: AnyExploration, max_temperature_K: float, common: tuple[Any, ...]
) -> VelocityVerlet | Fire:
    """Make the integrator of an ensemble, or the minimiser of a relaxation.

    Parameters
    ----------
    ensemble
        The choice of `choose_for`.
    settings
        Settings with the time constants.
    max_temperature_K
        The highest temperature of the run. If it is above 300 K, it determines the inertia of the cell.
    common
        Arguments of all integrators: system, evaluate, evaluation, time step, random generator.
    """
    if settings.kind == 'relax':
        system, evaluate, evaluation, *_ = common
        return Fire(system, evaluate, evaluation, settings, ensemble.removeprefix('relax_'))
    if settings.kind == 'single_point' or ensemble == 'nve':
        return VelocityVerlet(*common)
    relaxation_time = settings.thermostat_time_fs * units.fs
    if ensemble == 'npt':
        return LangevinPiston(
            *common,
            relaxation_time=relaxation_time,
            barostat_time=settings.barostat_time_fs * units.fs,
            reference_temperature_K=max(max_temperature_K, MIN_REFERENCE_TEMPERATURE_K),
        )
    thermostat = Bussi if settings.thermostat == 'bussi' else Langevin
    return thermostat(*common, relaxation_time=relaxation_time)
