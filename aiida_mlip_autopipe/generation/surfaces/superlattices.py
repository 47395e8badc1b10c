"""Lattices of surfaces in their plane, and their superlattices."""

from __future__ import annotations

from dataclasses import dataclass
from math import gcd

import numpy as np
from ase import Atoms

from aiida_mlip_autopipe.generation.surfaces.slabs import SYMMETRY_TOLERANCE

TIE_A = 1e-6  # vectors whose lengths differ by less count as equally long


@dataclass(frozen=True)
class SurfaceLattice:
    """The lattice of a slab in its plane.

    Attributes
    ----------
    cell
        Two vectors in Å, as rows (2, 2), right-handed.
    operations
        Rotations and reflections (n, 2, 2) of the slab that keep its normal, for vectors as rows.
    """

    cell: np.ndarray
    operations: np.ndarray

    @property
    def area_A2(self) -> float:
        """Area of the cell."""
        return float(np.linalg.det(self.cell))


def surface_lattice(slab: Atoms) -> SurfaceLattice:
    """Return the lattice of a slab with its normal along z, and its symmetry (spglib)."""
    import spglib

    cell = slab.cell.array[:2, :2]
    found = spglib.get_symmetry((slab.cell.array, slab.get_scaled_positions(), slab.numbers), SYMMETRY_TOLERANCE)
    upright = {tuple(rotation[:2, :2].ravel().tolist()) for rotation in found['rotations'] if rotation[2, 2] == 1}
    # The identity comes first, so that it is preferred to an equivalent operation.
    integers = np.array(sorted(upright, reverse=True, key=lambda one: (one == (1, 0, 0, 1), one))).reshape(-1, 2, 2)
    # spglib's matrices act on fractional coordinates as columns.
    return SurfaceLattice(cell, np.linalg.inv(cell) @ integers.transpose(0, 2, 1) @ cell)


def reduce_cell(cell: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the shortest two vectors of a plane lattice (2, 2), right-handed, and their integer components (2, 2)."""
    steps = np.eye(2, dtype=int)
    while True:
        first, second = steps @ cell
        if np.linalg.norm(second) < np.linalg.norm(first) - TIE_A:
            steps = np.array([-steps[1], steps[0]])
            continue
        count = int(np.round(first @ second / (first @ first) - TIE_A))
        if not count:
            return steps @ cell, steps
        steps = np.array([steps[0], steps[1] - count * steps[0]])


def superlattices(number: int) -> list[np.ndarray]:
    """Return all superlattices with a given number of cells, as Hermite normal forms (2, 2).

    J. W. S. Cassels, An Introduction to the Geometry of Numbers, Springer, 1959.
    """
    factors = [factor for factor in range(1, number + 1) if number % factor == 0]
    return [np.array([[i, j], [0, number // i]]) for i in factors for j in range(number // i)]


def distinct_superlattices(lattice: SurfaceLattice, number: int) -> list[np.ndarray]:
    """Return the superlattices that the symmetry of the slab does not map onto an earlier one."""
    operations = np.round(lattice.cell @ lattice.operations @ np.linalg.inv(lattice.cell)).astype(int)
    forms, known = [], set()
    for form in superlattices(number):
        if tuple(form.ravel().tolist()) not in known:
            forms.append(form)
            known |= {tuple(normal_form(image.tolist()).ravel().tolist()) for image in form @ operations}
    return forms


def reduced_cells(forms: list[np.ndarray], cell: np.ndarray) -> np.ndarray:
    """Return the reduced cells of superlattices, as integers (n, 2, 2)."""
    return np.array([reduce_cell(form @ cell)[1] @ form for form in forms])


def normal_form(vectors: list[list[int]]) -> np.ndarray:
    """Return the Hermite normal form (2, 2) of the lattice of integer vectors, by Euclid's algorithm."""
    while len(left := [vector for vector in vectors if vector[0]]) > 1:
        smallest = min(left, key=lambda vector: abs(vector[0]))
        others = [vector for vector in vectors if vector is not smallest]
        vectors = [smallest] + [
            [a - c // smallest[0] * b for b, a in zip(smallest, (c, d), strict=True)] for c, d in others
        ]
    sign = 1 if left[0][0] > 0 else -1
    second = gcd(*(vector[1] for vector in vectors if vector is not left[0]))
    return np.array([[sign * left[0][0], sign * left[0][1] % second], [0, second]])
