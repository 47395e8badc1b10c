"""Report what parts of a row a format cannot store, so that nothing is dropped silently."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Literal

import numpy as np
from ase.calculators.singlepoint import SinglePointCalculator

from aiida_mlip_autopipe.structures.rows.row import ISOLATED_ATOMS, Row

Periodicity = Literal['any', 'all or none', 'all']

VACUUM_A = 10.0
"""Å of vacuum on each side of a structure along its non-periodic directions, if the format requires a periodic cell."""


def knows_isolated_atoms(row: Row) -> bool:
    """Return whether a row contains the energies of the isolated atoms of its elements."""
    return set(row.atoms.symbols) <= set(row.data.get(ISOLATED_ATOMS, {}))


def _is_boxed(row: Row, periodicity: Periodicity) -> bool:
    pbc = row.atoms.pbc
    return not pbc.all() and (periodicity == 'all' or (periodicity == 'all or none' and bool(pbc.any())))


FEATURES: dict[str, Callable[[Row], bool]] = {
    'fixed atoms': lambda row: bool(row.atoms.constraints),
    'magnetic moments': lambda row: bool(row.atoms.arrays.get('initial_magmoms', np.zeros(1)).any()),
    'charges': lambda row: bool(row.atoms.arrays.get('initial_charges', np.zeros(1)).any()),
    'tags': lambda row: bool(row.atoms.arrays.get('tags', np.zeros(1)).any()),
    'provenance': lambda row: bool(row.data),
    'stress': lambda row: 'stress' in row.labels,
    'energies of isolated atoms': lambda row: bool(row.data.get(ISOLATED_ATOMS)),
    'energy_corrected': lambda row: not knows_isolated_atoms(row),
}
"""The features of a row that not every format stores, and whether a row has them."""


def prepare_rows(
    rows: Iterable[Row], missing: Mapping[str, str], periodicity: Periodicity, remarks: Counter[str]
) -> Iterator[Row]:
    """Yield rows that a format can store, and count what it loses.

    Parameters
    ----------
    rows
        The rows.
    missing
        The features (keys of `FEATURES`) that the format does not store, each with advice, which may be empty.
    periodicity
        Which periodic directions the format can store. If a structure has others, its non-periodic directions become
        periodic, with `VACUUM_A` on both sides of the atoms.
    remarks
        For each sentence, the number of rows to which it applies. It is complete after the last row.
    """
    for row in rows:
        for feature, advice in missing.items():
            if FEATURES[feature](row):
                remarks[f'{feature} not stored' + (f'; {advice}' if advice else '')] += 1
        if _is_boxed(row, periodicity):
            remarks[f'non-periodic directions made periodic, with {2 * VACUUM_A:g} Å of vacuum'] += 1
            row = _in_box(row)
        yield row


def _in_box(row: Row) -> Row:
    results = row.labels
    atoms = row.atoms.copy()
    volume = atoms.cell.volume
    atoms.center(vacuum=VACUUM_A, axis=np.flatnonzero(~atoms.pbc))
    atoms.pbc = True
    if 'stress' in results:
        # The virial, the product of volume and stress, does not depend on the vacuum.
        results['stress'] = results['stress'] * (volume / atoms.cell.volume)
    atoms.calc = SinglePointCalculator(atoms, **results)
    return replace(row, atoms=atoms)


def virial(row: Row) -> np.ndarray | None:
    """Return the virial in eV, shape (3, 3), or None if the row has no stress.

    It is minus the volume times the stress in ASE's sign convention, so its trace is positive in a compressed crystal.
    """
    from ase.stress import voigt_6_to_full_3x3_stress

    stress = row.labels.get('stress')
    if stress is None:
        return None
    result: np.ndarray = -row.atoms.cell.volume * voigt_6_to_full_3x3_stress(stress)
    return result


def kind_of(row: Row) -> str | None:
    """Return the kind of the seed of a row, if known."""
    kind = row.key_value_pairs.get('kind')
    return None if kind is None else str(kind)
