"""Jump of an atom into a void, which moves vacancies over any distance."""

from __future__ import annotations

from itertools import product
from typing import Literal

import numpy as np
from ase import Atoms
from ase.geometry import complete_cell
from pydantic import Field

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.exploration.montecarlo.base import Move, MoveRefusedError, MoveSettings, Trial
from aiida_mlip_autopipe.exploration.phase_space import PhaseSpace
from aiida_mlip_autopipe.structures.distances import nearest_distances
from aiida_mlip_autopipe.structures.voids import MAX_RADIUS, find_voids


class VacancySettings(MoveSettings):
    """Moves one atom into a vacancy anywhere in the structure."""

    kind: Literal['vacancy'] = 'vacancy'
    """Jump into a vacancy."""
    radius_A: float = Field(default=0.4, gt=0, le=1)
    """The atom is placed at random within this distance of the centre of the void, in Å. The distance should be about
    three times the root mean square displacement of an atom along one axis."""
    min_size: float = Field(default=0.8, gt=0, le=1)
    """Minimum radius of a void, as a fraction of that of the largest void. With the default, vacancies of an fcc or bcc
    crystal are voids, and its interstitial sites are not. The move is refused if the radius of the largest void in the
    structure is less than this fraction of the smallest distance from an atom to its nearest neighbour."""


class Vacancy(Move):
    """Moves one free atom into a void.

    The voids are those of the structure without the atom. They are therefore the same for the reverse jump, and include
    the space that the atom leaves. Each void has a sphere around its centre. One of the spheres that do not contain
    the atom is drawn, and the new position x' is uniform in it. The density of this proposal is ``q(x → x') ∝ k/m``,
    where m is the number of spheres without x, and k the number of those that contain x'. The reverse jump has the same
    density with x and x' exchanged, and the factor is ``ln q(x' → x)/q(x → x')`` (W. K. Hastings, Biometrika 57, 97
    (1970)), which is zero if no spheres overlap. An atom outside all spheres cannot jump, because no jump would bring
    it back.
    """

    settings_class = VacancySettings
    settings: VacancySettings

    def begin(self, atoms: Atoms, free: np.ndarray) -> None:
        """Store the structure. Refuse one in which no void is as large as the space that an atom leaves."""
        if self.molecules is not None and len(np.unique(self.molecules)) < len(atoms):
            raise MoveRefusedError(Code.MOVE_IMPOSSIBLE, 'a jump into a vacancy would take an atom out of its molecule')
        self._atoms, self._free = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=atoms.pbc), free
        if _largest_void(self._atoms) < self.settings.min_size * _spaces(self._atoms)[free].min():
            raise MoveRefusedError(
                Code.MOVE_IMPOSSIBLE,
                'the structure has no vacancy: the radius of its largest void is less than min_size '
                f'({self.settings.min_size:g}) times the smallest distance from an atom to its nearest neighbour',
            )

    def propose(self, system: PhaseSpace, rng: np.random.Generator) -> Trial:
        """Move one randomly chosen atom into a random void."""
        atom = int(rng.choice(np.flatnonzero(self._free)))
        start = system.positions[atom]
        self._atoms.positions, self._atoms.cell = system.positions, system.cell
        others = self._atoms[np.arange(len(self._atoms)) != atom]
        centres = _voids(others, self.settings.min_size)
        around_start = self._count_images(centres, start)
        if not around_start.any() or around_start.all():
            return Trial(system.positions, system.cell, -np.inf)
        centre = centres[int(rng.choice(np.flatnonzero(around_start == 0)))]
        end = start + self._nearest_image(centre - start) + self._draw_from_sphere(rng)
        around_end = self._count_images(centres, end)
        forward = around_end[around_start == 0].sum() / (around_start == 0).sum()
        # If every sphere contains the new position, no jump leaves it.
        reverse = around_start[around_end == 0].sum() / max((around_end == 0).sum(), 1)
        positions = system.positions.copy()
        positions[atom] = end
        return Trial(positions, system.cell, float(np.log(reverse / forward)) if reverse else -np.inf)

    def _draw_from_sphere(self, rng: np.random.Generator) -> np.ndarray:
        """Return a vector that is uniform in the sphere."""
        direction = rng.standard_normal(3)
        radius = self.settings.radius_A * rng.random() ** (1.0 / 3.0)
        return np.asarray(radius * direction / np.linalg.norm(direction))

    def _count_images(self, centres: np.ndarray, point: np.ndarray) -> np.ndarray:
        """Return how many images of each sphere contain a point: 0 or 1, unless the cell is thinner than a sphere."""
        cell = complete_cell(self._atoms.cell.array)
        shifts = np.array(list(product(*[(-1, 0, 1) if periodic else (0,) for periodic in self._atoms.pbc]))) @ cell
        vectors = self._nearest_image(centres - point)[:, np.newaxis] + shifts
        return np.asarray((np.linalg.norm(vectors, axis=2) < self.settings.radius_A).sum(axis=1))

    def _nearest_image(self, vectors: np.ndarray) -> np.ndarray:
        """Return vectors (…, 3) with the scaled components along periodic directions between -1/2 and 1/2."""
        cell = complete_cell(self._atoms.cell.array)
        return np.asarray(vectors - (np.round(vectors @ np.linalg.inv(cell)) * self._atoms.pbc) @ cell)


def _voids(atoms: Atoms, min_size: float) -> np.ndarray:
    """Return the centres of the voids (m, 3); none if the atoms and all their periodic images lie in one plane."""
    from scipy.spatial import QhullError

    try:
        return find_voids(atoms, min_size)
    except QhullError:
        return np.zeros((0, 3))


def _largest_void(atoms: Atoms) -> float:
    """Return the radius of the largest void in Å; zero if there is none."""
    centres = _voids(atoms, 1.0)
    if not len(centres):
        return 0.0
    return float(_spaces(atoms + Atoms('X', positions=centres[:1]))[-1])


def _spaces(atoms: Atoms) -> np.ndarray:
    """Return the distance from each atom to its nearest neighbour in Å, exact up to the radius of the largest voids."""
    return nearest_distances(atoms.positions, atoms.cell.array, atoms.pbc, MAX_RADIUS)


VARIANT = Vacancy
