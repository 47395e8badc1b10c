"""The energy of a structure above the minimum for its composition."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def excess_energies(energies: np.ndarray, compositions: Sequence[str]) -> np.ndarray:
    """Return the energies above the minimum energy of the same composition.

    Parameters
    ----------
    energies
        Energy of each structure, eV per atom (n,).
    compositions
        Empirical formula of each structure (n).
    """
    _, indices = np.unique(compositions, return_inverse=True)
    lowest = np.full(indices.max() + 1, np.inf)
    np.minimum.at(lowest, indices, energies)
    excess: np.ndarray = energies - lowest[indices]
    return excess
