"""Settings of an exploration: the ensemble, the length of the run, and the limits at which it is stopped."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.fields import fault
from aiida_mlip_autopipe.core.settings import Settings
from aiida_mlip_autopipe.exploration.montecarlo.settings import MonteCarloSettings
from aiida_mlip_autopipe.exploration.settings.novelty import BiasSettings, NoveltySettings
from aiida_mlip_autopipe.exploration.settings.tension import TensionSettings
from aiida_mlip_autopipe.exploration.unused import SHAPE_GUARDS, refuse_unused, refuse_without_effect
from aiida_mlip_autopipe.structures.seed import Place

Temperature = Annotated[float, Field(ge=0)]

# Increments for temperature and for pressure: the first between consecutive structures, the second between rounds.
# Multiples of a quadratic irrational fill the unit interval evenly (H. Niederreiter, SIAM 1992, ch. 3), and the
# sequences of different irrationals are independent of each other.
KRONECKER_STEPS = ((3**0.5 - 1, (5**0.5 - 1) / 2), (7**0.5 - 2, 2**0.5 - 1))


class RangeSettings(Settings):
    """A range of values that are distributed evenly over the seeds."""

    min: float
    """Minimum of the range."""
    max: float
    """Maximum of the range."""

    @model_validator(mode='after')
    def _check_order(self) -> RangeSettings:
        if self.max < self.min:
            raise fault(Code.OUT_OF_RANGE, f'max is {self.max:g}, which is less than min, {self.min:g}')
        return self


class PhaseSettings(Settings):
    """One phase of the dynamics. The phases of a run follow one another in one job."""

    kind: Literal['hold', 'ramp', 'velocity_reset'] = 'hold'
    """With ``hold``, temperature and pressure are constant. ``ramp`` changes them linearly, from the values at the end
    of the previous phase. ``velocity_reset`` draws new velocities at the new temperature, which then remains
    constant."""
    n_steps: int = Field(ge=1)
    """Steps of molecular dynamics."""
    temperature_K: Temperature | None = None
    """Temperature in K; for a ramp, the final one. The default is the temperature of the previous phase."""
    pressure_GPa: float | None = None
    """Pressure in GPa; for a ramp, the final one. The default is the pressure of the previous phase."""
    sampled: bool = True
    """Whether frames of this phase are stored."""

    @model_validator(mode='after')
    def _check_ramp(self) -> PhaseSettings:
        if self.kind == 'ramp' and self.temperature_K is None and self.pressure_GPa is None:
            raise fault(Code.VALUES_INCOMPLETE, 'a ramp needs temperature_K or pressure_GPa; otherwise, use kind hold')
        return self


class GuardSettings(Settings):
    """When a run counts as unstable. Null turns a guard off; for the temperature, set ``check_temperature: false``.

    A result that is not finite always stops the run.
    """

    temperature_K: float | None = Field(default=None, gt=0)
    """Maximum instantaneous temperature in K. The default is 1000 K plus the larger of two values: four times the
    highest recent target, and this target plus ten standard deviations, which is larger for very few atoms."""
    check_temperature: bool = True
    """Whether the temperature is checked."""
    energy_jump_eV: float | None = Field(default=0.5, gt=0)
    """Maximum change of the potential energy per atom in one step, in eV."""
    force_eV_per_A: float | None = Field(default=100.0, gt=0)
    """Maximum force on an atom in eV/Å."""
    distance_factor: float | None = Field(default=0.5, gt=0)
    """Minimum distance between two atoms, as a fraction of the sum of their covalent radii."""
    volume_factor: float | None = Field(default=2.0, gt=1)
    """Maximum factor by which the volume, and thus the density, may increase or decrease relative to the seed."""
    width_factor: float | None = Field(default=0.7, gt=0, lt=1)
    """If the cell changes its shape: minimum perpendicular width along each cell vector, relative to the seed."""
    angle_change_deg: float | None = Field(default=20.0, gt=0, lt=180)
    """If the cell changes its shape: maximum change of an angle between cell vectors relative to the seed, in degrees.
    """
    detached_factor: float | None = Field(default=3.0, gt=1)
    """An atom, cluster or molecule is detached if it was connected to other atoms in the seed and all of them are now
    farther away than this factor times twice the largest covalent radius. This distance is at least 1.5 times the
    largest nearest-neighbour distance in the seed."""
    interval: int = Field(default=10, ge=1)
    """Steps between checks of the distances. Every stored frame is checked as well."""

    @model_validator(mode='after')
    def _check_effects(self) -> GuardSettings:
        if not self.check_temperature:
            refuse_without_effect(self, ('temperature_K',), 'check_temperature is false')
        if self.distance_factor is None and self.detached_factor is None:
            refuse_without_effect(self, ('interval',), 'distance_factor and detached_factor are null')
        return self


class RecoverySettings(Settings):
    """How an unstable run is resumed from its last good frame."""

    max_recoveries: int = Field(default=1, ge=0)
    """Maximum number of recoveries of a run; with 0, the run ends when it becomes unstable."""
    temperature_factor: float = Field(default=0.7, gt=0, le=1)
    """All temperatures are multiplied by this factor at each recovery."""
    timestep_factor: float = Field(default=0.5, gt=0, le=1)
    """The time step is multiplied by this factor at each recovery."""

    @model_validator(mode='after')
    def _check_effects(self) -> RecoverySettings:
        if self.max_recoveries == 0:
            refuse_without_effect(self, ('temperature_factor', 'timestep_factor'), 'max_recoveries is 0')
        return self


class RelaxationSettings(Settings):
    """A short relaxation of the atoms in a fixed cell, before the dynamics."""

    max_steps: int = Field(default=50, ge=1)
    """Maximum number of steps of the FIRE optimiser."""
    force_eV_per_A: float = Field(default=0.05, gt=0)
    """The relaxation ends when no force exceeds this value, in eV/Å."""


class ExplorationSettings(Settings):
    """Each seed is explored by molecular dynamics, with Monte Carlo moves if requested."""

    kind: Literal['dynamics'] = 'dynamics'
    """Molecular dynamics."""
    ensemble: Literal['auto', 'nve', 'nvt', 'npt'] = 'auto'
    """``auto`` selects NPT for a bulk structure. It selects NVT for generated slabs and molecules, and for a structure
    with vacuum, a non-periodic direction or a fixed atom; with ``cell: in_plane``, slabs run in NPT. The result
    contains the ensemble and the reason."""
    thermostat: Literal['langevin', 'bussi'] = 'langevin'
    """Thermostat for NVT: Langevin, or Bussi's stochastic velocity rescaling, which perturbs the dynamics less."""
    temperature_K: Temperature | tuple[Temperature, ...] | RangeSettings = 300.0
    """Temperature in K: one value, a list whose values the seeds take in turn, or a range."""
    pressure_GPa: float | tuple[float, ...] | RangeSettings = 0.0
    """Pressure in GPa, for NPT: one value, a list or a range."""
    cell: Literal['isotropic', 'anisotropic', 'flexible', 'in_plane'] = 'isotropic'
    """What changes in NPT. ``isotropic``: the volume, at constant shape. ``anisotropic``: the three lengths of the cell
    vectors, at constant angles. ``flexible``: lengths and angles. ``in_plane``: the first two cell vectors in their
    plane, for slabs with vacuum along the third one. The cell of a liquid, an amorphous solid or a packing of
    molecules would shear without limit: with ``ensemble: auto`` its shape is constant, and with ``npt`` the seed is
    refused."""
    tension_GPa: TensionSettings | None = None
    """A tension in GPa in addition to the pressure, for a cell that changes its shape; by default, none."""
    n_steps: int = Field(default=1000, ge=1)
    """Steps of molecular dynamics, if ``phases`` is not set."""
    phases: tuple[PhaseSettings, ...] = ()
    """Phases of the run, by default a single hold. The first one starts at ``temperature_K`` and ``pressure_GPa``."""
    n_equilibration_steps: int = Field(default=0, ge=0)
    """Steps at the beginning during which no frames are stored. They are included in ``n_steps``."""
    timestep_fs: float | None = Field(default=None, gt=0, le=20)
    """Time step in fs. The default is 0.35 fs times the square root of the smallest mass in u, but at least 0.25 fs
    and at most 2 fs."""
    monte_carlo: MonteCarloSettings | None = None
    """Monte Carlo moves between the steps of the dynamics; by default, none."""
    relaxation: RelaxationSettings | None = None
    """Relaxation of the seed before the dynamics; by default, none. A perturbed seed is never relaxed."""
    thermostat_time_fs: float = Field(default=100.0, gt=0)
    """Time constant of the thermostat in fs: the inverse friction coefficient for Langevin, or the coupling time
    for Bussi."""
    barostat_time_fs: float = Field(default=500.0, gt=0)
    """Time constant τ of the barostat in fs. The cell has the inertia (N_f + 3) k T τ², with T at least 300 K, and the
    friction 10/τ."""
    frame_interval: int = Field(default=20, ge=1)
    """Steps between stored frames."""
    frame_min_change_A: float = Field(default=0.0, ge=0)
    """A frame is stored only if an atom has moved by at least this distance in Å since the previous frame."""
    novelty: NoveltySettings | None = None
    """Only new frames are stored, and the run may be stopped or cooled in a region where the calculator cannot be
    trusted; by default, neither."""
    bias: BiasSettings | None = None
    """A bias of the dynamics towards structures on which the members of a committee disagree; by default, none."""
    checkpoint_interval: int = Field(default=100, ge=1)
    """Steps between checkpoints. If a job is killed, the steps since its last checkpoint are repeated."""
    vacuum_A: float = Field(default=6.0, gt=0)
    """Minimum thickness of an empty layer that counts as vacuum, in Å. Atoms are treated as spheres with their
    covalent radii."""
    guards: GuardSettings = GuardSettings()
    """Limits at which a run is stopped as unstable."""
    recovery: RecoverySettings = RecoverySettings()
    """How an unstable run is resumed from its last good frame."""
    walltime_margin_s: float | None = Field(default=None, ge=0)
    """Seconds before the wall-time limit at which the job writes its checkpoint and ends. The default is a tenth
    of the wall time, but at most 60 s."""

    stores_seed: ClassVar[bool] = False
    force_calls_per_atom: ClassVar[int] = 0

    @property
    def total_steps(self) -> int:
        """Total number of steps of the run."""
        return sum(phase.n_steps for phase in self.phases) if self.phases else self.n_steps

    @property
    def frame_steps(self) -> tuple[range, ...]:
        """Absolute steps after which a frame is stored, for each phase. ``frame_min_change_A`` may skip some."""
        windows, first = [], 0
        for phase in self.phases or (PhaseSettings(n_steps=self.n_steps),):
            last = first + phase.n_steps
            if phase.sampled:
                # The first multiple of the interval after the phase has started and the equilibration has ended.
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
    def _check_consistency(self) -> ExplorationSettings:
        if self.n_equilibration_steps >= self.total_steps:
            raise fault(
                Code.OUT_OF_RANGE,
                f'n_equilibration_steps, {self.n_equilibration_steps}, must be less than the number of steps, '
                f'{self.total_steps}',
            )
        if self.ensemble == 'nve' and self.monte_carlo is not None:
            raise fault(
                Code.VALUES_EXCLUDE, 'ensemble nve cannot be combined with monte_carlo, because moves change the energy'
            )
        if isinstance(self.temperature_K, RangeSettings) and self.temperature_K.min < 0:
            raise fault(Code.OUT_OF_RANGE, f'temperature_K.min is {self.temperature_K.min:g}, below 0 K')
        if self.ensemble == 'nve' and self.novelty is not None and self.novelty.on_limit == 'cool':
            raise fault(Code.VALUES_EXCLUDE, 'ensemble nve cannot be combined with novelty.on_limit cool')
        for name in ('temperature_K', 'pressure_GPa'):
            if getattr(self, name) == ():
                raise fault(Code.WRONG_LENGTH, f'{name} is an empty list')
        return self

    @model_validator(mode='after')
    def _check_effects(self) -> ExplorationSettings:
        refuse_unused(self, self.ensemble)
        if self.cell == 'isotropic':
            refuse_without_effect(self, ('tension_GPa',), 'the shape of an isotropic cell is constant')
            refuse_without_effect(self.guards, SHAPE_GUARDS, 'the shape of an isotropic cell is constant')
        if self.cell == 'anisotropic':
            constant = 'the angles of an anisotropic cell are constant'
            refuse_without_effect(self.guards, ('angle_change_deg',), constant)
            if self.tension_GPa is not None:
                refuse_without_effect(self.tension_GPa, ('yz', 'xz', 'xy'), constant)
        if self.phases:
            refuse_without_effect(self, ('n_steps',), 'each phase sets its own number of steps')
            if self.phases[0].kind != 'ramp' and self.phases[0].pressure_GPa is not None:
                refuse_without_effect(self, ('pressure_GPa',), 'phases[0].pressure_GPa replaces it')
        if self.monte_carlo is not None and self.monte_carlo.n_md_steps > self.total_steps:
            raise fault(
                Code.OUT_OF_RANGE,
                f'monte_carlo.n_md_steps, {self.monte_carlo.n_md_steps}, exceeds the number of steps, '
                f'{self.total_steps}, so no move would be tried',
            )
        if self.monte_carlo is not None and not self._has_round_without_frames(self.monte_carlo.n_md_steps):
            refuse_without_effect(
                self.monte_carlo, ('adapt',), 'frames are stored at all steps at which moves are tried'
            )
        return self

    def _has_round_without_frames(self, n_md_steps: int) -> bool:
        first = 0
        for phase in self.phases or (PhaseSettings(n_steps=self.n_steps),):
            last = first + phase.n_steps
            end = min(last, self.n_equilibration_steps) if phase.sampled else last
            if end // n_md_steps > first // n_md_steps:
                return True
            first = last
        return False

    def for_seed(self, place: Place) -> ExplorationSettings:
        """Return the settings for one seed, with one temperature and one pressure.

        The seeds cycle through the lists: all temperatures are combined with one pressure before the next pressure is
        used. Each round starts one element later. After as many rounds as there are pairs, every composition of a grid
        has been combined with every pair. Ranges follow Kronecker sequences, so that any number of seeds covers them
        evenly.

        Parameters
        ----------
        place
            Position of the seed in its entry.
        """
        n_temperatures = len(self.temperature_K) if isinstance(self.temperature_K, tuple) else 1
        return self.model_copy(
            update={
                'temperature_K': value_for(self.temperature_K, place),
                'pressure_GPa': value_for(self.pressure_GPa, place, number=1, repeats=n_temperatures),
            }
        )

    def scalar_temperature(self) -> float:
        """Return the temperature in K. `for_seed` must have replaced a list or range."""
        return one_value(self.temperature_K, 'temperature_K')

    def scalar_pressure(self) -> float:
        """Return the pressure in GPa. `for_seed` must have replaced a list or range."""
        return one_value(self.pressure_GPa, 'pressure_GPa')


def value_for(
    value: float | tuple[float, ...] | RangeSettings, place: Place, number: int = 0, repeats: int = 1
) -> float:
    """Return the value of a setting for one seed; see `ExplorationSettings.for_seed`.

    Parameters
    ----------
    value
        One value, a list that is cycled over the seeds, or a range that is spread over them.
    place
        Position of the seed in its entry.
    number
        Number of the setting: 0 or 1. The values of two settings are independent of each other.
    repeats
        Number of consecutive seeds with the same value of a list.
    """
    if isinstance(value, tuple):
        return value[sum(place) // repeats % len(value)]
    if isinstance(value, RangeSettings):
        start = (place.offset % 2**16 / 2**16, place.offset // 2**16 / 2**16)[number]
        step, jump = KRONECKER_STEPS[number]
        return value.min + (value.max - value.min) * ((start + place.position * step + place.round * jump) % 1)
    return value


def one_value(value: float | tuple[float, ...] | RangeSettings, name: str) -> float:
    """Return a setting that `value_for` has replaced by one value."""
    if isinstance(value, tuple | RangeSettings):
        raise ValueError(f'{name} is a list or a range, but a job needs one value')
    return value
