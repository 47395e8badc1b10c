"""The molecules that a move may choose."""

from __future__ import annotations

import numpy as np

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.exploration.montecarlo.base import MoveRefusedError


def movable_molecules(
    kind: str, molecules: np.ndarray | None, free: np.ndarray, min_atoms: int = 1
) -> list[np.ndarray]:
    """Return the indices of the atoms of each molecule that may move.

    Parameters
    ----------
    kind
        Kind of the move.
    molecules
        Number of the molecule of each atom (n,), from 1, or 0 for an atom of a slab. None if the seed was not generated
        as molecules.
    free
        Which atoms may move (n,). A molecule with a fixed atom may not move.
    min_atoms
        Minimum number of atoms of a molecule.

    Raises
    ------
    MoveRefusedError
        If the seed has no such molecule.
    """
    if molecules is None:
        raise MoveRefusedError(
            Code.MOVE_IMPOSSIBLE, f'the move {kind!r} moves molecules, but the seed was not generated as molecules'
        )
    members = [np.flatnonzero(molecules == number) for number in np.unique(molecules[molecules > 0])]
    movable = [atoms for atoms in members if len(atoms) >= min_atoms and free[atoms].all()]
    if not movable:
        needed = 'without fixed atoms' if min_atoms == 1 else f'of at least {min_atoms} atoms without fixed atoms'
        raise MoveRefusedError(Code.MOVE_IMPOSSIBLE, f'the move {kind!r} needs a molecule {needed}')
    return movable
