"""A third-party package: molecular crystals made by pyxtal, added to the program only by an entry point."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from ase import Atoms
from pydantic import Field

from aiida_mlip_autopipe.core.errors import PhysicsViolationError
from aiida_mlip_autopipe.generation import Generator, GeneratorSettings, Parent, Requirements


class MolecularCrystalSettings(GeneratorSettings):
    """Random crystals of a molecule."""

    kind: Literal['molecular_crystal'] = 'molecular_crystal'
    """Molecular crystal."""
    molecule: str = 'H2O'
    """A molecule that pyxtal knows."""
    spacegroups: tuple[int, ...] = (4, 14, 19)
    """Space groups, of which one is drawn."""
    volume_factor: float = Field(default=1.3, gt=0)
    """Volume divided by pyxtal's estimate."""


class MolecularCrystalGenerator(Generator):
    """Random crystals of a molecule, one molecule on the general position."""

    settings_class = MolecularCrystalSettings
    settings: MolecularCrystalSettings

    def draw_parent(self, index: int, rng: np.random.Generator, requirements: Requirements) -> Parent:
        """Return a random molecular crystal."""
        from pyxtal import pyxtal

        group = int(rng.choice(self.settings.spacegroups))
        number = {4: 2, 14: 4, 19: 4}[group]
        crystal = pyxtal(molecular=True)
        crystal.from_random(
            3, group, [self.settings.molecule], [number], factor=self.settings.volume_factor, random_state=rng
        )
        if not crystal.valid:
            raise PhysicsViolationError('molecular_crystal', (), 0.0, 1.0, f'no crystal of {self.settings.molecule}')
        found = crystal.to_ase(resort=False)
        record: dict[str, Any] = {'molecule': self.settings.molecule, 'spacegroup': group}
        return Parent(Atoms(found.symbols, found.positions, cell=found.cell, pbc=True), record)
