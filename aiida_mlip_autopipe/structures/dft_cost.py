"""How the run time of DFT labelling scales with the number of atoms."""

from __future__ import annotations

from collections.abc import Iterable


def cubed_atoms(n_atoms: Iterable[int]) -> float:
    """Return the sum of the cubed numbers of atoms over all structures.

    For large cells, the run time of a plane-wave code is proportional to this sum.

    Parameters
    ----------
    n_atoms
        The number of atoms of each structure.
    """
    return float(sum(int(n) ** 3 for n in n_atoms))
