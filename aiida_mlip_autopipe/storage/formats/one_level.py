"""Require that all rows of a file have the same level of theory, because a model cannot be trained on several."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.structures.rows.level import describe_difference
from aiida_mlip_autopipe.structures.rows.row import Row


def require_one_level(rows: Iterable[Row]) -> Iterator[Row]:
    """Yield the rows, which must have the same level of theory.

    Raises
    ------
    AutopipeError
        At the first row whose level of theory differs from that of the first row. The message names the fields.
    """
    first: Row | None = None
    for index, row in enumerate(rows):
        first = first or row
        if row.level_hash != first.level_hash:
            difference = describe_difference(first.level, row.level)
            raise AutopipeError(
                Code.LEVELS_MIXED,
                f'rows 0 and {index} have different levels of theory: {difference}; write one file for each level',
            )
        yield row
