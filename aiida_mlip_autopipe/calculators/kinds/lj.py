"""Lennard-Jones potential, for noble gases and tests."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.neighborlist import primitive_neighbor_list
from pydantic import Field

from aiida_mlip_autopipe.calculators.base import CalculatorLoader, CalculatorSettings, Loaded


class LennardJonesSettings(CalculatorSettings):
    """A Lennard-Jones potential with the same parameters for all elements. The defaults are for argon."""

    kind: Literal['lj'] = 'lj'
    """Lennard-Jones."""
    epsilon_eV: float = Field(default=0.0104, gt=0)
    """Depth of the well in eV."""
    sigma_A: float = Field(default=3.4, gt=0)
    """Distance in Å at which the unshifted potential is zero."""
    cutoff_A: float = Field(default=8.5, gt=0)
    """Cutoff in Å. Energy and force are shifted so that they are zero there."""
    device: Literal['auto', 'cpu'] = 'auto'
    """Device. This calculator runs on the CPU."""
    dtype: Literal['float64'] = 'float64'
    """Floating-point type. This calculator uses double precision."""


class ShiftedForceLennardJones(Calculator):  # type: ignore[misc]
    """``u(r) - u(r_c) - (r - r_c) u'(r_c)`` with ``u = 4 ε ((σ/r)¹² - (σ/r)⁶)``: continuous in energy and force.

    After Toxvaerd and Dyre, J. Chem. Phys. 134, 081102 (2011). A new neighbour list is made for each structure.

    Parameters
    ----------
    settings
        The parameters of the potential.
    """

    implemented_properties = ('energy', 'free_energy', 'forces', 'stress')

    def __init__(self, settings: LennardJonesSettings):
        super().__init__()
        self._settings = settings

    def calculate(
        self, atoms: Atoms | None = None, properties: Any = ('energy',), system_changes: Any = all_changes
    ) -> None:
        """Compute energy, forces and stress."""
        super().calculate(atoms, properties, system_changes)
        atoms, cutoff = self.atoms, self._settings.cutoff_A
        first, distances, vectors = primitive_neighbor_list('idD', atoms.pbc, atoms.cell.array, atoms.positions, cutoff)
        energies, slopes = self._pair(distances)
        end_energy, end_slope = self._pair(np.array(cutoff))
        # The list contains each pair twice.
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

    @classmethod
    def settings_of_labels(cls, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Return the parameters of the potential, which include the cutoff."""
        return {name: settings[name] for name in ('epsilon_eV', 'sigma_A', 'cutoff_A')}

    def load(self) -> Loaded:
        """Return the calculator."""
        return Loaded(ShiftedForceLennardJones(self.settings))


VARIANT = LennardJonesLoader
