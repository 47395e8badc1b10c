"""Leave out copies of structures, and join groups that have a structure in common."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from aiida_mlip_autopipe.storage.imports.rows import IMPORTED
from aiida_mlip_autopipe.structures.duplicates import (
    ENERGY_TOLERANCE,
    FORCE_TOLERANCE,
    LabelledStructures,
    are_identical,
    content_digest,
    join_alike,
)
from aiida_mlip_autopipe.structures.rows.row import Row

STRESS_TOLERANCE = 1e-4
"""eV/Å³ (16 MPa)."""


def leave_out_copies(rows: Sequence[Row]) -> tuple[list[Row], int, list[tuple[Row, Row]]]:
    """Leave out rows whose structure and labels are those of an earlier row.

    Structures are the same if all their numbers are equal, and labels if they agree within the tolerances of
    `join_alike` and `STRESS_TOLERANCE`.

    Returns
    -------
    rows
        The other rows.
    n_copies
        Number of rows that were left out.
    conflicts
        Pairs of rows with the same structure and different labels. Both are kept.
    """
    kept: list[Row] = []
    conflicts: list[tuple[Row, Row]] = []
    earlier: dict[bytes, list[Row]] = {}
    for row in rows:
        atoms = row.atoms
        digest = content_digest(atoms.numbers, atoms.pbc, atoms.cell.array, atoms.positions)
        same = [one for one in earlier.get(digest, ()) if are_identical(one.atoms, atoms)]
        if any(_same_labels(one, row) for one in same):
            continue
        kept.append(row)
        earlier.setdefault(digest, []).append(row)
        if same:
            conflicts.append((same[0], row))
    return kept, len(rows) - len(kept), conflicts


def join_groups(rows: Sequence[Row]) -> int:
    """Move imported rows to the group of a row with the same structure.

    Rows that this program wrote keep their group.

    Returns
    -------
    int
        Number of groups that no longer exist.
    """
    groups = [str(row.key_value_pairs.get('parent', row.key_value_pairs.get('seed'))) for row in rows]
    joined = join_alike(LabelledStructures.from_rows(rows), groups)
    fixed = [IMPORTED not in row.data for row in rows]
    names: dict[str, str] = {}
    for group, root, is_fixed in zip(groups, joined, fixed, strict=True):
        if is_fixed:
            names[root] = min(group, names.get(root, group))
    for row, root, is_fixed in zip(rows, joined, fixed, strict=True):
        if not is_fixed:
            row.key_value_pairs['parent'] = names.get(root, root)
    return len(set(groups)) - len(set(joined))


def _same_labels(first: Row, second: Row) -> bool:
    one, other = first.labels, second.labels
    return (
        one.keys() == other.keys()
        and abs(one['energy'] - other['energy']) <= ENERGY_TOLERANCE * len(first.atoms)
        and bool(np.abs(one['forces'] - other['forces']).max() <= FORCE_TOLERANCE)
        and bool(np.abs(one.get('stress', 0.0) - other.get('stress', 0.0)).max() <= STRESS_TOLERANCE)
    )
