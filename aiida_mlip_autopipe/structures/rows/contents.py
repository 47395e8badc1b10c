"""The contents of the sets of a dataset: the number of rows by kind, label, composition and temperature."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from aiida_mlip_autopipe.core.wording import counted
from aiida_mlip_autopipe.structures.rows.row import Row
from aiida_mlip_autopipe.structures.rows.splits import Split, describe_sets

MAX_VALUES = 10
"""Maximum number of values of a property in a table. The others are counted together."""


def describe_rows(rows: Sequence[Row], splits: Sequence[Split | None]) -> dict[str, dict[str, Any]]:
    """Count the rows of each set by kind, label, composition and temperature; see `describe_sets`."""
    keys = {name: [row.key_value_pairs.get(name) for row in rows] for name in ('kind', 'label')}
    temperatures = [row.key_value_pairs.get('temperature') for row in rows]
    return describe_sets(splits, {**keys, 'composition': [row.empirical_formula for row in rows]}, temperatures)


def tabulate_sets(contents: Mapping[str, Mapping[str, Any]]) -> dict[str, list[int]]:
    """Return the rows of a table of the contents of sets: the number of structures in each set, by title.

    Parameters
    ----------
    contents
        The result of `describe_sets`; the first row has the numbers of all structures.
    """
    lines = {'rows': [found['n'] for found in contents.values()]}
    for name in dict.fromkeys(name for found in contents.values() for name in found if name != 'n'):
        total: Counter[str] = sum((Counter(found[name]) for found in contents.values()), Counter())
        unit = name.removesuffix('_K')
        shown = [value for value, _ in total.most_common(MAX_VALUES)]
        if unit != name:
            shown.sort(key=lambda value: float(value.partition('–')[0]))
        for value in shown:
            title = f'{unit} {value}' if unit == name else f'{unit} {value} K'
            lines[title] = [found[name].get(value, 0) for found in contents.values()]
        if len(total) > len(shown):
            others = [[n for value, n in found[name].items() if value not in shown] for found in contents.values()]
            lines[counted(len(total) - len(shown), f'other {unit}')] = [sum(numbers) for numbers in others]
    return lines
