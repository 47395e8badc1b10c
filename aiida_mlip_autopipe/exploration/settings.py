"""Settings of an exploration: what is sampled, for how long, and when a run is stopped."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.fields import fault
from aiida_mlip_autopipe.core.settings import Settings
from aiida_mlip_autopipe.exploration.montecarlo.settings import MonteCarloSettings
from aiida_mlip_autopipe.structures.seed import Place

Temperature = Annotated[float, Field(ge=0)]

# Steps of temperature and pressure, each from structure to structure and from round to round: multiples of a quadratic
# irrational fill the unit interval evenly (H. Niederreiter, SIAM 1992, ch. 3), and those of several are independent.
KRONECKER_STEPS = ((3**0.5 - 1, (5**0.5 - 1) / 2), (7**0.5 - 2, 2**0.5 - 1))


class RangeSettings(Settings):
    """A range of values that is spread evenly over the seeds."""

    lowest: float
    """The lowest value."""
    highest: float
    """The highest value."""

    @model_validator(mode='after')
    def _in_order(self) -> RangeSettings:
        if self.highest < self.lowest:
            raise fault(Code.OUT_OF_RANGE, f'the highest value, {self.highest:g}, is below the lowest, {self.lowest:g}')
        return self


class StageSettings(Settings):
    """One stage of a run; stages follow one another in one job."""

    kind: Literal['hold', 'ramp', 'quench'] = 'hold'
    """``hold`` keeps temperature and pressure; ``ramp`` goes to them linearly from where the stage before ended;
    ``quench`` draws the momenta afresh at the new temperature and holds it."""
    n_steps: int = Field(ge=1)
    """Steps of molecular dynamics."""
    temperature_K: Temperature | None = None
    """Temperature in K, for a ramp the one it ends at; by default that of the stage before."""
    pressure_GPa: float | None = None
    """Pressure in GPa, for a ramp the one it ends at; by default that of the stage before."""
    sampled: bool = True
    """Whether frames of this stage are stored."""


class GuardSettings(Settings):
    """What counts as blown up. Each guard is off where its value is null; a value that is not finite always stops."""

    temperature_K: float | None = Field(default=None, gt=0)
    """Highest instantaneous temperature in K. By default four times the target, more for a handful of atoms
    (ten standard deviations), plus 1000 K."""
    check_temperature: bool = True
    """Whether the temperature is watched at all."""
    energy_jump_eV: float | None = Field(default=0.5, gt=0)
    """Largest change of the potential energy per atom in one step in eV."""
    force_eV_per_A: float | None = Field(default=100.0, gt=0)
    """Largest force on an atom in eV/Å."""
    distance_factor: float | None = Field(default=0.5, gt=0)
    """Smallest distance of two atoms over the sum of their covalent radii."""
    volume_factor: float | None = Field(default=2.0, gt=1)
    """Largest ratio of the volume to the seed's, and of the seed's to the volume; the density's limit at once."""
    detached_factor: float | None = Field(default=3.0, gt=1)
    """Atoms that held together in the seed and between which now lies more than this times the sum of the two largest
    covalent radii have come apart: an atom, a cluster or a molecule is gone. Never less than one and a half times the
    distance of the seed's loneliest atom to its neighbour."""
    interval: int = Field(default=10, ge=1)
    """Steps between looks at the distances; every stored frame is looked at besides."""


class RescueSettings(Settings):
    """How a run that became unstable is taken up again from its last good frame."""

    max_rescues: int = Field(default=1, ge=0)
    """How often a run is taken up again; 0 leaves it at its first instability."""
    temperature_factor: float = Field(default=0.7, gt=0, le=1)
    """All temperatures are multiplied by this at each rescue."""
    timestep_factor: float = Field(default=0.5, gt=0, le=1)
    """The time step is multiplied by this at each rescue."""


class RelaxationSettings(Settings):
    """A short relaxation of the atoms in the fixed cell before the dynamics."""

    max_steps: int = Field(default=50, ge=1)
    """Steps of the FIRE optimiser at most."""
    force_eV_per_A: float = Field(default=0.05, gt=0)
    """It ends when no force is larger, in eV/Å."""


class ExplorationSettings(Settings):
    """How each seed is explored."""

    ensemble: Literal['auto', 'nve', 'nvt', 'npt'] = 'auto'
    """``auto`` takes NPT for a bulk crystal and NVT where there is vacuum, a direction without periodicity or a fixed
    atom; the result says which and why."""
    thermostat: Literal['langevin', 'bussi'] = 'langevin'
    """Thermostat of NVT: Langevin, or Bussi's stochastic rescaling, which disturbs the motion less."""
    temperature_K: Temperature | tuple[Temperature, ...] | RangeSettings = 300.0
    """Temperature in K: one, a list that the seeds take in turn, or a range that is spread over them."""
    pressure_GPa: float | tuple[float, ...] | RangeSettings = 0.0
    """Pressure in GPa, for NPT: one, a list or a range."""
    n_steps: int = Field(default=1000, ge=1)
    """Steps of molecular dynamics, without ``stages``."""
    stages: tuple[StageSettings, ...] = ()
    """Stages that replace the single hold at ``temperature_K`` and ``pressure_GPa``, where the first one starts."""
    n_equilibration_steps: int = Field(default=0, ge=0)
    """Steps at the beginning, counted in ``n_steps``, of which no frame is stored."""
    timestep_fs: float | None = Field(default=None, gt=0, le=20)
    """Time step in fs; by default 0.35 fs times the root of the lightest mass in u, at least 0.25 and at most 2 fs."""
    monte_carlo: MonteCarloSettings | None = None
    """Monte Carlo moves between the steps of the dynamics; none by default."""
    relaxation: RelaxationSettings | None = None
    """Relax the seed first; none by default, and never for a seed that was perturbed on purpose."""
    thermostat_time_fs: float = Field(default=100.0, gt=0)
    """Time in fs in which the thermostat forgets: the inverse friction of Langevin, the coupling time of Bussi."""
    barostat_time_fs: float = Field(default=500.0, gt=0)
    """Sets the inertia of the cell, (N_f + 3) k T τ² with T at least 300 K; its friction is ten over this time."""
    frame_interval: int = Field(default=20, ge=1)
    """Steps between stored frames."""
    frame_min_change_A: float = Field(default=0.0, ge=0)
    """A frame is stored only if an atom has moved by at least this since the one before (or since the seed), in Å."""
    checkpoint_interval: int = Field(default=100, ge=1)
    """Steps between checkpoints; what a killed job has done since the last one is done again."""
    vacuum_A: float = Field(default=6.0, gt=0)
    """An empty layer of at least this thickness, less the atoms' covalent radii, counts as vacuum."""
    guards: GuardSettings = GuardSettings()
    """When a run is stopped as unstable."""
    rescue: RescueSettings = RescueSettings()
    """How an unstable run goes on from its last good frame."""
    walltime_margin_s: float | None = Field(default=None, ge=0)
    """Seconds before the end of the wall time at which the job writes its checkpoint and ends. By default a tenth
    of the wall time, at most 60 s."""

    @property
    def total_steps(self) -> int:
        """Steps of the whole run."""
        return sum(stage.n_steps for stage in self.stages) if self.stages else self.n_steps

    @property
    def frame_steps(self) -> tuple[range, ...]:
        """Absolute steps after which a frame is stored, stage by stage; ``frame_min_change_A`` may skip some."""
        windows, first = [], 0
        for stage in self.stages or (StageSettings(n_steps=self.n_steps),):
            last = first + stage.n_steps
            if stage.sampled:
                # The first multiple of the interval after the stage has begun and the equilibration is over.
                start = (max(first, self.n_equilibration_steps) // self.frame_interval + 1) * self.frame_interval
                windows.append(range(start, last + 1, self.frame_interval))
            first = last
        return tuple(windows)

    @property
    def n_frames(self) -> int:
        """Maximum number of frames that a run stores."""
        return sum(len(steps) for steps in self.frame_steps)

    @property
    def n_force_calls(self) -> int:
        """Maximum number of calculator evaluations in a run."""
        calls = 1 + self.total_steps
        if self.monte_carlo is not None:
            calls += self.total_steps // self.monte_carlo.n_md_steps * self.monte_carlo.n_trials
        if self.relaxation is not None:
            calls += self.relaxation.max_steps + 1
        return calls

    @model_validator(mode='after')
    def _consistent(self) -> ExplorationSettings:
        if self.n_equilibration_steps >= self.total_steps:
            raise fault(
                Code.OUT_OF_RANGE,
                f'n_equilibration_steps, {self.n_equilibration_steps}, must be less than the number of steps, '
                f'{self.total_steps}',
            )
        if self.ensemble == 'nve' and self.monte_carlo is not None:
            raise fault(Code.VALUES_EXCLUDE, 'ensemble nve and monte_carlo exclude each other: moves change the energy')
        if isinstance(self.temperature_K, RangeSettings) and self.temperature_K.lowest < 0:
            raise fault(Code.OUT_OF_RANGE, f'temperature_K.lowest is {self.temperature_K.lowest:g}, below 0 K')
        for name in ('temperature_K', 'pressure_GPa'):
            if getattr(self, name) == ():
                raise fault(Code.WRONG_LENGTH, f'the list of {name} is empty')
        return self

    def for_seed(self, place: Place) -> ExplorationSettings:
        """Return the settings of one seed: with one temperature and one pressure.

        Lists are taken in turn, the pressures after a whole turn of the temperatures, and each round begins one later:
        after as many rounds as there are pairs, every composition of a grid has met every pair. Ranges follow
        Kronecker sequences, which any number of seeds covers evenly.

        Parameters
        ----------
        place
            Where the seed stands in its entry.
        """
        turn = len(self.temperature_K) if isinstance(self.temperature_K, tuple) else 1
        index = sum(place)
        starts = (place.offset % 2**16 / 2**16, place.offset // 2**16 / 2**16)
        fractions = [
            (start + place.position * step + place.round * jump) % 1
            for start, (step, jump) in zip(starts, KRONECKER_STEPS, strict=True)
        ]
        return self.model_copy(
            update={
                'temperature_K': _spread(self.temperature_K, index, fractions[0]),
                'pressure_GPa': _spread(self.pressure_GPa, index // turn, fractions[1]),
            }
        )

    def scalar_temperature(self) -> float:
        """Return the temperature in K; a list or range must have been resolved by `for_seed`."""
        return _scalar(self.temperature_K, 'temperature_K')

    def scalar_pressure(self) -> float:
        """Return the pressure in GPa; a list or range must have been resolved by `for_seed`."""
        return _scalar(self.pressure_GPa, 'pressure_GPa')


def _spread(value: float | tuple[float, ...] | RangeSettings, index: int, fraction: float) -> float:
    if isinstance(value, tuple):
        return value[index % len(value)]
    if isinstance(value, RangeSettings):
        return value.lowest + (value.highest - value.lowest) * fraction
    return value


def _scalar(value: float | tuple[float, ...] | RangeSettings, name: str) -> float:
    if isinstance(value, tuple | RangeSettings):
        raise ValueError(f'{name} is a list or a range; a job explores one seed at one value')
    return value
