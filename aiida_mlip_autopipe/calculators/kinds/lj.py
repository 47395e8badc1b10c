"""Lennard-Jones, for noble gases, trials and tests."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.neighborlist import primitive_neighbor_list
from pydantic import Field

from aiida_mlip_autopipe.calculators.base import CalculatorLoader, CalculatorSettings, Loaded


class LennardJonesSettings(CalculatorSettings):
    """One Lennard-Jones potential between all atoms, whatever their elements; the defaults are argon's."""

    kind: Literal['lj'] = 'lj'
    """Lennard-Jones."""
    epsilon_eV: float = Field(default=0.0104, gt=0)
    """Depth of the well in eV."""
    sigma_A: float = Field(default=3.4, gt=0)
    """Distance at which two atoms neither attract nor repel in energy, in Å."""
    cutoff_A: float = Field(default=8.5, gt=0)
    """Range in Å; energy and force are shifted to vanish there."""
    device: Literal['auto', 'cpu'] = 'auto'
    """It runs on the CPU."""
    dtype: Literal['float64'] = 'float64'
    """It computes in double precision."""


class ShiftedForceLennardJones(Calculator):  # type: ignore[misc]
    """``u(r) - u(r_c) - (r - r_c) u'(r_c)`` with ``u = 4 ε ((σ/r)¹² - (σ/r)⁶)``: continuous in energy and force.

    After Toxvaerd and Dyre, J. Chem. Phys. 134, 081102 (2011). The neighbours are found anew for each structure.

    Parameters
    ----------
    settings
        Depth, size and range.
    """

    implemented_properties = ('energy', 'free_energy', 'forces', 'stress')

    def __init__(self, settings: LennardJonesSettings):
        super().__init__()
        self._settings = settings

    def calculate(
        self, atoms: Atoms | None = None, properties: Any = ('energy',), system_changes: Any = all_changes
    ) -> None:
        """Compute energy, forces and stress at once."""
        super().calculate(atoms, properties, system_changes)
        atoms, cutoff = self.atoms, self._settings.cutoff_A
        first, distances, vectors = primitive_neighbor_list('idD', atoms.pbc, atoms.cell.array, atoms.positions, cutoff)
        energies, slopes = self._pair(distances)
        end_energy, end_slope = self._pair(np.array(cutoff))
        # Each pair is met twice, once from either side.
        energy = 0.5 * float((energies - end_energy - (distances - cutoff) * end_slope).sum())
        pulls = ((slopes - end_slope) / distances)[:, np.newaxis] * vectors
        forces = np.zeros((len(atoms), 3))
        np.add.at(forces, first, pulls)
        self.results = {'energy': energy, 'free_energy': energy, 'forces': forces}
        if atoms.cell.rank == 3:
            stress = 0.5 * vectors.T @ pulls / atoms.cell.volume
            self.results['stress'] = stress[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]

    def _pair(self, distances: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        epsilon = self._settings.epsilon_eV
        sixth = (self._settings.sigma_A / distances) ** 6
        return 4.0 * epsilon * (sixth**2 - sixth), 24.0 * epsilon * (sixth - 2.0 * sixth**2) / distances


class LennardJonesLoader(CalculatorLoader):
    """Loads `ShiftedForceLennardJones`."""

    settings_class = LennardJonesSettings
    settings: LennardJonesSettings
    package = 'ase'
    module = 'ase'
    uses_torch = False

    def load(self) -> Loaded:
        """Return the calculator."""
        return Loaded(ShiftedForceLennardJones(self.settings))


VARIANT = LennardJonesLoader
