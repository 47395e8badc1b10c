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


def repeat_molecules(atoms: Atoms, counts: Sequence[int]) -> Atoms:
    """Return a structure repeated along its cell vectors. The tags of the copies continue those of the structure."""
    repeated = atoms.repeat(counts)
    tags = atoms.get_tags()
    repeated.set_tags(np.concatenate([tags + copy * tags.max() for copy in range(len(repeated) // len(atoms))]))
    return repeated
