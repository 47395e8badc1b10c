"""The frames of one leg of an exploration, as arrays."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator


@dataclass(frozen=True, eq=False)
class Trajectory:
    """The f frames of n atoms with their labels. A frame is identified by ``(seed_id, step)``.

    Attributes
    ----------
    seed_id
        The explored seed.
    numbers, pbc
        Atomic numbers (n,) and periodic directions (3,), identical in all frames.
    steps
        Absolute step of each frame (f,), counted from the start of the first leg.
    positions, cells
        In Å, (f, n, 3) and (f, 3, 3).
    energies, forces, stresses
        eV (f,), eV/Å (f, n, 3), eV/Å³ (f, 6) with ASE's sign convention and Voigt order xx, yy, zz, yz, xz, xy. The
        stress is NaN if the structure is not periodic or the calculator computes no stress.
    temperatures
        Instantaneous temperature of the unconstrained degrees of freedom in K (f,).
    extra
        Further arrays with first dimension f, by name.
    """

    seed_id: str
    numbers: np.ndarray
    pbc: np.ndarray
    steps: np.ndarray
    positions: np.ndarray
    cells: np.ndarray
    energies: np.ndarray
    forces: np.ndarray
    stresses: np.ndarray
    temperatures: np.ndarray
    extra: dict[str, np.ndarray] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.steps)

    @cached_property
    def trajectory_id(self) -> str:
        """Hash of the id of the seed, steps, positions and cells, 16 hexadecimal digits. It excludes the labels."""
        digest = hashlib.sha256(self.seed_id.encode())
        for array, dtype in ((self.steps, '<i8'), (self.positions, '<f8'), (self.cells, '<f8')):
            digest.update(str(array.shape).encode())
            digest.update(np.ascontiguousarray(array, dtype=dtype).tobytes())
        return digest.hexdigest()[:16]

    def frame(self, index: int, template: Atoms | None = None) -> Atoms:
        """Return one frame with energy, forces and stress as calculator results.

        Parameters
        ----------
        index
            Index of the frame.
        template
            The structure of the seed, from which the frame gets tags, magnetic moments and constraints. Without it, the
            frame has none.
        """
        atoms = Atoms(numbers=self.numbers, pbc=self.pbc) if template is None else template.copy()
        atoms.set_cell(self.cells[index])
        atoms.set_positions(self.positions[index], apply_constraint=False)
        results = {'energy': float(self.energies[index]), 'forces': self.forces[index]}
        if np.isfinite(self.stresses[index]).all():
            results['stress'] = self.stresses[index]
        atoms.calc = SinglePointCalculator(atoms, **results)
        return atoms
