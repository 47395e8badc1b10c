"""Coincidence cells of two different surface lattices: the search of Zur and McGill.

A. Zur, T. C. McGill, J. Appl. Phys. 55, 378 (1984), doi:10.1063/1.333084: superlattices of nearly equal area of both
lattices match if their reduced cells nearly agree. pymatgen's `ZSLGenerator` compares one reduced cell of each, by
lengths and angles. This misses matches of oblique lattices whose reduced cells differ although their lattices nearly
agree (a test has an example), maps right-handed cells onto left-handed ones in half of its matches, which mirrors the
film, and lists supercells and equivalent matches too. Here all nearly reduced, right-handed cells are compared by their
principal strains, and each distinct match is found once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import islice, product

import numpy as np

from aiida_mlip_autopipe.generation.limits import check_time
from aiida_mlip_autopipe.generation.surfaces.superlattices import (
    SurfaceLattice,
    distinct_superlattices,
    normal_form,
    reduce_cell,
    reduced_cells,
    superlattices,
)

# Bases of determinant 1 with components -1, 0 and 1. If a lattice is strained by up to 20 %, its former reduced cell,
# unless long and narrow, is one of these bases in units of the new reduced cell.
NEARLY_REDUCED = np.array(
    [[[a, b], [c, d]] for a, b, c, d in product((0, 1, -1), repeat=4) if a * d - b * c == 1], dtype=int
)
SEARCH_STRAIN = 0.15
TOLERANCE = 1e-6


@dataclass(frozen=True)
class Match:
    """A common cell of a film and a substrate.

    Attributes
    ----------
    film, substrate
        The common cell in units of the vectors of each lattice, as rows of integers (2, 2).
    deformation
        The matrix (2, 2) that maps the lattice of the film, multiplied from the right, onto that of the substrate.
    film_fraction
        The fraction of the logarithmic strain that the film takes; the substrate takes the rest.
    substrate_cell
        The common cell in Å on the substrate before it is strained, as rows (2, 2).
    """

    film: np.ndarray
    substrate: np.ndarray
    deformation: np.ndarray
    film_fraction: float
    substrate_cell: np.ndarray

    @property
    def substrate_area_A2(self) -> float:
        """Area of the common cell on the unstrained substrate."""
        return float(np.linalg.det(self.substrate_cell))

    @property
    def n_film(self) -> int:
        """Number of cells of the film."""
        return round(float(np.linalg.det(self.film)))

    @property
    def n_substrate(self) -> int:
        """Number of cells of the substrate."""
        return round(float(np.linalg.det(self.substrate)))

    @cached_property
    def _stretch(self) -> np.ndarray:
        """The symmetric matrix that follows the rotation of the film in the polar decomposition of the deformation."""
        return _power(self.deformation.T @ self.deformation, 0.5)

    @cached_property
    def cell(self) -> np.ndarray:
        """The common cell in Å (2, 2), with the first vector along x."""
        first, second = self.substrate_cell @ _power(self._stretch, self.film_fraction - 1)
        length = float(np.linalg.norm(first))
        return np.array([[length, 0.0], [first @ second / length, np.linalg.det([first, second]) / length]])

    @property
    def twist_deg(self) -> float:
        """Rotation of the film in degrees, counterclockwise; 0 if the first lattice vectors of both are parallel."""
        return float(_twists(self.deformation))

    @property
    def film_strain(self) -> np.ndarray:
        """Strain tensor of the film (2, 2), its left stretch minus 1, in the frame of `cell`."""
        return self._strain(self.film_fraction)

    @property
    def substrate_strain(self) -> np.ndarray:
        """Strain tensor of the substrate (2, 2) in the frame of `cell`."""
        return self._strain(self.film_fraction - 1)

    def _strain(self, exponent: float) -> np.ndarray:
        strained = self.substrate_cell @ _power(self._stretch, self.film_fraction - 1)
        rotation = np.linalg.solve(strained, self.cell)
        return np.asarray(rotation.T @ _power(self._stretch, exponent) @ rotation - np.eye(2))

    @property
    def max_strain(self) -> float:
        """The largest absolute principal strain of the two sides."""
        return float(np.abs(np.linalg.eigvalsh([self.film_strain, self.substrate_strain])).max())

    @property
    def area_A2(self) -> float:
        """Area of the common cell."""
        return float(np.linalg.det(self.cell))

    @property
    def displacements(self) -> np.ndarray:
        """The cell in Å (2, 2) of the shifts of the film that give different interfaces.

        A shift by a lattice vector of the film or of the substrate changes nothing, so this is the cell of all their
        sums and differences (the DSC lattice of W. Bollmann, Crystal Defects and Crystalline Interfaces, 1970).
        """
        sides = [
            np.round(np.linalg.inv(side) * np.linalg.det(side)).astype(int) for side in (self.film, self.substrate)
        ]
        integers = normal_form([*(sides[0] * self.n_substrate).tolist(), *(sides[1] * self.n_film).tolist()])
        return reduce_cell(integers @ self.cell / (self.n_film * self.n_substrate))[0]


def find_matches(
    film: SurfaceLattice,
    substrate: SurfaceLattice,
    *,
    max_strain: float,
    max_area_A2: float,
    film_fraction: float = 1.0,
) -> Iterator[Match]:
    """Yield the distinct common cells of two lattices, ordered by their area on the substrate, then by strain.

    Supercells of an earlier match, and matches that are equivalent by the symmetry of the slabs, are left out.

    Parameters
    ----------
    film, substrate
        The lattices.
    max_strain
        The largest absolute principal strain of either side.
    max_area_A2
        The largest area of the common cell on the unstrained substrate.
    film_fraction
        The fraction of the logarithmic strain that the film takes.

    Raises
    ------
    TimeLimitError
        If the time limit of the caller is reached.
    """
    low, high = _stretch_limits(max_strain, film_fraction)
    known = np.empty((0, 2, 2))
    for n_substrate in range(1, int(max_area_A2 / substrate.area_A2 + TOLERANCE) + 1):
        check_time()
        ratio = n_substrate * substrate.area_A2 / film.area_A2
        numbers = range(max(1, int(np.ceil(ratio / high**2))), int(ratio / low**2) + 1)
        found = [_coincidences(film, substrate, n_film, n_substrate, low, high) for n_film in numbers]
        if not found:
            continue
        films, substrates = (np.concatenate([pair[side] for pair in found]) for side in (0, 1))
        cells = substrates @ substrate.cell
        deformations = np.linalg.solve(films @ film.cell, cells)
        for number in _order(films, substrates, cells, deformations, film_fraction):
            images, pairs = _equivalent(deformations[number], film.operations, substrate.operations)
            if np.abs(images[:, None] - known).max(axis=(2, 3), initial=0).min(initial=1) > 1e-5:
                known = np.concatenate([known, deformations[number][None]])
                twists = np.round(_twists(images), 4)
                best = np.lexsort([-twists, np.abs(twists)])[0]
                steps = (
                    _transformed(films[number], film.cell, np.linalg.inv(film.operations[pairs[best][0]])),
                    _transformed(substrates[number], substrate.cell, substrate.operations[pairs[best][1]]),
                )
                yield Match(*steps, images[best], film_fraction, steps[1] @ substrate.cell)


def nearest_misses(
    film: SurfaceLattice,
    substrate: SurfaceLattice,
    *,
    max_strain: float,
    max_area_A2: float,
    film_fraction: float = 1.0,
) -> list[Match]:
    """Return the common cell with the least strain within the area, and the smallest one within the strain.

    Used for lattices without a match. Strains up to `SEARCH_STRAIN` and areas up to twice the maximum are searched.
    """
    found: list[Match] = []
    for strain in sorted({min(factor * max_strain, SEARCH_STRAIN) for factor in (1.5, 3, 100)}):
        wider = find_matches(film, substrate, max_strain=strain, max_area_A2=max_area_A2, film_fraction=film_fraction)
        found = sorted(wider, key=lambda match: (round(match.max_strain, 8), match.substrate_area_A2))[:1]
        if found:
            break
    larger = find_matches(
        film, substrate, max_strain=max_strain, max_area_A2=2 * max_area_A2, film_fraction=film_fraction
    )
    return [*found, *islice(larger, 1)]


def _stretch_limits(max_strain: float, film_fraction: float) -> tuple[float, float]:
    """Return the smallest and largest principal stretch from the film to the substrate."""
    low, high = 0.0, np.inf
    if film_fraction:
        low, high = (1 - max_strain) ** (1 / film_fraction), (1 + max_strain) ** (1 / film_fraction)
    if film_fraction < 1:
        power = -1 / (1 - film_fraction)
        low, high = max(low, (1 + max_strain) ** power), min(high, (1 - max_strain) ** power)
    return low - TOLERANCE, high + TOLERANCE


def _coincidences(
    film: SurfaceLattice, substrate: SurfaceLattice, n_film: int, n_substrate: int, low: float, high: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return the cells of both superlattices (n, 2, 2) for all matches with these numbers of cells."""
    film_steps = (NEARLY_REDUCED[None] @ reduced_cells(superlattices(n_film), film.cell)[:, None]).reshape(-1, 2, 2)
    substrate_steps = reduced_cells(distinct_superlattices(substrate, n_substrate), substrate.cell)
    inner, outer = (steps @ side.cell for steps, side in ((film_steps, film), (substrate_steps, substrate)))
    inner, outer = inner @ inner.transpose(0, 2, 1), outer @ outer.transpose(0, 2, 1)
    # The squares of the principal stretches are the eigenvalues of the product of the metrics.
    inverse = np.linalg.inv(inner)
    trace = np.einsum('nij,mji->nm', outer, inverse)
    root = np.sqrt(np.maximum(trace**2 - 4 * np.outer(np.linalg.det(outer), np.linalg.det(inverse)), 0))
    passed = np.argwhere(((trace - root) / 2 >= low**2) & ((trace + root) / 2 <= high**2))
    return film_steps[passed[:, 1]], substrate_steps[passed[:, 0]]


def _order(
    films: np.ndarray, substrates: np.ndarray, cells: np.ndarray, deformations: np.ndarray, film_fraction: float
) -> np.ndarray:
    """Return the order of matches by strain, then by twist, and then by the compactness of the cell."""
    stretches = np.linalg.svd(deformations, compute_uv=False)
    strains = np.concatenate([stretches**film_fraction, stretches ** (film_fraction - 1)], axis=1) - 1
    twists = np.round(_twists(deformations), 4)
    integers = np.concatenate([substrates.reshape(-1, 4), films.reshape(-1, 4)], axis=1)
    keys = [
        np.round(np.abs(strains).max(axis=1), 8), np.round(np.sum(strains**2, axis=1), 8), np.abs(twists), -twists,
        np.round(np.sum(cells**2, axis=(1, 2)), 4), *np.abs(integers).T, *-integers.T,
    ]  # fmt: skip
    return np.lexsort(keys[::-1])


def _twists(deformations: np.ndarray) -> np.ndarray:
    """Return the angles in degrees of the rotations in the polar decompositions of matrices (..., 2, 2)."""
    sines, cosines = deformations[..., 0, 1] - deformations[..., 1, 0], np.trace(deformations, axis1=-2, axis2=-1)
    return np.asarray(np.degrees(np.arctan2(sines, cosines)))


def _equivalent(deformation: np.ndarray, film: np.ndarray, substrate: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the deformations (n, 2, 2) that symmetry operations of both sides, or a common mirror, make equivalent.

    The second array (n, 2) contains the index of the operation of each side.
    """
    same_sign = np.linalg.det(film)[:, None] * np.linalg.det(substrate)[None] > 0
    pairs = np.argwhere(same_sign)
    return film[pairs[:, 0]] @ deformation @ substrate[pairs[:, 1]], pairs


def _transformed(steps: np.ndarray, cell: np.ndarray, operation: np.ndarray) -> np.ndarray:
    """Return a cell (2, 2) in units of the lattice vectors after an operation of the slab. It stays right-handed."""
    found = np.round(steps @ cell @ operation @ np.linalg.inv(cell)).astype(int)
    return np.asarray(found if np.linalg.det(found) > 0 else found * np.array([[1], [-1]]))


def _power(matrix: np.ndarray, exponent: float) -> np.ndarray:
    """Return a power of a symmetric matrix."""
    values, vectors = np.linalg.eigh(matrix)
    return np.asarray((vectors * values**exponent) @ vectors.T)
