"""Translation of one molecule."""

from __future__ import annotations

from typing import Literal

import numpy as np
from ase import Atoms
from pydantic import Field

from aiida_mlip_autopipe.exploration.montecarlo.base import Move, MoveSettings, Trial
from aiida_mlip_autopipe.exploration.montecarlo.molecules import movable_molecules
from aiida_mlip_autopipe.exploration.phase_space import PhaseSpace


class TranslationSettings(MoveSettings):
    """Moves one molecule by a random vector. The molecule keeps its shape and orientation."""

    kind: Literal['translation'] = 'translation'
    """Translation of a molecule."""
    max_displacement_A: float = Field(default=0.2, gt=0)
    """Maximum displacement along each Cartesian axis in Å."""


class Translation(Move):
    """Moves one molecule by a random vector, uniform in a cube. The proposal is symmetric, so it needs no factor."""

    settings_class = TranslationSettings
    settings: TranslationSettings
    step_setting = 'max_displacement_A'

    def begin(self, atoms: Atoms, free: np.ndarray) -> None:
        """Store the atoms of the molecules that may move."""
        self._members = movable_molecules(self.settings.kind, self.molecules, free)

    def propose(self, system: PhaseSpace, rng: np.random.Generator) -> Trial:
        """Move one randomly chosen molecule."""
        members = self._members[int(rng.integers(len(self._members)))]
        positions = system.positions.copy()
        positions[members] += rng.uniform(-self.step_size, self.step_size, 3)
        return Trial(positions, system.cell)


VARIANT = Translation
