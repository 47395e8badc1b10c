"""Make rows of a dataset from imported frames."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

from aiida_mlip_autopipe.storage.imports.frames import Frame, formula_of, plain
from aiida_mlip_autopipe.structures.rows.keys import LEVEL, current_pairs
from aiida_mlip_autopipe.structures.rows.level import LevelOfTheory
from aiida_mlip_autopipe.structures.rows.provenance import HASH_PREFIX, searchable
from aiida_mlip_autopipe.structures.rows.results import StoredResults
from aiida_mlip_autopipe.structures.rows.row import ISOLATED_ATOMS, Row

IMPORTED = 'imported'
"""Kind of the imported rows, and key in their data for their origin."""
GROUP_KEYS = ('config_type',)
"""Keys that other programs use for what this program calls the label of an entry."""

ISOLATED_ATOM = 'isolatedatom'
"""The ``config_type`` of an isolated atom in files for MACE and GAP, in lower case and without underscores."""

GroupBy = Literal['composition', 'file']


def make_imported_row(
    frame: Frame,
    level: LevelOfTheory,
    *,
    file: str,
    sha256: str,
    group_by: GroupBy,
    isolated_atoms: Mapping[str, float] | None = None,
) -> tuple[Row, list[str]]:
    """Return the row of a frame that another program wrote, and the keys whose values cannot be stored.

    Parameters
    ----------
    frame
        The frame.
    level
        The level of theory of its labels.
    file, sha256
        Name and hash of its file. The hash and the index of the frame identify the row.
    group_by
        What determines its group.
    isolated_atoms
        Energies of isolated atoms by symbol, eV, at the same level.
    """
    run = f'file-{sha256[:16]}'
    kept, dropped = storable(frame.values)
    origin = {'file': file, 'sha256': sha256, 'frame': frame.index, 'keys': dict(frame.keys), 'values': kept}
    pairs: dict[str, Any] = {
        'file': searchable(file),
        'file_sha256': HASH_PREFIX + sha256,
        'seed': run,
        'step': frame.index,
        'kind': 'atom' if is_isolated_atom(frame) else IMPORTED,
        'parent': run if group_by == 'file' else f'composition-{formula_of(frame.atoms)}',
    }
    for name in GROUP_KEYS:
        if isinstance(frame.values.get(name), str):
            pairs['label'] = searchable(frame.values[name])
    data: dict[str, Any] = {IMPORTED: origin}
    if isolated_atoms:
        data[ISOLATED_ATOMS] = dict(isolated_atoms)
    return _row(frame, pairs, data, level), dropped


def is_isolated_atom(frame: Frame) -> bool:
    """Return whether a file marks a frame as an isolated atom, whose energy is a reference for other structures."""
    group = str(frame.values.get('config_type', '')).lower().replace('_', '')
    return len(frame.atoms) == 1 and group == ISOLATED_ATOM


def restore_row(frame: Frame, level: LevelOfTheory) -> Row:
    """Return a row that this program wrote, with its own keys and data."""
    pairs = frame.own_pairs
    assert pairs is not None
    return _row(frame, pairs, {} if frame.stored is None else dict(frame.stored[1]), level)


def storable(values: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Return the values that a database can store, and the keys of the others."""
    kept = {name: plain(value) for name, value in values.items() if _is_plain(value)}
    return kept, [name for name in values if name not in kept]


def _row(frame: Frame, pairs: Mapping[str, Any], data: Mapping[str, Any], level: LevelOfTheory) -> Row:
    atoms = frame.atoms
    atoms.calc = StoredResults(atoms, frame.labels)
    atoms.calc.name = level.code
    own = {'label_source': searchable(level.name), LEVEL: level.hash}
    content = {**data, LEVEL: level.model_dump()}
    return Row(atoms, current_pairs({**pairs, **own}, content), content)


def _is_plain(value: Any) -> bool:
    if isinstance(value, np.ndarray):
        return value.dtype.kind in 'biufU' or (
            value.dtype.kind == 'O' and all(isinstance(one, str) for one in value.flat)
        )
    if isinstance(value, Mapping):
        return all(isinstance(name, str) and _is_plain(one) for name, one in value.items())
    if isinstance(value, list | tuple):
        return all(_is_plain(one) for one in value)
    return value is None or isinstance(value, str | int | float | bool | np.generic)
