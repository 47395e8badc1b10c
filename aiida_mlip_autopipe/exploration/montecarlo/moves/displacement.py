"""Displacement of one atom."""

from __future__ import annotations

from typing import Literal

import numpy as np
from ase import Atoms
from pydantic import Field

from aiida_mlip_autopipe.exploration.montecarlo.base import Move, MoveSettings, Trial
from aiida_mlip_autopipe.exploration.phase_space import PhaseSpace


class DisplacementSettings(MoveSettings):
    """Moves one atom by a random vector."""

    kind: Literal['displacement'] = 'displacement'
    """Displacement."""
    max_displacement_A: float = Field(default=0.1, gt=0)
    """Maximum displacement along each Cartesian axis in Å."""


class Displacement(Move):
    """Moves one free atom by a random vector, uniform in a cube. The proposal is symmetric, so it needs no factor."""

    settings_class = DisplacementSettings
    settings: DisplacementSettings
    step_setting = 'max_displacement_A'

    def begin(self, atoms: Atoms, free: np.ndarray) -> None:
        """Store the indices of the atoms that may move."""
        self._free = np.flatnonzero(free)

    def propose(self, system: PhaseSpace, rng: np.random.Generator) -> Trial:
        """Move one randomly chosen atom."""
        limit = self.step_size
        positions = system.positions.copy()
        positions[rng.choice(self._free)] += rng.uniform(-limit, limit, 3)
        return Trial(positions, system.cell)


VARIANT = Displacement
