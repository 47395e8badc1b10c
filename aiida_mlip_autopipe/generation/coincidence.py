"""Coincidence-site rotations of cubic lattices and the cells of their boundaries, in integers."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from math import atan, degrees, gcd, isqrt, sqrt

import numpy as np

IntVector = tuple[int, int, int]
# Components of the vectors searched for; the shortest ones of Σ up to 51 are well below.
REACH = 9


@dataclass(frozen=True)
class Rotation:
    """A rotation that leaves one lattice site in Σ where it is.

    Attributes
    ----------
    sigma
        Reciprocal density of coincidence sites.
    angle
        Degrees about the axis.
    matrix
        The rotation times `denominator`, in integers (3, 3).
    """

    sigma: int
    angle: float
    matrix: np.ndarray
    denominator: int

    def back(self, vector: np.ndarray) -> np.ndarray | None:
        """Return the vector turned back, if it is an integer one."""
        turned = vector @ self.matrix  # the inverse is the transpose
        return None if (turned % self.denominator).any() else turned // self.denominator


def rotations(axis: IntVector, max_sigma: int) -> list[Rotation]:
    """Return the coincidence rotations about an axis, the smallest angle of each Σ, by Σ.

    Ranganathan's formula, ``tan(θ/2) = (y/x) |axis|`` and Σ the odd part of ``x² + |axis|² y²`` (S. Ranganathan, Acta
    Cryst. 21, 197, 1966).
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
            found[sigma] = Rotation(sigma, angle, _matrix(x, y, axis), norm)
    return [found[sigma] for sigma in sorted(found)]


def _matrix(x: int, y: int, axis: IntVector) -> np.ndarray:
    """Return the rotation of the quaternion (x, y·axis), times its norm."""
    b, c, d = (y * i for i in axis)
    return np.array(
        [
            [x * x + b * b - c * c - d * d, 2 * (b * c - x * d), 2 * (b * d + x * c)],
            [2 * (b * c + x * d), x * x + c * c - b * b - d * d, 2 * (c * d - x * b)],
            [2 * (b * d - x * c), 2 * (c * d + x * b), x * x + d * d - b * b - c * c],
        ]
    )


def tilt_planes(axis: IntVector, rotation: Rotation) -> list[np.ndarray]:
    """Return normals of symmetric tilt boundaries: planes along the axis with like indices in both grains."""
    found: dict[tuple[int, ...], np.ndarray] = {}
    for vector in _vectors():
        if vector @ np.array(axis) or np.gcd.reduce(vector) != 1:
            continue
        other = rotation.back(vector)
        like = tuple(sorted(abs(vector).tolist(), reverse=True))
        if other is None or tuple(sorted(abs(other).tolist(), reverse=True)) != like or (other == vector).all():
            continue
        found.setdefault(like, vector)
    return list(found.values())[:2]


def boundary_cells(normal: np.ndarray, rotation: Rotation) -> tuple[np.ndarray, np.ndarray]:
    """Return the cells of the two grains at a boundary plane as rows of integers: both span the same box.

    The first two rows are the shortest coincidence vectors of the plane, the third is the normal.
    """
    plane = [v for v in _vectors() if not v @ normal and rotation.back(v) is not None]
    first = plane[0]
    second = next(v for v in plane if np.cross(first, v).any())
    if np.cross(first, second) @ normal < 0:
        second = -second
    one = np.array([first, second, normal])
    other = np.array([rotation.back(row) for row in one])
    return one, other


def _vectors() -> list[np.ndarray]:
    """Return integer vectors, the shortest first; of equal ones those with positive components first."""
    span = range(-REACH, REACH + 1)
    vectors = np.array(list(product(span, span, span)))
    vectors = vectors[vectors.any(axis=1)]
    order = np.lexsort((*(-vectors.T[::-1]), (vectors**2).sum(axis=1)))
    return list(vectors[order])
