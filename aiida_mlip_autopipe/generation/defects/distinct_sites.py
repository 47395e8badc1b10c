"""Symmetry-distinct sites, pairs, interstitial sites and dumbbells of a crystal."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from ase import Atoms

from aiida_mlip_autopipe.generation.defects.dumbbells import Axis
from aiida_mlip_autopipe.generation.defects.interstitials import find_interstitial_sites
from aiida_mlip_autopipe.generation.limits import check_time
from aiida_mlip_autopipe.structures.seed import fixed_mask

SYMMETRY_TOLERANCE = 0.01  # Å
ARROW_TOLERANCE = 0.05  # Å; arrows (a point and a vector from it) that differ by less are the same
# Maximum distance between neighbours, divided by the shortest distance between atoms of the two elements.
NEIGHBOUR_FACTOR = 1.15


@dataclass(frozen=True)
class SymmetrySites:
    """The symmetry-distinct sites of a structure, from spglib.

    Atoms with different charges, magnetic moments or constraints are distinct.
    """

    atoms: Atoms

    @cached_property
    def _operations(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Fractional rotations (n, 3, 3) and translations (n, 3), and for each atom the first one equivalent to it."""
        import spglib

        atoms = self.atoms
        marks = [
            atoms.numbers, np.round(atoms.get_initial_charges(), 3),
            np.round(atoms.get_initial_magnetic_moments(), 3), fixed_mask(atoms),
        ]  # fmt: skip
        types = np.unique(np.column_stack(marks), axis=0, return_inverse=True)[1].ravel() + 1
        found = spglib.get_symmetry((atoms.cell.array, atoms.get_scaled_positions(), types), SYMMETRY_TOLERANCE)
        return found['rotations'], found['translations'], found['equivalent_atoms']

    def atoms_of(self, symbol: str) -> list[np.ndarray]:
        """Return the position of one free atom of an element for each distinct site, each of shape (1, 3) in Å."""
        _, _, equivalent = self._operations
        free = (self.atoms.symbols == symbol) & ~fixed_mask(self.atoms)
        return [self.atoms.positions[[atom]] for atom in np.unique(equivalent[free])]

    def interstitials(self) -> list[np.ndarray]:
        """Return the interstitial sites that are symmetry-distinct, each of shape (1, 3) in Å."""
        candidates = [(site, np.zeros(3)) for site in find_interstitial_sites(self.atoms)]
        return [np.array([start]) for start, _ in self._distinct(candidates)]

    def dumbbells(self, symbol: str, axes: list[Axis], *, mixed: bool) -> list[np.ndarray]:
        """Return a site of an element and the same site plus a unit vector for each distinct dumbbell, (2, 3) in Å.

        A dumbbell of two elements is also made with its atoms exchanged, unless symmetry does so.
        """
        signs = (1, -1) if mixed else (1,)
        candidates = [
            (site[0] - sign * axis.vector / 2, sign * axis.vector)
            for site in self.atoms_of(symbol) for axis in axes for sign in signs
        ]  # fmt: skip
        found = self._distinct(candidates, reversible=not mixed)
        return [np.array([start + vector / 2, start + 3 * vector / 2]) for start, vector in found]

    def pairs(self, first: str, second: str) -> list[np.ndarray]:
        """Return the positions of the distinct pairs of neighbouring free atoms, each of shape (2, 3) in Å."""
        from matscipy.neighbours import neighbour_list

        atoms, free = self.atoms, ~fixed_mask(self.atoms)
        i, j, vectors, distances = neighbour_list(
            'ijDd', positions=atoms.positions, cell=atoms.cell.array, pbc=atoms.pbc, cutoff=6.0
        )
        matches = (atoms.symbols[i] == first) & (atoms.symbols[j] == second) & free[i] & free[j]
        if not matches.any():
            return []
        matches &= distances <= NEIGHBOUR_FACTOR * distances[matches].min()
        # A pair of the same element occurs in both directions; `_distinct` removes the reversed pairs.
        candidates = [(atoms.positions[a], v) for a, v in zip(i[matches], vectors[matches], strict=True)]
        return [np.array([start, start + vector]) for start, vector in self._distinct(candidates)]

    def _distinct(
        self, candidates: list[tuple[np.ndarray, np.ndarray]], *, reversible: bool = True
    ) -> list[tuple[np.ndarray, np.ndarray]]:
        """Return the arrows (a point and a vector) that no symmetry operation or reversal maps onto an earlier one."""
        from scipy.spatial import cKDTree

        rotations, translations, _ = self._operations
        cell = self.atoms.cell.array
        inverse = np.linalg.inv(cell)
        # A point within the tolerance of another one is within this distance of it in fractional coordinates.
        reach = ARROW_TOLERANCE * float(np.linalg.norm(inverse, 2))
        left, found = list(candidates), []
        while left:
            check_time()
            found.append(left[0])
            start, vector = (part @ inverse for part in left[0])
            starts, vectors = rotations @ start + translations, rotations @ vector
            if reversible:
                starts, vectors = np.concatenate([starts, starts + vectors]), np.concatenate([vectors, -vectors])
            tree = cKDTree(_wrapped(starts), boxsize=1.0)
            near = tree.query_ball_point(_wrapped(np.array([point for point, _ in left]) @ inverse), reach)
            left = [
                arrow
                for arrow, images in zip(left, near, strict=True)
                if not (images and _is_image(arrow, starts[images], vectors[images], cell, inverse))
            ]
        return found


def _wrapped(fractions: np.ndarray) -> np.ndarray:
    """Return fractional coordinates in [0, 1)."""
    wrapped = fractions % 1.0
    return np.asarray(np.where(wrapped < 1.0, wrapped, 0.0))


def _is_image(
    arrow: tuple[np.ndarray, np.ndarray], starts: np.ndarray, vectors: np.ndarray, cell: np.ndarray, inverse: np.ndarray
) -> bool:
    away = arrow[0] @ inverse - starts
    away -= np.round(away)
    apart = np.linalg.norm(away @ cell, axis=1) + np.linalg.norm((arrow[1] @ inverse - vectors) @ cell, axis=1)
    return bool(apart.min() < ARROW_TOLERANCE)
