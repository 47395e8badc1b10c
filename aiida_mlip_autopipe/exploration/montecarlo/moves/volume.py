"""Change of the volume at constant cell shape."""

from __future__ import annotations

from typing import Literal

import numpy as np
from ase import Atoms
from pydantic import Field

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.exploration.montecarlo.base import Move, MoveRefusedError, MoveSettings, Trial
from aiida_mlip_autopipe.exploration.phase_space import PhaseSpace
from aiida_mlip_autopipe.structures.molecules import molecule_centres, number_bodies


class VolumeSettings(MoveSettings):
    """Scales the cell and the positions of the atoms."""

    kind: Literal['volume'] = 'volume'
    """Volume."""
    max_change: float = Field(default=0.03, gt=0, lt=1)
    """Maximum relative change of the volume."""
    scale: Literal['logarithmic', 'linear'] = 'logarithmic'
    """Whether the step is uniform in the logarithm of the volume, or in the volume."""


class Volume(Move):
    """Scales the cell and all atoms, at constant scaled coordinates. Molecules keep their shape.

    The probability density in the scaled coordinates and V is ``V^N exp(-(U + P V)/kT)``. A step uniform in V has the
    factor ``N ln(V'/V)``, and a step uniform in ln V has ``(N + 1) ln(V'/V)`` (Frenkel and Smit, Understanding
    Molecular Simulation, section 5.4.2). For molecules, whose centres are scaled, N is their number.
    """

    settings_class = VolumeSettings
    settings: VolumeSettings
    step_setting = 'max_change'
    needs_npt = True

    def begin(self, atoms: Atoms, free: np.ndarray) -> None:
        """Refuse a structure with fixed atoms, and store the volume of the seed, to which a linear step refers."""
        if not free.all():
            raise MoveRefusedError(Code.MOVE_IMPOSSIBLE, 'a volume move would move the fixed atoms')
        self._seed_volume = atoms.get_volume()
        self._bodies = None if self.molecules is None else number_bodies(self.molecules)
        self._n = len(atoms) if self._bodies is None else len(np.unique(self._bodies))

    def propose(self, system: PhaseSpace, rng: np.random.Generator) -> Trial:
        """Scale the structure."""
        n = self._n
        if self.settings.scale == 'logarithmic':
            change = rng.uniform(-1.0, 1.0) * np.log1p(self.step_size)
            exponent = n + 1
        else:
            volume = system.volume
            new_volume = volume + rng.uniform(-1.0, 1.0) * (self.step_size * self._seed_volume)
            # A negative volume has zero probability, so the proposal is rejected.
            change = np.log(new_volume / volume) if new_volume > 0.0 else -np.inf
            exponent = n
        if not np.isfinite(change):
            return Trial(system.positions, system.cell, -np.inf)
        scale = np.exp(change / 3.0)
        if self._bodies is None:
            positions = scale * system.positions
        else:
            positions = system.positions + (scale - 1.0) * molecule_centres(system.positions, self._bodies)
        return Trial(positions, scale * system.cell, exponent * change)


VARIANT = Volume
