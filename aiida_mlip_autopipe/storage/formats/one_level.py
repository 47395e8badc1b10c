"""Require that all rows of a file have the same level of theory, because a model cannot be trained on several."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.structures.row import Row


def require_one_level(rows: Iterable[Row]) -> Iterator[Row]:
    """Yield the rows, which must have the same level of theory.

    Raises
    ------
    AutopipeError
        At the first row whose ``label_source`` differs from that of the rows before it.
    """
    label_source = None
    for index, row in enumerate(rows):
        found = row.key_value_pairs.get('label_source')
        if index and found != label_source:
            raise AutopipeError(
                Code.LEVELS_MIXED,
                f'row {index} has labels from {found}, but the rows before it have labels from {label_source}; '
                'write one file for each level of theory',
            )
        label_source = found
        yield row
