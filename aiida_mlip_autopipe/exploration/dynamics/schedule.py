"""The target temperature and pressure at each step of a run."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from aiida_mlip_autopipe.exploration.settings.dynamics import PhaseSettings
from aiida_mlip_autopipe.exploration.settings.kinds import AnyExploration


@dataclass(frozen=True)
class Segment:
    """A segment of the run with the settings of one phase, from the absolute step ``first`` to the step ``last``."""

    first: int
    last: int
    temperatures_K: tuple[float, float]
    pressures_GPa: tuple[float, float]
    sampled: bool
    velocities_reset: bool

    @property
    def is_hold(self) -> bool:
        """Whether temperature and pressure are constant."""
        return self.temperatures_K[0] == self.temperatures_K[1] and self.pressures_GPa[0] == self.pressures_GPa[1]

    def highest_decayed_temperature(self, step: float, decay_steps: float) -> float:
        """Return the maximum of the targets in K up to a step, each decaying by a factor of e every ``decay_steps``."""
        start, end = self.temperatures_K
        last = min(step, self.last)
        slope = (end - start) / (self.last - self.first)
        ages = {step - self.first, step - last}
        if slope < 0.0 and math.isfinite(decay_steps):
            # The maximum of T(s) exp(s/d) for a linear T(s), where T(s) = -d dT/ds.
            peak = self.first + (-decay_steps * slope - start) / slope
            ages.add(step - min(max(peak, self.first), last))
        return max((start + slope * (step - age - self.first)) * math.exp(-age / decay_steps) for age in ages)


class Schedule:
    """Temperature and pressure as functions of the absolute step.

    Parameters
    ----------
    settings
        Settings of one seed, with one temperature and one pressure.
    temperature_factor
        Factor for all temperatures; less than one after a recovery.
    """

    def __init__(self, settings: AnyExploration, temperature_factor: float = 1.0):
        temperature, pressure = settings.scalar_temperature(), settings.scalar_pressure()
        self.start_temperature_K = temperature * temperature_factor
        self.segments: list[Segment] = []
        first = 0
        single = (PhaseSettings(n_steps=settings.n_steps),) if settings.n_steps else ()
        for phase in settings.phases or single:
            new_temperature = temperature if phase.temperature_K is None else phase.temperature_K
            new_pressure = pressure if phase.pressure_GPa is None else phase.pressure_GPa
            if phase.kind != 'ramp':
                temperature, pressure = new_temperature, new_pressure
            self.segments.append(
                Segment(
                    first,
                    first + phase.n_steps,
                    (temperature * temperature_factor, new_temperature * temperature_factor),
                    (pressure, new_pressure),
                    phase.sampled,
                    phase.kind == 'velocity_reset',
                )
            )
            temperature, pressure = new_temperature, new_pressure
            first += phase.n_steps
        self.n_steps = first

    @property
    def max_temperature_K(self) -> float:
        """The highest temperature of the run."""
        return max((max(segment.temperatures_K) for segment in self.segments), default=0.0)

    def until(self, step: int) -> tuple[Segment, ...]:
        """Return the segments up to a step.

        A segment with constant temperature and pressure is cut at the last step. A ramp is not cut, because its
        temperatures depend on its length.

        Parameters
        ----------
        step
            Absolute step.
        """
        started = [segment for segment in self.segments if segment.first < step]
        return tuple(
            replace(segment, last=min(segment.last, step)) if segment.is_hold else segment for segment in started
        )

    def continues(self, other: Schedule) -> bool:
        """Return whether this schedule begins with all steps of the other one.

        The highest temperature must be the same, because it determines the inertia of the cell in NPT.
        """
        n = other.n_steps
        return (
            n <= self.n_steps and self.until(n) == other.until(n) and self.max_temperature_K == other.max_temperature_K
        )

    def recent_temperature(self, step: int, decay_steps: float) -> float:
        """Return the highest recent target temperature in K, which is at least the current one.

        After planned cooling, the atoms remain hotter than the target until the thermostat has removed the energy.

        Parameters
        ----------
        step
            The absolute step that is about to be taken.
        decay_steps
            Number of steps in which an earlier target decays by a factor of e; infinite without a thermostat.
        """
        earlier = [
            segment.highest_decayed_temperature(step, decay_steps) for segment in self.segments if segment.first < step
        ]
        at_start = self.start_temperature_K * math.exp(-step / decay_steps)
        return max(self.targets(step)[0], at_start, *earlier)

    def segment(self, step: int) -> Segment:
        """Return the segment that takes the system from ``step`` to ``step + 1``."""
        return next(segment for segment in self.segments if segment.first <= step < segment.last)

    def targets(self, step: int) -> tuple[float, float]:
        """Return temperature in K and pressure in GPa in the middle of the step that begins at ``step``."""
        segment = self.segment(step)
        fraction = (step + 0.5 - segment.first) / (segment.last - segment.first)
        (start_t, end_t), (start_p, end_p) = segment.temperatures_K, segment.pressures_GPa
        return start_t + (end_t - start_t) * fraction, start_p + (end_p - start_p) * fraction
