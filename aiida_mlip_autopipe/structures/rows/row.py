"""A row of a dataset, and the energies of isolated atoms in the rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.data import chemical_symbols
from ase.formula import Formula

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.structures.rows.keys import LEVEL, current_pairs, read_level
from aiida_mlip_autopipe.structures.rows.level import LevelOfTheory
from aiida_mlip_autopipe.structures.rows.provenance import Provenance

# Key in the data of a row for the energies of isolated atoms, eV by symbol, of the elements of its seed.
ISOLATED_ATOMS = 'isolated_atoms'
# eV; results from a GPU are not reproducible bit for bit.
ENERGY_TOLERANCE = 1e-3


class Identity(NamedTuple):
    """What identifies a row.

    Attributes
    ----------
    run
        UUID of the exploration job that made the frame; for a row without one, the seed.
    step
        Absolute step of the frame.
    level
        Hash of the level of theory; empty if it is unknown.
    """

    run: str
    step: int
    level: str


@dataclass(frozen=True, eq=False)
class Row:
    """A labelled structure and its origin.

    Attributes
    ----------
    atoms
        The structure with energy (eV), forces (eV/Å) and, if it is periodic, stress (eV/Å³, ASE's sign convention and
        Voigt order) as calculator results. Constraints, tags and magnetic moments are part of it.
    key_value_pairs
        The searchable keys in the database.
    data
        Further data: ``provenance``, ``level`` with the level of theory of the labels, ``seed`` with the full record of
        the seed, and, if known, ``isolated_atoms`` with the energies of isolated atoms at this level, eV by symbol.
    id
        Id in the database; None if the row is not in a database.
    """

    atoms: Atoms
    key_value_pairs: dict[str, Any] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=dict)
    id: int | None = None

    @property
    def labels(self) -> dict[str, Any]:
        """Energy, forces and, if present, stress.

        Raises
        ------
        AutopipeError
            If energy or forces are missing, or the labels belong to another structure.
        """
        calc = self.atoms.calc
        where = 'a row' if self.id is None else f'row {self.id}'
        if calc is None or not {'energy', 'forces'} <= set(calc.results):
            raise AutopipeError(Code.LABELS_MISSING, f'{where} has no energy or no forces')
        if was_changed(self.atoms):
            raise AutopipeError(
                Code.LABELS_OUTDATED,
                f'{where} was changed after its labels were computed',
            )
        return {name: calc.results[name] for name in ('energy', 'forces', 'stress') if name in calc.results}

    @property
    def empirical_formula(self) -> str:
        """The formula with the smallest whole numbers, such as ``AuCu3``, in Hill order."""
        return empirical_formula(self.atoms.numbers)

    @property
    def provenance(self) -> Provenance:
        """The origin of the row, exactly as it was stored.

        Raises
        ------
        AutopipeError
            If the row has none, or it is damaged.
        """
        try:
            return Provenance.model_validate(self.data['provenance'])
        except (KeyError, ValueError) as error:
            raise self._unreadable('provenance', error) from error

    @property
    def level(self) -> LevelOfTheory | None:
        """The level of theory of the labels; None if the row does not name their source.

        Raises
        ------
        AutopipeError
            If it is damaged.
        """
        try:
            return read_level(self.key_value_pairs, self.data)
        except ValueError as error:
            raise self._unreadable('level of theory', error) from error

    def _unreadable(self, part: str, error: Exception) -> AutopipeError:
        where = 'a row' if self.id is None else f'row {self.id}'
        reason = 'it is missing' if isinstance(error, KeyError) else ' '.join(str(error).split())
        return AutopipeError(Code.FILE_UNREADABLE, f'the {part} of {where} cannot be read: {reason}')

    @property
    def level_hash(self) -> str:
        """The hash of the level of theory; empty if the row does not name the source of its labels."""
        found = self.key_value_pairs.get(LEVEL)
        if found is None:
            level = self.level
            return '' if level is None else level.hash
        return str(found)

    @property
    def identity(self) -> Identity:
        """What identifies the row: its run, its step and the level of theory of its labels.

        Raises
        ------
        AutopipeError
            If the row has no run or no step.
        """
        pairs = self.key_value_pairs
        run = pairs.get('exploration', pairs.get('seed'))
        for name, value in (('exploration', run), ('step', pairs.get('step'))):
            if value is None:
                where = 'a row' if self.id is None else f'row {self.id}'
                raise AutopipeError(
                    Code.ROW_KEY_MISSING, f'{where} has no key {name}, so it cannot be distinguished from other rows'
                )
        return Identity(str(run), int(pairs['step']), self.level_hash)


def was_changed(atoms: Atoms) -> bool:
    """Return whether a structure with a calculator was changed after its labels were computed."""
    before = atoms.calc.atoms
    # ASE's comparison with a tolerance takes a hundred times as long, and each command asks several times.
    is_equal = (
        before is not None
        and before.cell.array.tobytes() == atoms.cell.array.tobytes()
        and before.pbc.tobytes() == atoms.pbc.tobytes()
        and all(
            (name in before.arrays) == (name in atoms.arrays)
            and (name not in atoms.arrays or before.arrays[name].tobytes() == atoms.arrays[name].tobytes())
            for name in ('numbers', 'positions', 'initial_magmoms', 'initial_charges')
        )
    )
    return not is_equal and bool(atoms.calc.check_state(atoms))


def make_row(
    atoms: Atoms,
    provenance: Provenance,
    seed_record: dict[str, Any],
    isolated_atoms: Mapping[str, float] | None = None,
    level: LevelOfTheory | None = None,
) -> Row:
    """Make a row from a labelled frame.

    Parameters
    ----------
    atoms
        The frame with calculator results, which are copied in float64 and named after the calculator.
    provenance
        The origin of the frame.
    seed_record
        The record of its seed. Its ``kind``, ``label`` and ``parent`` become searchable keys.
    isolated_atoms
        Known energies of isolated atoms by symbol, eV, from the calculator of the labels.
    level
        The level of theory of the labels; by default, it is derived from the provenance.

    Raises
    ------
    AutopipeError
        If the energy, a force or a component of the stress is missing or not finite. A stress may be absent.
    """
    where = f'the frame at step {provenance.step} of seed {provenance.seed_id}'
    labelled = atoms.copy()
    labelled.info = {}
    labelled.calc = SinglePointCalculator(labelled, **_finite_results(atoms, where))
    data: dict[str, Any] = {'provenance': provenance.model_dump(), 'seed': seed_record}
    pairs = provenance.key_value_pairs()
    level = level or read_level(pairs, data)
    assert level is not None  # the provenance names the source of the labels
    labelled.calc.name = level.code
    data[LEVEL] = level.model_dump()
    if isolated_atoms:
        data[ISOLATED_ATOMS] = dict(isolated_atoms)
    return Row(labelled, current_pairs(pairs, data), data)


def isolated_atom_energies(rows: Iterable[Row]) -> dict[str, float] | None:
    """Collect the energies of isolated atoms from the rows.

    Returns
    -------
    dict or None
        eV by chemical symbol, in order of atomic number; None if the energy of an element of the rows is unknown.

    Raises
    ------
    AutopipeError
        If two rows disagree by more than 1 meV.
    """
    known: dict[str, float] = {}
    elements: dict[int, str] = {}
    for row in rows:
        elements.update(zip(row.atoms.numbers.tolist(), row.atoms.get_chemical_symbols(), strict=True))
        for symbol, energy in row.data.get(ISOLATED_ATOMS, {}).items():
            if abs(known.setdefault(symbol, energy) - energy) > ENERGY_TOLERANCE:
                raise AutopipeError(
                    Code.LEVELS_MIXED,
                    f'the rows have {known[symbol]:g} and {energy:g} eV for an isolated atom of {symbol}: '
                    'their labels are from different models',
                )
    symbols = [elements[number] for number in sorted(elements)]
    return {symbol: known[symbol] for symbol in symbols} if set(symbols) <= set(known) else None


def empirical_formula(numbers: np.ndarray) -> str:
    """Return the formula with the smallest whole numbers, such as ``AuCu3``, in Hill order.

    Parameters
    ----------
    numbers
        The atomic number of each atom (n,).
    """
    return _empirical_formula(tuple(np.bincount(numbers).tolist()))


@lru_cache(maxsize=4096)
def _empirical_formula(counts: tuple[int, ...]) -> str:
    """Return the formula for the number of atoms with each atomic number."""
    symbols = {chemical_symbols[number]: count for number, count in enumerate(counts) if count}
    return str(Formula.from_dict(symbols).reduce()[0].format('hill'))


def _finite_results(atoms: Atoms, where: str) -> dict[str, Any]:
    results = {} if atoms.calc is None else atoms.calc.results
    for name in ('energy', 'forces'):
        if results.get(name) is None:
            raise AutopipeError(Code.LABELS_MISSING, f'{where} has no {name}, which every row of a dataset needs')
    labels = {
        name: np.asarray(results[name], dtype=float) for name in ('energy', 'forces', 'stress') if name in results
    }
    for name, values in [*labels.items(), ('positions', atoms.positions)]:
        if not np.isfinite(values).all():
            raise AutopipeError(Code.LABELS_MISSING, f'{where} has non-finite {name}')
    return labels | {'energy': float(labels['energy'])}
