"""The frames of one leg of an exploration, as arrays."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.data import chemical_symbols

from aiida_mlip_autopipe.core.reading.arrays import require_array


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

    def check(self) -> None:
        """Check frames that come from a file.

        Raises
        ------
        ValueError
            If the type or the shape of an array is wrong, a position or a cell is not finite, an atomic number is
            invalid, or the steps do not increase.
        """
        f, n, arrays = len(self.steps), len(self.numbers), {**vars(self), **self.extra}
        for name, kind, shape in (
            ('numbers', 'integer', (None,)),
            ('pbc', 'Boolean', (3,)),
            ('steps', 'integer', (None,)),
            ('positions', 'float', (f, n, 3)),
            ('cells', 'float', (f, 3, 3)),
            ('energies', 'number', (f,)),
            ('forces', 'float', (f, n, 3)),
            ('stresses', 'float', (f, 6)),
            ('temperatures', 'number', (f,)),
            *((name, 'number', (f, *np.shape(array)[1:])) for name, array in self.extra.items()),
        ):
            require_array(arrays, name, kind, *shape, finite=name in ('positions', 'cells'))
        if not np.isin(self.numbers, np.arange(len(chemical_symbols))).all():
            raise ValueError('an atomic number is invalid')
        if (np.diff(self.steps) <= 0).any():
            raise ValueError('the steps do not increase')

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
