"""The directions of a crystal along the cell vectors of a slab that was cut from it."""

from __future__ import annotations

from itertools import product

import numpy as np
from ase import Atoms

from aiida_mlip_autopipe.generation.surfaces.slabs import SYMMETRY_TOLERANCE, Plane

LENGTH_TOLERANCE_A = 1e-3
DENOMINATOR = 12  # components of lattice vectors in a conventional cell are multiples of 1/2 or 1/3


def slab_directions(slab: Atoms, crystal: Atoms, plane: Plane) -> np.ndarray | None:
    """Return the components of the first two cell vectors of a slab in the cell of its crystal, shape (2, 3).

    Every pair of lattice vectors with the same lengths and angle is tried, until the atoms of the slab are on sites of
    the crystal. Of equivalent pairs the one with small, positive components is returned.

    Parameters
    ----------
    slab
        The slab, with its normal along z.
    crystal
        The conventional cell.
    plane
        Miller indices of the slab in this cell.

    Returns
    -------
    numpy.ndarray or None
        None if no rotation of the slab puts its atoms on sites of the crystal, as for its mirror image.
    """
    first, second = slab.cell.array[:2]
    components = _lattice_vectors(crystal, float(slab.cell.lengths()[:2].max()))
    components = components[np.abs(components @ plane) < 1e-6]
    vectors = components @ crystal.cell.array
    lengths = np.linalg.norm(vectors, axis=1)
    starts, ends = (
        np.flatnonzero(np.abs(lengths - np.linalg.norm(vector)) < LENGTH_TOLERANCE_A) for vector in (first, second)
    )
    for i, j in product(starts, ends):
        if abs(vectors[i] @ vectors[j] - first @ second) > LENGTH_TOLERANCE_A * lengths.max():
            continue
        normal = np.cross(vectors[i], vectors[j])
        axes = np.array([vectors[i], vectors[j], normal / np.linalg.norm(normal)])
        rotation = np.linalg.solve(np.array([first, second, [0, 0, 1]]), axes)
        if _is_on_sites(slab.positions @ rotation, slab.numbers, crystal):
            return components[[i, j]]
    return None


def smallest_integers(direction: np.ndarray) -> list[int]:
    """Return a direction (3,), whose components are multiples of 1/12, as integers without a common divisor."""
    integers = np.rint(direction * DENOMINATOR).astype(int)
    return [int(i) for i in integers // max(1, np.gcd.reduce(integers))]


def _lattice_vectors(crystal: Atoms, max_length_A: float) -> np.ndarray:
    """Return the components of all lattice vectors up to a length, with small and positive ones first."""
    import spglib

    cell = (crystal.cell.array, crystal.get_scaled_positions(), crystal.numbers)
    found = spglib.get_symmetry(cell, symprec=SYMMETRY_TOLERANCE)
    is_translation = (found['rotations'] == np.eye(3, dtype=int)).all(axis=(1, 2))
    centres = np.rint(found['translations'][is_translation] % 1 * DENOMINATOR) / DENOMINATOR % 1
    reach = np.ceil(max_length_A * np.linalg.norm(np.linalg.inv(crystal.cell.array), axis=0)).astype(int) + 1
    steps = np.array(list(product(*(range(-number, number + 1) for number in reach))))
    vectors = (steps[None] + centres[:, None]).reshape(-1, 3)
    vectors = vectors[np.linalg.norm(vectors @ crystal.cell.array, axis=1) < max_length_A + LENGTH_TOLERANCE_A]
    keys = [np.round(np.abs(vectors).sum(axis=1), 6), (vectors < 0).sum(axis=1), *-np.round(vectors, 6).T]
    return np.asarray(vectors[np.lexsort(keys[::-1])])


def _is_on_sites(positions: np.ndarray, numbers: np.ndarray, crystal: Atoms) -> bool:
    """Return whether a shift puts all positions (n, 3) on sites of the crystal with the same elements."""
    inverse = np.linalg.inv(crystal.cell.array)
    sites = crystal.positions @ inverse
    same = numbers[:, None] == crystal.numbers
    for site in sites[same[0]]:
        offsets = ((positions - positions[0]) @ inverse + site)[:, None] - sites
        distances = np.linalg.norm((offsets - np.rint(offsets)) @ crystal.cell.array, axis=-1)
        if np.where(same, distances, np.inf).min(axis=1).max() < SYMMETRY_TOLERANCE:
            return True
    return False
