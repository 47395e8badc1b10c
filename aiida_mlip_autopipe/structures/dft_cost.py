"""The scaling of the time of labelling structures by DFT."""

from __future__ import annotations

from collections.abc import Iterable


def cubed_atoms(n_atoms: Iterable[int]) -> float:
    """Return the sum over structures of the cube of the number of atoms.

    The time of a plane-wave code is proportional to it for large cells.

    Parameters
    ----------
    n_atoms
        The number of atoms of each structure.
    """
    return float(sum(int(n) ** 3 for n in n_atoms))
