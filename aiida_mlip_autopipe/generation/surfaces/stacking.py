"""Lattice planes of a crystal, shifted relative to each other: stacking faults and sequences of close-packed layers."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import product
from math import gcd

import numpy as np
from ase import Atoms

from aiida_mlip_autopipe.generation.surfaces.slabs import DENOMINATOR, Plane

SYMMETRY_TOLERANCE = 0.01  # Å
GAP_TOLERANCE = 0.05  # Å; gaps between planes of atoms that differ by less are the same


@dataclass(frozen=True, eq=False)
class Stack:
    """A crystal as a stack of lattice planes, whose normal is z and whose first vector is along x.

    Attributes
    ----------
    atoms
        The atoms of a primitive cell, whose first two vectors are the shortest in the plane, and whose third one leads
        to the next lattice plane.
    direction_A
        The shortest lattice vector along the direction of the displacement, (3,) in Å.
    """

    atoms: Atoms
    direction_A: np.ndarray

    @property
    def spacing_A(self) -> float:
        """Distance between neighbouring lattice planes in Å."""
        return float(self.atoms.cell[2, 2])

    @cached_property
    def gaps(self) -> list[tuple[float, float]]:
        """The width in Å and the height of the middle of each distinct gap between planes of atoms, widest first."""
        z = self.atoms.positions[:, 2]
        # An atom just below the plane z = 0, by rounding, belongs to this plane and not to the next one.
        heights = np.sort(z - np.floor(z / self.spacing_A + 1e-9) * self.spacing_A)
        widths = np.diff(heights, append=heights[0] + self.spacing_A)
        found: list[tuple[float, float]] = []
        for width, height in sorted(zip(widths, heights, strict=True), key=lambda gap: (-round(gap[0], 3), gap[1])):
            if width > GAP_TOLERANCE and all(abs(width - other) > GAP_TOLERANCE for other, _ in found):
                found.append((float(width), float(height + width / 2)))
        return found

    def faulted(self, n_planes: int, height_A: float, displacement: float) -> Atoms:
        """Return a periodic cell with one fault, at its upper and lower face.

        The crystal is perfect, but the third cell vector leads to an image that is displaced. This needs neither a
        surface nor a second fault (as in B. Yin, Z. Wu, W. A. Curtin, Acta Mater. 123, 223, 2017).

        Parameters
        ----------
        n_planes
            Number of lattice planes between two faults.
        height_A
            Height of the fault in the primitive cell, from `gaps`.
        displacement
            Displacement of the upper crystal along `direction_A`, as a fraction of this vector.
        """
        first, second, third = self.atoms.cell.array
        shifted = self.atoms.positions - [0, 0, height_A]
        shifted -= np.floor(shifted[:, 2:] / self.spacing_A) * third
        positions = np.concatenate([shifted + plane * third for plane in range(n_planes)])
        last = _shortest(n_planes * third + displacement * self.direction_A, first, second)
        atoms = Atoms(np.tile(self.atoms.numbers, n_planes), positions, cell=[first, second, last], pbc=True)
        if self.atoms.has('initial_charges'):
            atoms.set_initial_charges(np.tile(self.atoms.get_initial_charges(), n_planes))
        atoms.wrap()
        return atoms


def make_stack(conventional: Atoms, plane: Plane, direction: Plane) -> Stack:
    """Return a crystal as a stack of the lattice planes with given Miller indices.

    Parameters
    ----------
    conventional
        The conventional cell, to which the indices refer.
    plane
        Miller indices.
    direction
        Indices of a direction in this plane.
    """
    primitive = primitive_cell(conventional)
    cell = primitive.cell.array
    # The indices of the plane and of the direction in the primitive lattice.
    normal = np.rint(DENOMINATOR * cell @ np.linalg.solve(conventional.cell.array, plane)).astype(int)
    normal //= gcd(*normal.tolist())
    steps = np.rint(np.linalg.solve(cell.T, conventional.cell.array.T @ direction)).astype(int)
    steps //= gcd(*steps.tolist())
    vectors = _plane_basis(cell, normal) @ cell
    x = vectors[0] / np.linalg.norm(vectors[0])
    z = np.cross(vectors[0], vectors[1])
    z /= np.linalg.norm(z)
    frame = np.array([x, np.cross(z, x), z]).T
    atoms = Atoms(primitive.numbers, primitive.positions @ frame, cell=vectors @ frame, pbc=True)
    if primitive.has('initial_charges'):
        atoms.set_initial_charges(primitive.get_initial_charges())
    # Rounding errors in the plane would tilt it.
    atoms.cell[:2, 2] = 0
    atoms.cell[0, 1] = 0
    atoms.wrap()
    displacement = steps @ cell @ frame
    displacement[2] = 0
    return Stack(atoms, displacement)


def primitive_cell(crystal: Atoms) -> Atoms:
    """Return the primitive cell of a crystal in the same orientation (spglib), with its formal charges."""
    import spglib

    charges = dict(zip(crystal.numbers.tolist(), crystal.get_initial_charges().tolist(), strict=True))
    cell, fractions, numbers = spglib.standardize_cell(
        (crystal.cell.array, crystal.get_scaled_positions(), crystal.numbers),
        to_primitive=True, no_idealize=True, symprec=SYMMETRY_TOLERANCE,
    )  # fmt: skip
    atoms = Atoms(numbers, scaled_positions=fractions, cell=cell, pbc=True)
    if any(charges.values()):
        atoms.set_initial_charges([charges[number] for number in numbers.tolist()])
    return atoms


def close_packed(signs: list[int], layer: Atoms, spacing_A: float) -> Atoms:
    """Return a sequence of close-packed layers, each in one of the hollows of the layer below.

    Parameters
    ----------
    signs
        The step from each layer to the next, +1 or -1 (Hägg's symbols): all +1 is fcc, alternating ones are hcp.
    layer
        The primitive cell of a layer in the plane z = 0. Its first two vectors make an angle of 60° or 120°.
    spacing_A
        Distance between layers in Å.

    References
    ----------
    J. P. Hirth, J. Lothe, Theory of Dislocations, 2nd ed., 1982, ch. 10, on the sequences of faults in fcc and hcp.
    """
    first, second, _ = layer.cell.array
    acute = second if first @ second > 0 else second + first
    partial = (first + acute) / 3
    places = np.concatenate([[0], np.cumsum(signs)])
    origins = places[:, None] * partial + np.arange(len(places))[:, None] * [0, 0, spacing_A]
    parts = Atoms(cell=[first, second, _shortest(origins[-1], first, second)], pbc=True)
    for origin in origins[:-1]:
        moved = layer.copy()
        moved.positions += origin
        moved.positions[:, 2] += spacing_A / 2
        parts += moved
    parts.wrap()
    return parts


def surroundings(signs: list[int]) -> str:
    """Return ``h`` for each layer of a periodic sequence between equal layers, as in hcp, and ``c`` for the others."""
    return ''.join('c' if before == after else 'h' for before, after in zip([signs[-1], *signs], signs, strict=False))


def _plane_basis(cell: np.ndarray, normal: np.ndarray) -> np.ndarray:
    """Return the integer coordinates (3, 3) of a plane's two shortest lattice vectors and of one to the next plane."""
    reach = int(max(2, np.abs(normal).max() + 1))
    steps = np.array(list(product(range(-reach, reach + 1), repeat=3)))
    vectors = steps @ cell
    height = steps @ normal
    order = np.lexsort((*-steps.T[::-1], np.round(np.linalg.norm(vectors, axis=1), 6)))
    inside = [index for index in order if height[index] == 0 and steps[index].any()]
    # The first two that are not parallel span a primitive cell of the plane.
    first = inside[0]
    second = next(index for index in inside if np.linalg.norm(np.cross(vectors[first], vectors[index])) > 1e-6)
    third = next(index for index in order if height[index] == 1)
    basis = steps[[first, second, third]]
    return basis if np.linalg.det(basis @ cell) > 0 else basis * [[1], [-1], [1]]


def _shortest(vector: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return a cell vector with the smallest components along two vectors in the plane z = 0, by lattice vectors."""
    plane = np.array([first, second])[:, :2]
    # The offset makes the result independent of rounding errors of exact halves.
    steps = np.round(np.linalg.solve(plane.T, vector[:2]) - 1e-6)
    return np.asarray(vector - steps[0] * first - steps[1] * second)
