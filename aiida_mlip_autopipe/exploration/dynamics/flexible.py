"""NPT with a cell that changes its shape."""

from __future__ import annotations

from typing import Any

import numpy as np
from ase import units

from aiida_mlip_autopipe.exploration.dynamics.cells import Spectrum, Tension, make_modes, voigt_to_matrix
from aiida_mlip_autopipe.exploration.phase_space import LangevinPiston


class FlexiblePiston(LangevinPiston):
    """NPT in which the cell changes its shape: the equations of Martyna, Tobias and Klein with Langevin noise.

    J. Chem. Phys. 101, 4177 (1994), section V, and Quigley and Probert, J. Chem. Phys. 120, 11432 (2004). The velocity
    gradient is ``D = Σ_k p_k B_k / W`` with fixed matrices ``B_k``, which `Modes` describes, and
    ``W = (N_f + 3) k T τ² / 3``. Cell vectors, positions and momenta are rows:

    ``ȧ = a D``, ``ṙ = p/m + r D``, ``ṗ = F - p Dᵀ - (tr D/N_f) p``, ``ṗ_k = tr(Π B_k)`` with
    ``Π = Σ p⊗p/m + (1/N_f) Σ p²/m - V σ - P V + c k T/3 + V₀ F t Fᵀ``, and noise and friction on all momenta.

    Symmetric matrices ``B_k`` do not rotate the cell, whatever the stress. The equations conserve
    ``U + K + P V - V₀ tr(t η) + Σ p_k²/2W - (c/3) k T ln V`` without friction. They sample
    ``V^N exp(-(U + P V - V₀ tr(t η))/kT)`` in scaled coordinates, volume, and the measure of the shape that is
    invariant under the allowed deformations. This measure does not depend on the choice of the cell vectors. With the
    shape integrated out, the ensemble of the isotropic barostat has the same power of ``V``.

    Parameters
    ----------
    cell_setting
        ``anisotropic``, ``flexible`` or ``in_plane``; see `make_modes`.
    tension
        Six components of the tension with ASE's sign convention and Voigt order, in eV/Å³; None without a tension.
    """

    def __init__(self, *args: Any, cell_setting: str, tension: np.ndarray | None = None, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.cell_mass /= 3.0
        self._cell_setting = cell_setting
        self._tension_components = tension
        self._set_reference(self.system.cell.copy())
        # A momentum that is not from a checkpoint is the scalar 0.
        self.system.cell_momentum = np.zeros(len(self.modes.basis)) + self.system.cell_momentum

    def _set_reference(self, cell: np.ndarray) -> None:
        self.reference_cell = cell
        self.modes = make_modes(self._cell_setting, cell)
        components = self._tension_components
        self.tension = None if components is None else Tension(voigt_to_matrix(components), cell)

    def dump(self) -> dict[str, Any]:
        """Return the reference cell, which is the cell of the seed, as JSON; floats are preserved exactly."""
        return {'reference_cell': self.reference_cell.tolist()}

    def restore(self, state: dict[str, Any]) -> None:
        """Restore the reference cell from `dump`."""
        self._set_reference(np.array(state['reference_cell']))

    def work(self, cell: np.ndarray) -> float:
        """Return the work in eV against the pressure and the tension when the cell changes to another one."""
        work = super().work(cell)
        if self.tension is not None:
            work += self.tension.energy(cell) - self.tension.energy(self.system.cell)
        return work

    def _gradient(self) -> Spectrum:
        return self.modes.decompose(np.asarray(self.system.cell_momentum) / self.cell_mass)

    def _kick_cell(self, time: float) -> None:
        system = self.system
        kinetic = system.momenta.T @ (system.momenta / system.masses)
        diagonal = (
            np.trace(kinetic) / system.n_dof
            - system.volume * self.pressure
            + self._missing_dof * units.kB * self.temperature_K / 3.0
        )
        virial = kinetic - system.volume * voigt_to_matrix(self.evaluation.stress) + diagonal * np.eye(3)
        if self.tension is not None:
            virial = virial + self.tension.virial(system.cell)
        system.cell_momentum = system.cell_momentum + time * np.einsum('ij,kij->k', virial, self.modes.basis)

    def _kick_atoms(self, time: float) -> None:
        system = self.system
        gradient = self._gradient()
        half = gradient.apply(lambda rate: np.exp(-0.5 * time * rate)).T
        half = half * np.exp(-0.5 * time * gradient.trace / system.n_dof)
        system.momenta = system.project(system.momenta @ half + time * self.evaluation.forces) @ half

    def drift(self, time: float) -> None:
        """Move the atoms and deform the cell, solved exactly for a constant velocity gradient: A."""
        system = self.system
        gradient = self._gradient()
        scale = gradient.apply(lambda rate: np.exp(time * rate))
        mean_scale = gradient.apply(lambda rate: _mean_exponential(time * rate))
        system.positions = system.positions @ scale + time * (system.momenta / system.masses) @ mean_scale
        system.cell = system.cell @ scale

    def _cell_noise(self) -> np.ndarray:
        return self.rng.standard_normal(len(self.modes.basis))


def _mean_exponential(strain: np.ndarray) -> np.ndarray:
    """Return the mean of ``exp(s)`` for ``s`` from 0 to the strain, elementwise; 1 at zero."""
    safe = np.where(strain == 0.0, 1.0, strain)
    return np.where(strain == 0.0, 1.0, np.expm1(safe) / safe)
