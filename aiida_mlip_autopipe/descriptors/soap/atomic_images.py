"""The atoms within reach of a structure, over its boundaries where it is periodic."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols
from ase.geometry.cell import complete_cell

# A share of the cell by which the images that are kept reach too far, so that rounding loses none.
MARGIN = 1e-9


@dataclass(frozen=True, eq=False)
class AtomicImages:
    """The atoms of a structure and all their images within reach.

    Attributes
    ----------
    centres
        Positions of the atoms, in Å (n, 3).
    positions
        Positions of all images, in Å (3, m): those of one element after those of another.
    bounds
        Where the images of each element begin, and the last ones end (s + 1,).
    """

    centres: np.ndarray
    positions: np.ndarray
    bounds: np.ndarray

    def find_neighbours(self, part: slice, cutoff_A: float) -> Neighbours:
        """Find the images within a distance of some of the atoms; an atom is among its own."""
        centres, n_images = self.centres[part], self.positions.shape[1]
        # One product gives |a|² - 2 a·b + |b|².
        left = np.empty((len(centres), 5))
        left[:, :3], left[:, 3], left[:, 4] = -2.0 * centres, np.square(centres).sum(axis=1), 1.0
        right = np.empty((5, n_images))
        right[:3], right[3], right[4] = self.positions, 1.0, np.square(self.positions).sum(axis=0)
        found = np.flatnonzero(left @ right <= cutoff_A**2)
        ends = np.searchsorted(found, np.add.outer(n_images * np.arange(len(centres)), self.bounds))
        return Neighbours.pad(found, ends, n_images)


@dataclass(frozen=True, eq=False)
class Neighbours:
    """The neighbours of some centres, an element at a time, each centre with as many places as the fullest one.

    Attributes
    ----------
    centres, images
        Which centre and which image stand at a place (p,).
    taken
        1.0 where there is a neighbour, 0.0 where the place is empty (p,).
    shapes
        Centres and places of each element (s, 2); their products add up to p.
    """

    centres: np.ndarray
    images: np.ndarray
    taken: np.ndarray
    shapes: list[tuple[int, int]]

    @classmethod
    def pad(cls, found: np.ndarray, ends: np.ndarray, n_images: int) -> Neighbours:
        """Give every centre the same number of places."""
        places, taken, shapes = [], [], []
        for first, last in zip(ends.T[:-1, :, None], ends.T[1:, :, None], strict=True):
            place = first + np.arange((last - first).max())
            places.append(place.ravel())
            taken.append((place < last).ravel())
            shapes.append(place.shape)
        chosen = found.take(np.concatenate(places), mode='clip')
        centres = np.concatenate([np.repeat(np.arange(n), width) for n, width in shapes])
        # What stands at an empty place may be beyond the last image.
        return cls(
            centres,
            np.minimum(chosen - n_images * centres, n_images - 1),
            np.concatenate(taken).astype(np.float64),
            shapes,
        )


def find_images(atoms: Atoms, species: Sequence[int], reach_A: float) -> AtomicImages:
    """Find all images within a distance of a structure.

    Parameters
    ----------
    atoms
        The structure. A direction with no cell vector is not periodic, and atoms outside of the cell are brought in.
    species
        Atomic numbers, ascending.
    reach_A
        How far an image may be from the nearest atom at most, in Å; a few that are farther are among them.

    Raises
    ------
    ValueError
        If the structure has an element that is not among the species.
    """
    elements = np.searchsorted(species, atoms.numbers)
    known = np.asarray(species).take(elements, mode='clip') == atoms.numbers
    if not known.all():
        raise ValueError(f'the descriptor is not built for {chemical_symbols[atoms.numbers[~known][0]]}')
    periodic = atoms.pbc & atoms.cell.array.any(axis=1)
    cell = complete_cell(np.where(periodic[:, None], atoms.cell.array, 0.0))
    inverse = np.linalg.inv(cell)
    fractions = atoms.positions @ inverse
    outside = np.where(periodic, np.floor(fractions), 0.0)
    fractions -= outside
    positions = atoms.positions - outside @ cell
    positions -= positions.mean(axis=0)
    # A column of the inverse is one over the distance of two opposite faces long.
    reach = np.where(periodic, reach_A * np.linalg.norm(inverse, axis=0), 0.0)
    order = np.argsort(elements, kind='stable')
    shifts, near = zip(*map(_find_repeats, fractions[order].T, reach), strict=True)
    first, second, third = near
    within = first[:, :, None, None] & second[:, None, :, None] & third[:, None, None, :]
    found, repeats = np.divmod(np.flatnonzero(within), within[0].size)
    steps = np.indices(within.shape[1:]).reshape(3, -1)
    moves = cell.T @ np.array([shift[step] for shift, step in zip(shifts, steps, strict=True)])
    images = positions[order].T.take(found, axis=1) + moves.take(repeats, axis=1)
    bounds = np.searchsorted(elements[order].take(found), np.arange(len(species) + 1))
    return AtomicImages(positions, images, bounds)


def _find_repeats(fractions: np.ndarray, reach: float) -> tuple[np.ndarray, np.ndarray]:
    """Return by how many cells along an axis to move (k,), and which atoms are then still within reach (n, k)."""
    n_cells = int(np.ceil(reach))
    shifts = np.arange(-n_cells, n_cells + 1.0)
    moved = np.add.outer(fractions, shifts)
    return shifts, (moved >= fractions.min() - reach - MARGIN) & (moved <= fractions.max() + reach + MARGIN)
