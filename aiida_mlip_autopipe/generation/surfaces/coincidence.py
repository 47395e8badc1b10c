"""Coincidence rotations of cubic and hexagonal lattices and the cells of grain boundaries, in integer arithmetic."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import product
from math import atan, degrees, gcd, isqrt, sqrt

import numpy as np

IntVector = tuple[int, int, int]
# Maximum component of the vectors in a search. The shortest coincidence vectors for Σ up to 51 are much shorter.
REACH = 9


@dataclass(frozen=True)
class Boundary:
    """A grain boundary plane.

    Attributes
    ----------
    cells
        The cell of each grain, as rows of integers in units of its unit cell vectors: two vectors in the plane,
        which the grains share, and one vector along the normal, whose length may differ between the grains.
    planes
        Miller indices of the plane in each grain.
    """

    cells: tuple[np.ndarray, np.ndarray]
    planes: tuple[list[int], list[int]]


@dataclass(frozen=True)
class Rotation:
    """A coincidence rotation of a cubic lattice: one lattice site in Σ coincides.

    Attributes
    ----------
    sigma
        Reciprocal density of coincidence sites.
    angle
        Angle about the axis in degrees.
    axis
        The axis.
    matrix
        The rotation matrix times `denominator`, as integers, shape (3, 3).
    denominator
        The common denominator of the rotation matrix.
    """

    sigma: int
    angle: float
    axis: IntVector
    matrix: np.ndarray
    denominator: int

    def rotate_back(self, vector: np.ndarray) -> np.ndarray:
        """Return a coincidence vector in the axes of the other grain, by the inverse rotation."""
        return np.asarray(vector @ self.matrix // self.denominator)  # the inverse of a rotation is its transpose

    def coincidence_vectors(self, normal: np.ndarray) -> np.ndarray:
        """Return the coincidence vectors normal to a direction, shape (n, 3), shortest first."""
        plane = _vectors()[_vectors() @ normal == 0]
        return np.asarray(plane[~(plane @ self.matrix % self.denominator).any(axis=1)])

    def boundaries(self, character: str, n_planes: int) -> list[Boundary]:
        """Return the twist boundary, or at most `n_planes` tilt boundaries.

        Symmetric boundaries, whose planes are equivalent in both grains, come first, then asymmetric ones. Both are
        sorted by the length of their normals. Of boundaries with equivalent planes, only the first is used.
        """
        if character == 'twist':
            return [self._boundary(np.array(self.axis))]
        symmetric: dict[tuple[int, ...], np.ndarray] = {}
        asymmetric: dict[tuple[tuple[int, ...], ...], np.ndarray] = {}
        for vector in self.coincidence_vectors(np.array(self.axis)):
            other = self.rotate_back(vector)
            if (other == vector).all() or np.gcd.reduce(np.concatenate([vector, other])) != 1:
                continue
            one_family, other_family = _family(vector), _family(other)
            if one_family == other_family:
                symmetric.setdefault(one_family, vector)
            else:
                asymmetric.setdefault(tuple(sorted((one_family, other_family))), vector)
        return [self._boundary(normal) for normal in [*symmetric.values(), *asymmetric.values()][:n_planes]]

    def _boundary(self, normal: np.ndarray) -> Boundary:
        """Return a plane with its two shortest coincidence vectors, and the shortest normal vector of each grain."""
        plane = self.coincidence_vectors(normal)
        first = plane[0]
        second = next(v for v in plane if np.cross(first, v).any())
        if np.cross(first, second) @ normal < 0:
            second = -second
        rows = [first, second, normal]
        one, other = np.array(rows), np.array([self.rotate_back(row) for row in rows])
        for cell in (one, other):
            cell[2] //= np.gcd.reduce(cell[2])
        return Boundary((one, other), (one[2].tolist(), other[2].tolist()))


@dataclass(frozen=True)
class HexagonalRotation:
    """A coincidence rotation about [001] of a hexagonal lattice, with 120° between its vectors.

    Attributes
    ----------
    sigma
        Reciprocal density of coincidence sites.
    angle
        Angle about the axis in degrees.
    vector
        A coincidence vector in one grain. In the other grain it is mirrored about the first cell vector.
    """

    sigma: int
    angle: float
    vector: tuple[int, int]

    def boundaries(self, character: str, n_planes: int) -> list[Boundary]:
        """Return the twist boundary, or at most `n_planes` of the two symmetric tilt boundaries."""
        m, n = self.vector
        grains = ((m, n), (m - n, -n))
        axis = np.array([0, 0, 1])
        if character == 'twist':
            one, other = (np.array([[m, n, 0], [-n, m - n, 0], axis]) for m, n in grains)
            return [Boundary((one, other), ([0, 0, 1], [0, 0, 1]))]
        along = [np.array([m, n, 0]) for m, n in grains]
        across = [np.array([m - 2 * n, 2 * m - n, 0]) for m, n in grains]
        one, other = (np.array([w, axis, v]) for v, w in zip(along, across, strict=True))
        first = Boundary((one, other), (_hexagonal_plane(one[2]), _hexagonal_plane(other[2])))
        one, other = (np.array([v, axis, -w]) for v, w in zip(along, across, strict=True))
        return [first, Boundary((one, other), (_hexagonal_plane(one[2]), _hexagonal_plane(other[2])))][:n_planes]


def _family(vector: np.ndarray) -> tuple[int, ...]:
    """Return the family of a direction in a cubic crystal, as sorted absolute components."""
    return tuple(sorted(abs(vector // np.gcd.reduce(vector)).tolist(), reverse=True))


def _hexagonal_plane(direction: np.ndarray) -> list[int]:
    """Return the Miller indices of the plane normal to a direction in the basal plane."""
    m, n, _ = direction.tolist()
    divisor = gcd(2 * m - n, 2 * n - m)
    return [(2 * m - n) // divisor, (2 * n - m) // divisor, 0]


def hexagonal_rotations(max_sigma: int) -> list[HexagonalRotation]:
    """Return the coincidence rotations of a hexagonal lattice about [001], sorted by Σ.

    A lattice vector (m, n) at an angle φ to the first cell vector gives a rotation by 2φ with ``Σ = m² - mn + n²``,
    unless that is a multiple of 3 (Σ 7, 13, 19 …; H. Grimmer, Acta Cryst. A 45, 505, 1989).
    """
    found: dict[int, HexagonalRotation] = {}
    for m, n in product(range(1, 2 * isqrt(max_sigma) + 2), repeat=2):
        sigma = m * m - m * n + n * n
        if 2 * n < m and gcd(m, n) == 1 and sigma % 3 and sigma <= max_sigma:
            found.setdefault(sigma, HexagonalRotation(sigma, 2 * degrees(atan(n * sqrt(3) / (2 * m - n))), (m, n)))
    return [found[sigma] for sigma in sorted(found)]


def rotations(axis: IntVector, max_sigma: int) -> list[Rotation]:
    """Return the coincidence rotations of a cubic lattice about an axis, sorted by Σ, each with its smallest angle.

    By Ranganathan's formula, ``tan(θ/2) = (y/x) |axis|``, and Σ is the odd part of ``x² + |axis|² y²`` (S. Ranganathan,
    Acta Cryst. 21, 197, 1966).
    """
    square = sum(i * i for i in axis)
    found: dict[int, Rotation] = {}
    for x, y in product(range(1, isqrt(8 * max_sigma) + 2), range(1, isqrt(8 * max_sigma) + 2)):
        norm = x * x + square * y * y
        sigma = norm
        while sigma % 2 == 0:
            sigma //= 2
        if gcd(x, y) != 1 or not 1 < sigma <= max_sigma:
            continue
        angle = degrees(2 * atan(y * sqrt(square) / x))
        if sigma not in found or angle < found[sigma].angle - 1e-9:
            found[sigma] = Rotation(sigma, angle, axis, _matrix(x, y, axis), norm)
    return [found[sigma] for sigma in sorted(found)]


def _matrix(x: int, y: int, axis: IntVector) -> np.ndarray:
    """Return the rotation matrix of the quaternion (x, y·axis), times its norm."""
    b, c, d = (y * i for i in axis)
    return np.array(
        [
            [x * x + b * b - c * c - d * d, 2 * (b * c - x * d), 2 * (b * d + x * c)],
            [2 * (b * c + x * d), x * x + c * c - b * b - d * d, 2 * (c * d - x * b)],
            [2 * (b * d - x * c), 2 * (c * d + x * b), x * x + d * d - b * b - c * c],
        ]
    )


@cache
def _vectors() -> np.ndarray:
    """Return integer vectors, shortest first; among vectors of equal length, larger components come first."""
    span = range(-REACH, REACH + 1)
    vectors = np.array(list(product(span, span, span)))
    vectors = vectors[vectors.any(axis=1)]
    order = np.lexsort((*(-vectors.T[::-1]), (vectors**2).sum(axis=1)))
    return vectors[order]
