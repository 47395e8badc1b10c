"""One level of theory a file: no model can be trained on two at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.structures.row import Row


def of_one_level(rows: Iterable[Row]) -> Iterator[Row]:
    """Yield the rows.

    Raises
    ------
    AutopipeError
        At the first row whose ``label_source`` differs from that of the first.
    """
    label_source = None
    for place, row in enumerate(rows):
        found = row.key_value_pairs.get('label_source')
        if place and found != label_source:
            raise AutopipeError(
                Code.LEVELS_MIXED,
                f'row {place} has labels of {found}, those before of {label_source}: '
                'write one file for each level of theory',
            )
        label_source = found
        yield row
