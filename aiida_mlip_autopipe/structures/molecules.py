"""Molecules of a seed, numbered by the tags of its atoms."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ase import Atoms


def molecule_centres(positions: np.ndarray, molecules: np.ndarray) -> np.ndarray:
    """Return, for each atom, the centre of its molecule: the mean position of the atoms.

    Parameters
    ----------
    positions
        (n, 3) in Å. No cell boundary divides a molecule.
    molecules
        Index of the molecule of each atom, (n,).
    """
    _, index = np.unique(molecules, return_inverse=True)
    sums = np.stack([np.bincount(index, positions[:, axis]) for axis in range(3)], axis=1)
    return np.asarray((sums / np.bincount(index)[:, None])[index])


def number_bodies(tags: np.ndarray) -> np.ndarray:
    """Return, for each atom (n,), the number of the molecule or single atom that moves as a whole, from 0.

    Parameters
    ----------
    tags
        Number of the molecule of each atom, (n,). An atom with the number 0, such as one of a slab in a liquid, moves
        on its own.
    """
    bodies = tags - 1
    single = tags == 0
    bodies[single] = tags.max() + np.arange(single.sum())
    return np.asarray(bodies)


def repeat_molecules(atoms: Atoms, counts: Sequence[int]) -> Atoms:
    """Return a structure repeated along its cell vectors. The copies of its molecules have new numbers."""
    repeated = atoms.repeat(counts)
    tags = atoms.get_tags()
    copies = np.arange(len(repeated) // len(atoms))[:, None]
    repeated.set_tags(np.where(tags > 0, tags + copies * tags.max(), 0).ravel())
    return repeated
