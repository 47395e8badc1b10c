"""Settings of explorations without dynamics: single points and relaxations."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from aiida_mlip_autopipe.core.settings import Settings
from aiida_mlip_autopipe.exploration.settings.dynamics import GuardSettings, PhaseSettings, RecoverySettings
from aiida_mlip_autopipe.exploration.unused import refuse_unused
from aiida_mlip_autopipe.structures.seed import Place


class _NoDynamics:
    """Limits and settings that apply only to dynamics."""

    temperature_K: ClassVar[None] = None
    check_temperature: ClassVar[bool] = False
    energy_jump_eV: ClassVar[None] = None
    width_factor: ClassVar[None] = None
    angle_change_deg: ClassVar[None] = None
    detached_factor: ClassVar[None] = None


class SinglePointGuards(Settings, _NoDynamics):
    """Limits that a seed must satisfy. Null turns a guard off. A result that is not finite never passes."""

    force_eV_per_A: float | None = Field(default=None, gt=0)
    """Maximum force on an atom in eV/Å; by default, no limit is set."""
    distance_factor: float | None = Field(default=None, gt=0)
    """Minimum distance between two atoms, as a fraction of the sum of their covalent radii; by default, no limit is
    set."""

    volume_factor: ClassVar[None] = None
    interval: ClassVar[int] = 1


class RelaxGuards(Settings, _NoDynamics):
    """Limits at which a relaxation is stopped. Null turns a guard off. A result that is not finite always stops it."""

    force_eV_per_A: float | None = Field(default=100.0, gt=0)
    """Maximum force on an atom in eV/Å."""
    distance_factor: float | None = Field(default=0.5, gt=0)
    """Minimum distance between two atoms, as a fraction of the sum of their covalent radii."""
    volume_factor: float | None = Field(default=2.0, gt=1)
    """Maximum factor by which the volume may differ from the seed's, in either direction."""

    interval: ClassVar[int] = 1


class FixedCellGuards(Settings, _NoDynamics):
    """Limits at which a run is stopped. Null turns a guard off. A result that is not finite always stops it."""

    force_eV_per_A: float | None = Field(default=100.0, gt=0)
    """Maximum force on an atom in eV/Å."""
    distance_factor: float | None = Field(default=0.5, gt=0)
    """Minimum distance between two atoms, as a fraction of the sum of their covalent radii."""

    volume_factor: ClassVar[None] = None
    interval: ClassVar[int] = 1


AnyGuards = GuardSettings | SinglePointGuards | RelaxGuards | FixedCellGuards


class StaticSettings(Settings):
    """Settings that all explorations without dynamics share."""

    checkpoint_interval: int = Field(default=100, ge=1)
    """Steps between checkpoints. If a job is killed, the steps since its last checkpoint are repeated."""
    walltime_margin_s: float | None = Field(default=None, ge=0)
    """Seconds before the wall-time limit at which the job writes its checkpoint and ends. The default is a tenth
    of the wall time, but at most 60 s."""

    phases: ClassVar[tuple[PhaseSettings, ...]] = ()
    n_equilibration_steps: ClassVar[int] = 0
    frame_min_change_A: ClassVar[float] = 0.0
    novelty: ClassVar[None] = None
    bias: ClassVar[None] = None
    monte_carlo: ClassVar[None] = None
    relaxation: ClassVar[None] = None
    recovery: ClassVar[RecoverySettings] = RecoverySettings(max_recoveries=0)
    stores_seed: ClassVar[bool] = True
    force_calls_per_atom: ClassVar[int] = 0

    def for_seed(self, place: Place) -> Self:
        """Return these settings, which are the same for all seeds."""
        return self

    def scalar_temperature(self) -> float:
        """Return 0 K, because the atoms have no velocities."""
        return 0.0


class SinglePointSettings(StaticSettings):
    """The calculator evaluates each seed without moving its atoms. The trajectory contains only this frame."""

    kind: Literal['single_point'] = 'single_point'
    """Single points."""
    guards: SinglePointGuards = SinglePointGuards()
    """Limits that a seed must satisfy."""

    n_steps: ClassVar[int] = 0
    total_steps: ClassVar[int] = 0
    frame_interval: ClassVar[int] = 1
    n_frames: ClassVar[int] = 1
    n_force_calls: ClassVar[int] = 1

    def scalar_pressure(self) -> float:
        """Return 0 GPa, because the cell does not change."""
        return 0.0


class RelaxSettings(StaticSettings):
    """The energy of each seed is minimised. The seed, intermediate structures and the relaxed structure are stored."""

    kind: Literal['relax'] = 'relax'
    """Relaxations."""
    degrees: Literal['auto', 'cell', 'positions', 'normal'] = 'auto'
    """What is relaxed: the positions and the cell (``cell``), only the positions, or only the positions normal to the
    plane of the first two cell vectors (``normal``), as for stacking faults. ``auto`` selects ``cell`` for a bulk
    structure, and ``positions`` for one with vacuum, a non-periodic direction or a fixed atom."""
    pressure_GPa: float = 0.0
    """Pressure in GPa at which a cell is relaxed."""
    n_steps: int = Field(default=200, ge=1)
    """Maximum number of steps of the FIRE optimiser."""
    force_eV_per_A: float = Field(default=0.02, gt=0)
    """The relaxation ends when no force along a relaxed direction exceeds this value, in eV/Å."""
    stress_GPa: float = Field(default=0.1, gt=0)
    """A relaxation of the cell also continues until no component of the stress differs from the pressure by more than
    this value, in GPa."""
    frame_interval: int = Field(default=5, ge=1)
    """Steps between stored frames."""
    vacuum_A: float = Field(default=6.0, gt=0)
    """Minimum thickness of an empty layer that counts as vacuum, in Å. Atoms are treated as spheres with their
    covalent radii."""
    guards: RelaxGuards = RelaxGuards()
    """Limits at which a relaxation is stopped."""

    @model_validator(mode='after')
    def _check_effects(self) -> Self:
        refuse_unused(self, 'auto' if self.degrees == 'auto' else f'relax_{self.degrees}')
        return self

    @property
    def total_steps(self) -> int:
        """Maximum number of steps."""
        return self.n_steps

    @property
    def n_frames(self) -> int:
        """Maximum number of frames: the seed, one per interval and the relaxed structure."""
        return 1 + -(-self.n_steps // self.frame_interval)

    @property
    def n_force_calls(self) -> int:
        """Maximum number of evaluations by the calculator."""
        return 1 + self.n_steps

    def scalar_pressure(self) -> float:
        """Return the pressure in GPa."""
        return self.pressure_GPa
