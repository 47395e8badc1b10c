"""A seed: a starting structure, its record and its identity."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from ase import Atoms


class Place(NamedTuple):
    """The position of a seed in its entry of the config.

    The exploration uses it to assign the items of lists and the values of ranges. It does not depend on other entries
    or on the number of seeds.

    Attributes
    ----------
    offset
        Start of the entry: a number below 2**32 that is derived from the entry.
    position
        Index among the structures that the entry uses in turn: compositions of a grid, points of a volume scan, files.
    round
        How many times all of these structures have been used before.
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
        The structure, with cell and positions in Å. It includes tags, initial magnetic moments, formal charges (as
        initial charges) and `FixAtoms`.
    record
        How it was made, as JSON types: ``kind``, the parameters, and ``parent``, which identifies the parent structure.
        It does not depend on the name of the campaign or on other seeds.
    place
        Its position in its entry, which is not part of its identity.
    entry
        Index of its entry in ``generation``, which is not part of its identity.
    """

    atoms: Atoms
    record: dict[str, Any] = field(default_factory=dict)
    place: Place = FIRST
    entry: int = 0

    @cached_property
    def seed_id(self) -> str:
        """Hash of the content, 16 hexadecimal digits, the same for equal structures that were made in the same way."""
        digest = hashlib.sha256()
        for name, array in sorted(self.arrays().items()):
            digest.update(name.encode())
            digest.update(str(array.shape).encode())
            digest.update(np.ascontiguousarray(array).tobytes())
        digest.update(json.dumps(self.record, sort_keys=True).encode())
        return digest.hexdigest()[:16]

    def arrays(self) -> dict[str, np.ndarray]:
        """Return everything that defines the structure as little-endian arrays, exact bit for bit.

        Returns
        -------
        dict
            ``numbers`` (n,), ``positions`` (n, 3) Å, ``cell`` (3, 3) Å, ``pbc`` (3,), ``tags`` (n,),
            ``magmoms`` (n,) µB, ``charges`` (n,) e: formal charges, zero where unknown, and ``fixed`` (n,) bool:
            whether `FixAtoms` fixes the atom.
        """
        return {**structure_arrays(self.atoms), 'fixed': fixed_mask(self.atoms)}

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray], record: dict[str, Any]) -> Seed:
        """Make a seed from the result of `arrays`. The round trip is exact."""
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


def is_amorphous(record: Mapping[str, Any]) -> bool:
    """Return whether a structure, or a structure from which it was made, was generated as amorphous or liquid.

    Structures that consist of molecules count as liquid unless they are crystals, whose records contain a space group.

    Parameters
    ----------
    record
        The record of a seed.
    """
    parts = [part for part in record.values() if isinstance(part, Mapping)]
    is_packing = record.get('molecular', False) and 'spacegroup' not in record
    return is_packing or record.get('kind') == 'amorphous' or any(is_amorphous(part) for part in parts)


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
    """Return which atoms `FixAtoms` fixes, shape (n,), bool.

    Raises
    ------
    ValueError
        If the structure has a constraint of another class, which jobs do not support.
    """
    from ase.constraints import FixAtoms

    mask = np.zeros(len(atoms), dtype=bool)
    for constraint in atoms.constraints:
        if not isinstance(constraint, FixAtoms):
            raise ValueError(
                f'only FixAtoms constraints are supported, but the structure has {type(constraint).__name__}'
            )
        mask[constraint.index] = True
    return mask
