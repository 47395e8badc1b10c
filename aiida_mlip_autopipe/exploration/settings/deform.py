"""Settings of deformations in steps, up to failure."""

from __future__ import annotations

from typing import Literal, Self

import numpy as np
from pydantic import Field, model_validator

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.fields import fault
from aiida_mlip_autopipe.exploration.settings.static import FixedCellGuards, StaticSettings
from aiida_mlip_autopipe.exploration.unused import refuse_without_effect

Vector = tuple[float, float, float]


class DeformSettings(StaticSettings):
    """Each seed is deformed in steps, up to a maximum strain or to failure. The atoms are relaxed after each step."""

    kind: Literal['deform'] = 'deform'
    """Deformations."""
    mode: Literal['uniaxial', 'shear', 'volumetric'] = 'uniaxial'
    """Strain along ``direction``, simple shear along ``direction`` in ``plane``, or equal strain in all directions."""
    direction: Literal['a', 'b', 'c'] | Vector = 'a'
    """Direction of the strain or shear: a cell vector, or a Cartesian vector."""
    plane: Literal['ab', 'bc', 'ca'] | Vector = 'ab'
    """Plane of a shear: that of two cell vectors, or the plane with a Cartesian vector as its normal."""
    transverse: Literal['fixed', 'relaxed'] = 'fixed'
    """Under a uniaxial strain, the cell perpendicular to ``direction`` is either fixed or relaxed at zero stress."""
    strain_per_step: float = Field(default=0.01, ge=-0.1, le=0.1)
    """Change of the strain in each step, relative to the seed. It is negative for compression."""
    n_steps: int = Field(default=30, ge=1)
    """Maximum number of steps. The maximum strain is this number times ``strain_per_step``."""
    failure_fraction: float | None = Field(default=0.5, gt=0, lt=1)
    """The run ends when the stress falls below this fraction of its maximum. With null, it continues to the maximum
    strain."""
    max_relaxation_steps: int = Field(default=100, ge=0)
    """Maximum number of steps of the FIRE optimiser at each strain."""
    force_eV_per_A: float = Field(default=0.02, gt=0)
    """A relaxation ends when no force exceeds this value, in eV/Å."""
    stress_GPa: float = Field(default=0.1, gt=0)
    """A relaxation of the transverse cell also continues until no transverse stress exceeds this value, in GPa."""
    frame_interval: int = Field(default=1, ge=1)
    """Steps between stored frames."""
    vacuum_A: float = Field(default=6.0, gt=0)
    """Minimum thickness of an empty layer that counts as vacuum, in Å. Atoms are treated as spheres with their
    covalent radii."""
    guards: FixedCellGuards = FixedCellGuards()
    """Limits at which a run is stopped."""

    @model_validator(mode='after')
    def _check_effects(self) -> Self:
        if self.mode != 'shear':
            refuse_without_effect(self, ('plane',), f'mode is {self.mode}')
        if self.mode != 'uniaxial':
            refuse_without_effect(self, ('transverse',), f'mode is {self.mode}')
        if self.mode == 'volumetric':
            refuse_without_effect(self, ('direction',), 'mode is volumetric')
        if self.transverse == 'fixed':
            refuse_without_effect(self, ('stress_GPa',), 'the transverse cell is fixed')
        return self

    @model_validator(mode='after')
    def _check_geometry(self) -> Self:
        for name in ('direction', 'plane'):
            value = getattr(self, name)
            if not isinstance(value, str) and not (np.isfinite(value).all() and np.any(value)):
                raise fault(Code.OUT_OF_RANGE, f'{name} is {list(value)}, which is not a direction')
        if self.strain_per_step == 0.0:
            raise fault(Code.OUT_OF_RANGE, 'strain_per_step is 0, so nothing would be deformed')
        last = self.n_steps * self.strain_per_step
        if self.mode != 'shear' and last <= -1.0:
            raise fault(Code.OUT_OF_RANGE, f'n_steps times strain_per_step is {last:g}, but must be greater than -1')
        return self

    @property
    def total_steps(self) -> int:
        """Maximum number of steps."""
        return self.n_steps

    @property
    def n_frames(self) -> int:
        """Maximum number of frames: the seed, one per interval and the structure after failure."""
        return 1 + -(-self.n_steps // self.frame_interval)

    @property
    def n_force_calls(self) -> int:
        """Maximum number of evaluations by the calculator."""
        return 1 + self.n_steps * (1 + self.max_relaxation_steps)

    def scalar_pressure(self) -> float:
        """Return 0 GPa, because no pressure is applied."""
        return 0.0
