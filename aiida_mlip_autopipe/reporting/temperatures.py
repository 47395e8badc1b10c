"""Intervals of temperature, by which reports group structures."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from aiida_mlip_autopipe.structures.rows.row import Row

N_TEMPERATURES = 8
"""Maximum number of intervals."""


def divide_temperatures(rows: Sequence[Row]) -> tuple[list[str | None], list[str]]:
    """Divide the temperatures of rows into intervals of the same width.

    If there are only a few different temperatures, they are kept as they are.

    Returns
    -------
    intervals
        The temperature of each row in K, such as ``300`` or ``300–450``; None if it is unknown.
    order
        All intervals in ascending order; empty if no temperature is known.
    """
    temperatures = np.array([_temperature(row) for row in rows])
    if np.isnan(temperatures).all():
        return [None] * len(rows), []
    distinct = np.unique(temperatures[~np.isnan(temperatures)])
    if len(distinct) <= N_TEMPERATURES:
        values = [None if np.isnan(temperature) else f'{temperature:.0f}' for temperature in temperatures]
        return values, list(dict.fromkeys(f'{temperature:.0f}' for temperature in distinct))
    edges = np.linspace(np.nanmin(temperatures), np.nanmax(temperatures), N_TEMPERATURES + 1)
    numbers = np.clip(np.searchsorted(edges, temperatures, side='right') - 1, 0, N_TEMPERATURES - 1)
    ends = [f'{edge:.0f}' for edge in edges]
    names = [low if low == high else f'{low}–{high}' for low, high in pairwise(ends)]
    pairs = zip(numbers, temperatures, strict=True)
    intervals = [None if np.isnan(temperature) else names[number] for number, temperature in pairs]
    return intervals, list(dict.fromkeys(names))


def _temperature(row: Row) -> float:
    pairs = row.key_value_pairs
    return float(pairs.get('target_temperature_K', pairs.get('temperature_K', np.nan)))
