"""Vacuum: layers of a cell without atoms.

There is a single measure, the thickness of the widest empty layer along each cell vector. Every caller compares it with
its threshold. Layers are measured between the centres of atoms to distinguish a crystal from a slab, and between
their surfaces (at the covalent radii) to decide whether the space is empty.

- A surface is cut only from a unit cell without an empty layer above `MAX_LAYER_OF_CRYSTAL_A`. The settings of the
  surface determine the thickness of the vacuum.
- A large volume per atom is plausible if there is an empty layer of at least `MIN_LAYER_OF_SLAB_A`.
- An exploration keeps the volume constant if a cell has an empty layer of at least
  ``exploration.vacuum_A`` between surfaces.
- The fingerprint of a structure contains the thickness of an empty layer that is wider than the range of the atoms.
"""

from __future__ import annotations

import numpy as np
from ase import Atoms

from aiida_mlip_autopipe.structures.cells import perpendicular_widths

MAX_LAYER_OF_CRYSTAL_A = 4.5
"""Å between centres; no crystal has a thicker empty layer."""
MIN_LAYER_OF_SLAB_A = 6.0
"""Å between centres; an empty layer of this thickness is the vacuum of a slab."""


def empty_layers(atoms: Atoms, radii_A: np.ndarray | float = 0.0) -> np.ndarray:
    """Return the thickness in Å of the widest empty layer across each cell vector, shape (3,).

    An atom covers its position plus and minus its radius, projected onto the normal of the plane of the two other cell
    vectors. The layer may extend across the boundary of the cell. All three directions are treated as periodic.

    Parameters
    ----------
    atoms
        The structure.
    radii_A
        Radius of each atom (n,), or one radius for all. By default, layers are measured between centres.
    """
    widths = perpendicular_widths(atoms)
    centres = atoms.cell.scaled_positions(atoms.positions) % 1.0
    radii = np.broadcast_to(radii_A, len(atoms))[:, None] / widths
    order = np.argsort(centres - radii, axis=0)
    starts = np.take_along_axis(centres - radii, order, axis=0)
    reached = np.maximum.accumulate(np.take_along_axis(centres + radii, order, axis=0), axis=0)
    # Atoms that extend across the boundary cover the start of the layer on the other side.
    ends = np.vstack([np.maximum(reached[:-1], reached[-1] - 1), reached[-1:]])
    gaps = np.vstack([starts[1:], starts[:1] + 1]) - ends
    return np.asarray(np.maximum(gaps.max(axis=0), 0.0) * widths)
