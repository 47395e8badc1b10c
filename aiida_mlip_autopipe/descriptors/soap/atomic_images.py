"""The atoms of a structure and their periodic images within a cutoff distance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols
from ase.geometry.cell import complete_cell

# Tolerance of the search in units of the cell, so that rounding errors do not exclude an image.
MARGIN = 1e-9


@dataclass(frozen=True, eq=False)
class AtomicImages:
    """The atoms of a structure and all their images within a given distance of the structure.

    Attributes
    ----------
    centres
        Positions of the atoms, in Å (n, 3).
    positions
        Positions of all images, sorted by element, in Å (3, m).
    bounds
        The index of the first image of each element, and the total number of images (s + 1,).
    """

    centres: np.ndarray
    positions: np.ndarray
    bounds: np.ndarray

    def find_neighbours(self, part: slice | np.ndarray, cutoff_A: float) -> Neighbours:
        """Find the images within a given distance of some of the atoms. Each atom is its own neighbour."""
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
    """The neighbours of some centres, in one padded array for each element.

    Attributes
    ----------
    centres, images
        The indices of the centre and of the image of each entry (p,).
    taken
        1.0 for a neighbour, 0.0 for padding (p,).
    shapes
        Number of centres, and number of entries per centre, for each element (s, 2). Their products add up to p.
    """

    centres: np.ndarray
    images: np.ndarray
    taken: np.ndarray
    shapes: list[tuple[int, int]]

    @classmethod
    def pad(cls, found: np.ndarray, ends: np.ndarray, n_images: int) -> Neighbours:
        """Pad the neighbours of all centres to the same number of entries."""
        entries, taken, shapes = [], [], []
        for first, last in zip(ends.T[:-1, :, None], ends.T[1:, :, None], strict=True):
            entry = first + np.arange((last - first).max())
            entries.append(entry.ravel())
            taken.append((entry < last).ravel())
            shapes.append(entry.shape)
        chosen = found.take(np.concatenate(entries), mode='clip')
        centres = np.concatenate([np.repeat(np.arange(n), width) for n, width in shapes])
        # The index in a padding entry can exceed that of the last image.
        return cls(
            centres,
            np.minimum(chosen - n_images * centres, n_images - 1),
            np.concatenate(taken).astype(np.float64),
            shapes,
        )


def find_images(atoms: Atoms, species: Sequence[int], reach_A: float) -> AtomicImages:
    """Find all images within a given distance of the atoms of a structure.

    Parameters
    ----------
    atoms
        The structure. Directions without a cell vector are not periodic. Atoms outside the cell are wrapped into it.
    species
        Atomic numbers, in ascending order.
    reach_A
        Distance from the nearest atom within which all images are found, in Å. Some images farther away are also found.

    Raises
    ------
    ValueError
        If an element of the structure is not among the species.
    """
    elements = np.searchsorted(species, atoms.numbers)
    known = np.asarray(species).take(elements, mode='clip') == atoms.numbers
    if not known.all():
        raise ValueError(f'the descriptor does not support {chemical_symbols[atoms.numbers[~known][0]]}')
    periodic = atoms.pbc & atoms.cell.array.any(axis=1)
    cell = complete_cell(np.where(periodic[:, None], atoms.cell.array, 0.0))
    inverse = np.linalg.inv(cell)
    fractions = atoms.positions @ inverse
    outside = np.where(periodic, np.floor(fractions), 0.0)
    fractions -= outside
    positions = atoms.positions - outside @ cell
    positions -= positions.mean(axis=0)
    # The length of a column of the inverse is the reciprocal of the perpendicular width of the cell.
    reach = np.where(periodic, reach_A * np.linalg.norm(inverse, axis=0), 0.0)
    order = np.argsort(elements, kind='stable')
    shifts, near = zip(*map(_find_repeats, fractions[order].T, reach), strict=True)
    first, second, third = near
    within = first[:, :, None, None] & second[:, None, :, None] & third[:, None, None, :]
    found, repeats = np.divmod(np.flatnonzero(within), within[0].size)
    steps = np.indices(within.shape[1:]).reshape(3, -1)
    translations = cell.T @ np.array([shift[step] for shift, step in zip(shifts, steps, strict=True)])
    images = positions[order].T.take(found, axis=1) + translations.take(repeats, axis=1)
    bounds = np.searchsorted(elements[order].take(found), np.arange(len(species) + 1))
    return AtomicImages(positions, images, bounds)


def _find_repeats(fractions: np.ndarray, reach: float) -> tuple[np.ndarray, np.ndarray]:
    """Return translations along an axis in cell units (k,), and which translated atoms are within reach (n, k)."""
    n_cells = int(np.ceil(reach))
    shifts = np.arange(-n_cells, n_cells + 1.0)
    moved = np.add.outer(fractions, shifts)
    return shifts, (moved >= fractions.min() - reach - MARGIN) & (moved <= fractions.max() + reach + MARGIN)
