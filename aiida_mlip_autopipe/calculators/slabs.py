"""The dipole correction of slabs in DFT codes with plane waves."""

from __future__ import annotations

import numpy as np
from ase import Atoms


def axis_of_dipole(cell: np.ndarray, extended: np.ndarray) -> int | None:
    """Return the axis of the vacuum of a slab if it is Cartesian and perpendicular to the slab; otherwise None."""
    if extended.sum() != 2:
        return None
    axis = int(np.flatnonzero(~extended)[0])
    mixed = [*np.delete(cell[axis], axis), *np.delete(cell[:, axis], axis)]
    return axis if np.allclose(mixed, 0.0) else None


def move_to_middle(atoms: Atoms, axis: int) -> None:
    """Shift the atoms so that the widest empty layer across a cell vector is at the boundary of the cell."""
    fractions = atoms.get_scaled_positions(wrap=False)
    wrapped = np.sort(fractions[:, axis] % 1.0)
    gaps = np.diff(wrapped, append=wrapped[0] + 1.0)
    widest = int(np.argmax(gaps))
    fractions[:, axis] = (fractions[:, axis] - wrapped[widest] - gaps[widest] / 2) % 1.0
    atoms.set_scaled_positions(fractions)
