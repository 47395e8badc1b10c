"""A seed: a starting structure, how it was made, and its identity."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from ase import Atoms


class Place(NamedTuple):
    """Where a seed stands in its entry of the config: lists and ranges of the exploration are spread by it.

    No other entry changes it, and neither does the number of seeds.

    Attributes
    ----------
    offset
        Where the entry begins: a number below 2**32 of its own.
    position
        Which of the structures that the entry takes in turn: compositions of a grid, points of a volume scan, files.
    round
        How often all of them were taken before.
    """

    offset: int = 0
    position: int = 0
    round: int = 0


FIRST = Place()


@dataclass(frozen=True, eq=False)
class Seed:
    """A starting structure.

    Attributes
    ----------
    atoms
        The structure. Cell in Å, positions in Å; tags, initial magnetic moments, formal charges (as
        initial charges) and `FixAtoms` are part of it.
    record
        How it was made, JSON only: ``kind``, the realised parameters, ``ancestor`` (identifies the structure before
        perturbation). Nothing in it depends on the campaign's name or on the other seeds.
    place
        Where it stands in its entry; no part of its identity.
    """

    atoms: Atoms
    record: dict[str, Any] = field(default_factory=dict)
    place: Place = FIRST

    @cached_property
    def seed_id(self) -> str:
        """Hash of the content, 16 hexadecimal digits; the same structure made the same way has the same one."""
        digest = hashlib.sha256()
        for name, array in sorted(self.arrays().items()):
            digest.update(name.encode())
            digest.update(str(array.shape).encode())
            digest.update(np.ascontiguousarray(array).tobytes())
        digest.update(json.dumps(self.record, sort_keys=True).encode())
        return digest.hexdigest()[:16]

    def arrays(self) -> dict[str, np.ndarray]:
        """Return everything that defines the structure as little-endian arrays, exact to the last bit.

        Returns
        -------
        dict
            ``numbers`` (n,), ``positions`` (n, 3) Å, ``cell`` (3, 3) Å, ``pbc`` (3,), ``tags`` (n,),
            ``magmoms`` (n,) µB, ``charges`` (n,) e: formal charges, zero where unknown, and ``fixed`` (n,) bool:
            whether the atom is held by `FixAtoms`.
        """
        return {**structure_arrays(self.atoms), 'fixed': fixed_mask(self.atoms)}

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray], record: dict[str, Any]) -> Seed:
        """Make a seed from what `arrays` returned; the round trip is exact."""
        from ase.constraints import FixAtoms

        atoms = Atoms(
            numbers=arrays['numbers'],
            positions=arrays['positions'],
            cell=arrays['cell'],
            pbc=arrays['pbc'],
            tags=arrays['tags'] if arrays['tags'].any() else None,
            magmoms=arrays['magmoms'] if arrays['magmoms'].any() else None,
            charges=arrays['charges'] if arrays['charges'].any() else None,
        )
        if arrays['fixed'].any():
            atoms.set_constraint(FixAtoms(mask=arrays['fixed']))
        return cls(atoms, record)


def structure_arrays(atoms: Atoms) -> dict[str, np.ndarray]:
    """Return everything that defines a structure except its constraints; see `Seed.arrays`."""
    return {
        'numbers': atoms.numbers.astype('<i8'),
        'positions': atoms.positions.astype('<f8'),
        'cell': np.asarray(atoms.cell.array, dtype='<f8'),
        'pbc': atoms.pbc.astype(bool),
        'tags': atoms.get_tags().astype('<i8'),
        'magmoms': atoms.get_initial_magnetic_moments().astype('<f8'),
        'charges': atoms.get_initial_charges().astype('<f8'),
    }


def fixed_mask(atoms: Atoms) -> np.ndarray:
    """Return which atoms `FixAtoms` holds, shape (n,), bool.

    Raises
    ------
    ValueError
        If the structure carries a constraint of another class, which a job could not honour.
    """
    from ase.constraints import FixAtoms

    mask = np.zeros(len(atoms), dtype=bool)
    for constraint in atoms.constraints:
        if not isinstance(constraint, FixAtoms):
            raise ValueError(f'only FixAtoms constraints are supported, the structure has {type(constraint).__name__}')
        mask[constraint.index] = True
    return mask
