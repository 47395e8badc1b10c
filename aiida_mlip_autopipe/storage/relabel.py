"""Replace the labels of rows with labels at another level of theory. The rows keep their previous labels."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from ase.calculators.singlepoint import SinglePointCalculator

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.core.wording import counted
from aiida_mlip_autopipe.structures.rows.keys import LEVEL
from aiida_mlip_autopipe.structures.rows.labels import (
    ABOUT_LABELS,
    OTHER_LABELS,
    RowLabels,
    other_labels,
    present_labels,
)
from aiida_mlip_autopipe.structures.rows.provenance import Software, searchable
from aiida_mlip_autopipe.structures.rows.row import Row

METHODS = ('dft', 'mlip')
"""Choices of labels by the method of their level of theory. Other choices are names and hashes of levels."""


def relabel(row: Row, labels: RowLabels) -> Row:
    """Return a row with new labels. The structure and its constraints do not change.

    This replaces the energy, the forces, the stress, the level of theory, ``label_source``, the keys of the software
    and the energies of isolated atoms. The row keeps its previous labels, with all that belongs to them, under
    ``labels_before`` in its data, keyed by the name of their level, with its hash if this key exists already. A row has
    at most one set of labels at a level: new labels replace earlier ones at their level.

    Parameters
    ----------
    row
        The row. It may have no labels.
    labels
        The new labels, with the atoms in the order of the row.
    """
    atoms = row.atoms.copy()
    atoms.calc = SinglePointCalculator(atoms, **labels.results)
    atoms.calc.name = labels.level.code
    data = {key: value for key, value in row.data.items() if key not in (*ABOUT_LABELS, OTHER_LABELS)}
    data |= {LEVEL: labels.level.model_dump(), **labels.about}
    if others := _others(row, labels):
        data[OTHER_LABELS] = {key: other.to_data() for key, other in others.items()}
    software = labels.software
    if 'provenance' in data:
        software = software or Software(architecture=labels.level.code)
        fields = {'label_source': labels.level.name, 'labelled': software}
        data['provenance'] = row.provenance.model_copy(update=fields).model_dump()
    pairs = {key: value for key, value in row.key_value_pairs.items() if key not in Software.model_fields}
    pairs |= {} if software is None else software.key_value_pairs()
    pairs |= {'label_source': searchable(labels.level.name), LEVEL: labels.level.hash}
    return replace(row, atoms=atoms, key_value_pairs=pairs, data=data, id=None)


def _others(row: Row, new: RowLabels) -> dict[str, RowLabels]:
    """Return the labels that a row keeps next to new ones, by their keys."""
    others = {key: labels for key, labels in other_labels(row).items() if labels.level.hash != new.level.hash}
    present = present_labels(row)
    if present is not None and present.level.hash != new.level.hash:
        name = present.level.name
        others[name if name not in others else f'{name} {present.level.hash}'] = present
    return others


def choose_labels(rows: Iterable[Row], choice: str) -> list[Row]:
    """Return rows with the chosen labels as their current labels. The other labels are kept in their data.

    Parameters
    ----------
    rows
        The rows.
    choice
        ``dft`` or ``mlip``, or the name or the hash of a level of theory. A row whose current labels match does not
        change.

    Raises
    ------
    AutopipeError
        If a row has no such labels, or the choice matches several labels that a row keeps. Nothing is returned for the
        other rows.
    """
    rows = list(rows)
    chosen = [_choose(row, choice) for row in rows]
    lacking = [index for index, found in enumerate(chosen) if found is None]
    if lacking:
        raise AutopipeError(Code.LABELS_MISSING, _describe_lack(rows, lacking, choice))
    return [row for row in chosen if row is not None]


def _choose(row: Row, choice: str) -> Row | None:
    present = present_labels(row)
    if present is not None and _matches(present, choice):
        return row
    found = [labels for labels in other_labels(row).values() if _matches(labels, choice)]
    if len(found) > 1:
        levels = ', '.join(f'{labels.level.name} ({labels.level.hash})' for labels in found)
        raise AutopipeError(
            Code.LEVELS_MIXED, f'{_name(row)} has several labels that match {choice}: {levels}; choose one by its hash'
        )
    return relabel(row, found[0]) if found else None


def _matches(labels: RowLabels, choice: str) -> bool:
    level = labels.level
    return choice in ((level.method,) if choice in METHODS else (level.name, level.hash))


def _describe_lack(rows: Sequence[Row], lacking: Sequence[int], choice: str) -> str:
    levels: dict[str, str] = {}
    for row in rows:
        present = present_labels(row)
        for labels in (*([present] if present is not None else []), *other_labels(row).values()):
            levels[labels.level.hash] = labels.level.name
    known = ', '.join(f'{name} ({key})' for key, name in levels.items()) or 'none known'
    first = rows[lacking[0]]
    return (
        f'no labels match {choice} in {len(lacking)} of {counted(len(rows), "row")}, such as {_name(first)}; '
        f'levels in the dataset: {known}'
    )


def _name(row: Row) -> str:
    return 'a row' if row.id is None else f'row {row.id}'
