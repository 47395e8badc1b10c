"""Settings of displacements along normal modes."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.fields import fault
from aiida_mlip_autopipe.exploration.settings.dynamics import RangeSettings, one_value, value_for
from aiida_mlip_autopipe.exploration.settings.static import FixedCellGuards, StaticSettings
from aiida_mlip_autopipe.structures.seed import Place


class NormalModesSettings(StaticSettings):
    """Each seed is relaxed and displaced along its normal modes, with the distribution of a harmonic solid."""

    kind: Literal['normal_modes'] = 'normal_modes'
    """Displacements along normal modes."""
    temperature_K: float | tuple[float, ...] | RangeSettings = 300.0
    """Temperature in K: one value, a list whose values the seeds take in turn, or a range."""
    n_steps: int = Field(default=50, ge=1)
    """Number of structures that are drawn. Each is a frame."""
    statistics: Literal['classical', 'quantum'] = 'classical'
    """``classical`` gives the distribution of molecular dynamics. ``quantum`` includes the zero-point motion."""
    displacement_A: float = Field(default=0.01, gt=0, le=0.1)
    """Displacement of each coordinate in Å for the central differences of the forces that give the Hessian."""
    max_relaxation_steps: int = Field(default=200, ge=0)
    """Maximum number of steps of the FIRE optimiser, which relaxes the positions first. With 0, the modes are those of
    the unrelaxed seed."""
    force_eV_per_A: float = Field(default=0.01, gt=0)
    """The relaxation ends when no force exceeds this value, in eV/Å. A larger force that remains is reported."""
    min_frequency_THz: float = Field(default=0.1, gt=0)
    """Modes with a lower frequency are not sampled, because their amplitudes would be too large. Their number is
    reported."""
    imaginary_modes: Literal['excluded', 'drawn'] = 'excluded'
    """Whether modes with an imaginary frequency are sampled, using the absolute value of the frequency. Their number is
    reported."""
    guards: FixedCellGuards = FixedCellGuards()
    """Limits at which a run is stopped."""

    frame_interval: ClassVar[int] = 1
    stores_seed: ClassVar[bool] = False
    force_calls_per_atom: ClassVar[int] = 6

    @model_validator(mode='after')
    def _check_temperatures(self) -> Self:
        given = self.temperature_K
        values = (given.min,) if isinstance(given, RangeSettings) else given if isinstance(given, tuple) else (given,)
        if not values:
            raise fault(Code.WRONG_LENGTH, 'temperature_K is an empty list')
        if min(values) <= 0:
            raise fault(Code.OUT_OF_RANGE, f'temperature_K is {min(values):g}, but must be greater than 0 K')
        return self

    @property
    def total_steps(self) -> int:
        """Number of structures."""
        return self.n_steps

    @property
    def n_frames(self) -> int:
        """Number of frames."""
        return self.n_steps

    @property
    def n_force_calls(self) -> int:
        """Maximum number of evaluations by the calculator, without those of the Hessian."""
        return 1 + self.max_relaxation_steps + self.n_steps

    def for_seed(self, place: Place) -> Self:
        """Return the settings for one seed, with one temperature; see `ExplorationSettings.for_seed`."""
        return self.model_copy(update={'temperature_K': value_for(self.temperature_K, place)})

    def scalar_temperature(self) -> float:
        """Return the temperature in K. `for_seed` must have replaced a list or range."""
        return one_value(self.temperature_K, 'temperature_K')

    def scalar_pressure(self) -> float:
        """Return 0 GPa, because the cell does not change."""
        return 0.0
