"""Rotation of one molecule."""

from __future__ import annotations

from typing import Literal

import numpy as np
from ase import Atoms
from pydantic import Field

from aiida_mlip_autopipe.exploration.montecarlo.base import Move, MoveSettings, Trial
from aiida_mlip_autopipe.exploration.montecarlo.molecules import movable_molecules
from aiida_mlip_autopipe.exploration.phase_space import PhaseSpace


class RotationSettings(MoveSettings):
    """Rotates one molecule about its centre. The molecule keeps its shape."""

    kind: Literal['rotation'] = 'rotation'
    """Rotation of a molecule."""
    max_angle_deg: float = Field(default=15.0, gt=0, le=180)
    """Maximum angle in degrees, about a random axis through the centre of the molecule."""


class Rotation(Move):
    """Rotates one molecule about a random axis through its centre, the mean position of its atoms.

    The direction of the axis is uniform on the sphere, and the angle is uniform up to the maximum. The reverse rotation
    has the opposite axis and the same centre. It is equally probable, so the move needs no factor (Frenkel and Smit,
    Understanding Molecular Simulation, section 3.3.2).
    """

    settings_class = RotationSettings
    settings: RotationSettings
    step_setting = 'max_angle_deg'

    def begin(self, atoms: Atoms, free: np.ndarray) -> None:
        """Store the atoms of the molecules that may be rotated: those of at least two atoms."""
        self._members = movable_molecules(self.settings.kind, self.molecules, free, min_atoms=2)

    def propose(self, system: PhaseSpace, rng: np.random.Generator) -> Trial:
        """Rotate one randomly chosen molecule."""
        from scipy.spatial.transform import Rotation as Matrix

        members = self._members[int(rng.integers(len(self._members)))]
        axis = rng.standard_normal(3)
        angle = np.radians(min(self.step_size, 180.0)) * rng.random()
        rotation = Matrix.from_rotvec(angle * axis / np.linalg.norm(axis))
        positions = system.positions.copy()
        centre = positions[members].mean(axis=0)
        positions[members] = centre + rotation.apply(positions[members] - centre)
        return Trial(positions, system.cell)


VARIANT = Rotation
