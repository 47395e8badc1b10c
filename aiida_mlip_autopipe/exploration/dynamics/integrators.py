"""The integrator of each ensemble, and the ways to move atoms without dynamics."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from ase import units

from aiida_mlip_autopipe.exploration.dynamics.deformation import Deformation
from aiida_mlip_autopipe.exploration.dynamics.flexible import FlexiblePiston
from aiida_mlip_autopipe.exploration.dynamics.minimiser import Fire, Limits
from aiida_mlip_autopipe.exploration.dynamics.normal_modes import NormalModes
from aiida_mlip_autopipe.exploration.dynamics.static_steps import StaticSteps
from aiida_mlip_autopipe.exploration.phase_space import Bussi, Langevin, LangevinPiston, VelocityVerlet
from aiida_mlip_autopipe.exploration.settings.kinds import AnyExploration
from aiida_mlip_autopipe.exploration.unused import NPT

# The inertia of the cell is proportional to a temperature, but its stiffness is not. At a few kelvin the cell would
# oscillate too fast for the time step. The inertia does not affect the sampled distribution.
MIN_REFERENCE_TEMPERATURE_K = 300.0


def make_integrator(
    ensemble: str,
    settings: AnyExploration,
    max_temperature_K: float,
    common: tuple[Any, ...],
    pbc: Sequence[bool] = (True, True, True),
) -> VelocityVerlet | StaticSteps:
    """Make the integrator of an ensemble, or what moves the atoms without dynamics.

    Parameters
    ----------
    ensemble
        The choice of `choose_for`.
    settings
        Settings with the time constants.
    max_temperature_K
        The highest temperature of the run. If it is above 300 K, it determines the inertia of the cell.
    common
        Arguments of all integrators: system, evaluate, evaluation, time step, random number generator.
    pbc
        Which directions are periodic.
    """
    system, evaluate, evaluation, _, rng = common
    if settings.kind == 'relax':
        limits = Limits(settings.force_eV_per_A, settings.stress_GPa, settings.pressure_GPa)
        return Fire(system, evaluate, evaluation, limits, ensemble.removeprefix('relax_'))
    if settings.kind == 'deform':
        return Deformation(system, evaluate, evaluation, settings)
    if settings.kind == 'normal_modes':
        return NormalModes(system, evaluate, evaluation, settings, np.array(pbc), rng)
    if settings.kind == 'single_point' or ensemble == 'nve':
        return VelocityVerlet(*common)
    relaxation_time = settings.thermostat_time_fs * units.fs
    if ensemble in NPT:
        times = {
            'relaxation_time': relaxation_time,
            'barostat_time': settings.barostat_time_fs * units.fs,
            'reference_temperature_K': max(max_temperature_K, MIN_REFERENCE_TEMPERATURE_K),
        }
        if ensemble == 'npt':
            return LangevinPiston(*common, **times)
        tension = None
        if settings.tension_GPa is not None:
            tension = np.array(settings.tension_GPa.components_GPa) * units.GPa
        return FlexiblePiston(*common, **times, cell_setting=ensemble.removeprefix('npt_'), tension=tension)
    thermostat = Bussi if settings.thermostat == 'bussi' else Langevin
    return thermostat(*common, relaxation_time=relaxation_time)
