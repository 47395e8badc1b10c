"""Vacuum: empty layers of a cell.

The measure is the thickness of the widest empty layer along each cell vector. Each caller compares it with its own
threshold. Layers are measured between the centres of atoms to distinguish a crystal from a slab, and between their
surfaces (at the covalent radii) to decide whether the space is empty.

- A surface is cut only from a unit cell without an empty layer above `MAX_LAYER_OF_CRYSTAL_A`. The settings of the
  surface determine the thickness of the vacuum. Molecules and clusters are placed only on a slab, which has vacuum.
- One k-point is enough along a direction with an empty layer above `MIN_LAYER_OF_SLAB_A`.
- A large volume per atom is plausible if there is an empty layer of at least `MIN_LAYER_OF_SLAB_A`.
- An exploration keeps the volume constant if a cell has an empty layer of at least
  ``exploration.vacuum_A`` between surfaces, or if empty space of this width separates its parts in another way, which
  `count_connected_directions` finds.
- The fingerprint of a structure contains the thickness of an empty layer that is wider than the range of the atoms.
"""

from __future__ import annotations

import numpy as np
from ase import Atoms
from ase.cell import Cell

from aiida_mlip_autopipe.structures.cells import complete_cell, perpendicular_widths

MAX_LAYER_OF_CRYSTAL_A = 4.5
"""Distance between centres in Å; no crystal has a thicker empty layer."""
MIN_LAYER_OF_SLAB_A = 6.0
"""Distance between centres in Å; an empty layer of this thickness is the vacuum of a slab."""
MAX_FEW_ATOMS = 3
"""Largest number of atoms in vacuum that count as an isolated atom, a dimer or a trimer."""


def empty_layers(atoms: Atoms, radii_A: np.ndarray | float = 0.0) -> np.ndarray:
    """Return the thickness in Å of the widest empty layer along each cell vector, shape (3,).

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
    centres = Cell(complete_cell(atoms)).scaled_positions(atoms.positions) % 1.0
    if not np.any(radii_A):
        centres = np.sort(centres, axis=0)
        return np.asarray(np.diff(centres, axis=0, append=centres[:1] + 1).max(axis=0) * widths)
    radii = np.broadcast_to(radii_A, len(atoms))[:, None] / widths
    order = np.argsort(centres - radii, axis=0)
    starts = np.take_along_axis(centres - radii, order, axis=0)
    reached = np.maximum.accumulate(np.take_along_axis(centres + radii, order, axis=0), axis=0)
    # Atoms that extend across the boundary cover the start of the layer on the other side.
    ends = np.vstack([np.maximum(reached[:-1], reached[-1] - 1), reached[-1:]])
    gaps = np.vstack([starts[1:], starts[:1] + 1]) - ends
    return np.asarray(np.maximum(gaps.max(axis=0), 0.0) * widths)


def extended_directions(atoms: Atoms) -> np.ndarray:
    """Return along which cell vectors a structure is periodic and has no vacuum, shape (3,).

    Only these directions need more than one k-point.
    """
    return np.asarray(atoms.pbc & (empty_layers(atoms) <= MIN_LAYER_OF_SLAB_A))


def is_few_atoms(atoms: Atoms) -> bool:
    """Return whether a structure is one to three atoms in vacuum."""
    return len(atoms) <= MAX_FEW_ATOMS and not extended_directions(atoms).any()


def is_slab(atoms: Atoms) -> bool:
    """Return whether a structure is periodic in a plane, and is not periodic or has vacuum along the third vector."""
    if not atoms.pbc[:2].all():
        return False
    return not atoms.pbc[2] or bool(empty_layers(atoms)[2] > MAX_LAYER_OF_CRYSTAL_A)


def count_connected_directions(atoms: Atoms, radii_A: np.ndarray, gap_A: float) -> int:
    """Return in how many independent directions atoms form an infinite chain without a gap.

    This number is 3 for a bulk structure, 2 for a slab, 1 for a wire and 0 for clusters. It does not depend on the
    choice of the cell vectors, and the space between clusters need not contain an empty layer. A closed path through
    periodic images gives a lattice vector. The number of directions is the rank of these vectors.

    Parameters
    ----------
    atoms
        The structure, with three periodic directions.
    radii_A
        Radius of each atom in Å, shape (n,).
    gap_A
        Minimum distance between the surfaces of two atoms, in Å, that counts as a gap.
    """
    from matscipy.neighbours import neighbour_list
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import breadth_first_order, connected_components

    cutoff = gap_A + 2 * float(radii_A.max())
    first, second, distances, shifts = neighbour_list('ijdS', atoms, cutoff=cutoff)
    near = distances - radii_A[first] - radii_A[second] < gap_A
    first, second, shifts = first[near], second[near], shifts[near]
    shift_of = {pair: number for number, pair in enumerate(zip(first.tolist(), second.tolist(), strict=True))}
    graph = coo_array((np.ones(len(first)), (first, second)), shape=(len(atoms), len(atoms))).tocsr()
    n_parts, part = connected_components(graph, directed=False)
    # Each atom is moved to the image that a path without periodic jumps reaches from the first atom of its part.
    images = np.zeros((len(atoms), 3), dtype=int)
    for root in np.unique(part, return_index=True)[1]:
        order, previous = breadth_first_order(graph, int(root))
        for atom in order[1:]:
            images[atom] = images[previous[atom]] + shifts[shift_of[int(previous[atom]), int(atom)]]
    jumps = images[first] + shifts - images[second]
    return max(int(np.linalg.matrix_rank(jumps[part[first] == number], tol=0.5)) for number in range(n_parts))
