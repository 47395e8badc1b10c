"""A labelled structure from a file of another program."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from ase import Atoms
from ase.symbols import Symbols

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.structures.rows.level import LevelOfTheory

# Every row that this program writes has these keys.
OWN_KEYS = {'seed', 'step', 'label_source'}
# Keys that exports of this program contain for trainers. They are not keys of a row.
FOR_TRAINERS = ('config_type', 'config_weight')
# Arrays that are part of a structure. ASE's databases store them.
STRUCTURE_ARRAYS = ('numbers', 'positions', 'tags', 'initial_magmoms', 'initial_charges', 'momenta', 'masses')


@dataclass(frozen=True, eq=False)
class Candidate:
    """A structure and all that its file says about it, before the labels are identified.

    Attributes
    ----------
    index
        Its position in the file, from 0, or the id of a row of a database.
    atoms
        The structure with constraints, tags, initial magnetic moments and charges, and without results.
    values
        All other values by their keys: results of a calculator, properties of the structure and of its atoms.
    stored
        Key-value pairs and data, for a row of a database.
    """

    index: int
    atoms: Atoms
    values: dict[str, Any]
    stored: tuple[dict[str, Any], dict[str, Any]] | None = None

    @classmethod
    def from_atoms(cls, index: int, atoms: Atoms, more: Mapping[str, Any] | None = None) -> Candidate:
        """Separate a structure from its results, its ``info``, its other arrays and ``more`` values.

        The structure is changed, not copied, because a file may contain many.
        """
        arrays = {name: array for name, array in atoms.arrays.items() if name not in STRUCTURE_ARRAYS}
        results = {} if atoms.calc is None else atoms.calc.results
        sources = (results, atoms.info, more or {}, arrays)
        atoms.calc = None
        atoms.info = {}
        for name in arrays:
            del atoms.arrays[name]
        return cls.from_values(index, atoms, *sources)

    @classmethod
    def from_values(cls, index: int, atoms: Atoms, *sources: Mapping[str, Any]) -> Candidate:
        """Combine a structure with values. If several sources have the same key, the later ones get a suffix."""
        values: dict[str, Any] = {}
        for source in sources:
            for name, value in source.items():
                if value is not None:
                    values[f'{name} (2)' if name in values else str(name)] = value
        fixed = values.get('fixed')
        if isinstance(fixed, np.ndarray) and fixed.dtype == bool and not atoms.constraints:
            from ase.constraints import FixAtoms

            # This program writes fixed atoms to extended XYZ as this column.
            atoms.set_constraint(FixAtoms(mask=values.pop('fixed')))
        return cls(index, atoms, values)


@dataclass(frozen=True, eq=False)
class Frame:
    """A labelled structure, in eV, Å and eV/Å³.

    Attributes
    ----------
    index
        As in `Candidate`.
    atoms
        The structure, without results.
    labels
        ``energy``, ``forces`` (n, 3) and, if known, ``stress`` (6,) with ASE's sign convention and Voigt order.
    keys
        The key of the file from which each label was read, such as ``{'energy': 'REF_energy'}``.
    values
        All other values of the file by their keys.
    level
        The level of theory, if the file contains it.
    stored
        As in `Candidate`.
    """

    index: int
    atoms: Atoms
    labels: dict[str, Any]
    keys: dict[str, str] = field(default_factory=dict)
    values: dict[str, Any] = field(default_factory=dict)
    level: LevelOfTheory | None = None
    stored: tuple[dict[str, Any], dict[str, Any]] | None = None

    @cached_property
    def own_pairs(self) -> dict[str, Any] | None:
        """The searchable keys of a row that this program wrote; None if another program wrote the frame."""
        pairs = self.values if self.stored is None else self.stored[0]
        if not pairs.keys() >= OWN_KEYS:
            return None
        own: dict[str, Any] = {}
        for name, value in pairs.items():
            if name in FOR_TRAINERS:
                continue
            if isinstance(value, bool | np.bool_):
                # ASE reads the text T or F in extended XYZ as a Boolean, which no key of this program is.
                own[name] = str(value)[0]
            elif isinstance(value, np.generic):
                own[name] = value.item()
            elif isinstance(value, str | int | float):
                own[name] = value
        return own


def plain(value: Any) -> Any:
    """Return a value with Python's types instead of those of NumPy, except for arrays of numbers."""
    if isinstance(value, np.ndarray):
        return value if value.dtype.kind in 'biuf' else value.tolist()
    if isinstance(value, Mapping):
        return {name: plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    return value.item() if isinstance(value, np.generic) else value


def formula_of(atoms: Atoms) -> str:
    """Return the formula with the smallest whole numbers, such as ``AuCu3``, in Hill order."""
    return _formula(np.sort(atoms.numbers).tobytes())


@lru_cache(maxsize=4096)
def _formula(numbers: bytes) -> str:
    symbols = Symbols(np.frombuffer(numbers, dtype=int))
    return str(symbols.formula.reduce()[0].format('hill'))


def check_frame(labels: Mapping[str, Any], atoms: Atoms, where: str) -> None:
    """Require that a frame has atoms, finite numbers, and linearly independent cell vectors along periodic directions.

    Raises
    ------
    AutopipeError
        If a requirement is not met. ``where`` names the frame.
    """
    if not len(atoms):
        raise AutopipeError(Code.STRUCTURE_UNUSABLE, f'{where}: it has no atoms')
    for name, values in [*labels.items(), ('positions', atoms.positions), ('cell', atoms.cell.array)]:
        if not np.isfinite(values).all():
            raise AutopipeError(Code.LABELS_MISSING, f'{where}: {name}: not all numbers are finite')
    vectors = atoms.cell.array[atoms.pbc]
    # A determinant that is not small is sufficient, and much faster than the rank.
    if (len(vectors) < 3 or abs(np.linalg.det(vectors)) < 1e-3) and np.linalg.matrix_rank(vectors) < len(vectors):
        raise AutopipeError(
            Code.STRUCTURE_UNUSABLE, f'{where}: the cell vectors along the periodic directions are linearly dependent'
        )
