"""A row of a dataset, and the energies of isolated atoms in the rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.data import chemical_symbols
from ase.formula import Formula

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.structures.provenance import Provenance, searchable

# Key in the data of a row for the energies of isolated atoms, eV by symbol, of the elements of its seed.
ISOLATED_ATOMS = 'isolated_atoms'
# eV; results from a GPU are not reproducible bit for bit.
ENERGY_TOLERANCE = 1e-3


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
        Further data: ``provenance``, ``seed`` with the full record of the seed, and, if known, ``isolated_atoms`` with
        the energies of isolated atoms at the level of theory of the labels, eV by symbol.
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
        return _empirical_formula(tuple(np.bincount(self.atoms.numbers).tolist()))

    @property
    def provenance(self) -> Provenance:
        """The origin of the row, exactly as it was stored."""
        return Provenance.model_validate(self.data['provenance'])


def was_changed(atoms: Atoms) -> bool:
    """Return whether a structure with a calculator was changed after its labels were computed."""
    before = atoms.calc.atoms
    # ASE's comparison with a tolerance takes a hundred times as long.
    is_equal = (
        before is not None
        and np.array_equal(before.cell.array, atoms.cell.array)
        and np.array_equal(before.pbc, atoms.pbc)
        and all(
            (name in before.arrays) == (name in atoms.arrays)
            and np.array_equal(before.arrays.get(name, ()), atoms.arrays.get(name, ()))
            for name in ('numbers', 'positions', 'initial_magmoms', 'initial_charges')
        )
    )
    return not is_equal and bool(atoms.calc.check_state(atoms))


def make_row(
    atoms: Atoms,
    provenance: Provenance,
    seed_record: dict[str, Any],
    isolated_atoms: Mapping[str, float] | None = None,
) -> Row:
    """Make a row from a labelled frame.

    Parameters
    ----------
    atoms
        The frame with calculator results, which are copied in float64 and named after the architecture.
    provenance
        The origin of the frame.
    seed_record
        The record of its seed. Its ``kind`` and ``parent`` become the searchable keys ``seed_kind`` and
        ``parent``.
    isolated_atoms
        Known energies of isolated atoms by symbol, eV, from the calculator of the labels.

    Raises
    ------
    AutopipeError
        If the energy, a force or a component of the stress is missing or not finite. A stress may be absent.
    """
    where = f'the frame at step {provenance.step} of seed {provenance.seed_id}'
    labelled = atoms.copy()
    labelled.info = {}
    labelled.calc = SinglePointCalculator(labelled, **_finite_results(atoms, where))
    labelled.calc.name = provenance.architecture
    pairs = provenance.key_value_pairs()
    for key, name in (('kind', 'seed_kind'), ('parent', 'parent')):
        if key in seed_record:
            pairs[name] = searchable(str(seed_record[key]))
    data = {'provenance': provenance.model_dump(), 'seed': seed_record}
    if isolated_atoms:
        data[ISOLATED_ATOMS] = dict(isolated_atoms)
    return Row(labelled, pairs, data)


def isolated_atom_energies(rows: Iterable[Row]) -> dict[str, float] | None:
    """Collect the energies of isolated atoms from the rows.

    Returns
    -------
    dict or None
        eV by chemical symbol, in the order of atomic numbers; None if the energy of an element of the rows is unknown.

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
