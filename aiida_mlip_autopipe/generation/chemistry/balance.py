"""The oxidation states that balance a whole composition, ranked by how common they are."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from itertools import pairwise

import numpy as np

from aiida_mlip_autopipe.generation.chemistry.states import BOTH_SIGNS, NEUTRAL_FRACTION

N_ALTERNATIVES = 4
# Penalty per atom of an element that has two states: both positive (cations), or one or both of them negative, which is
# rarer.
MIXED_CATION = 0.15
MIXED_ANION = 0.5
MOLECULAR_ANION = 1.0
# Maximum difference between two states with the same sign, as in Pb3O4 and BaBiO3; no oxide has Mn4+ and Mn7+, for
# example.
MAX_DIFFERENCE = 2
TOLERANCE = 1e-6

# Number of atoms of each element by oxidation state.
Amounts = dict[str, dict[int, float]]


def balanced(
    counts: Mapping[str, int],
    candidates: Mapping[str, Mapping[int, float]],
    *,
    mixed: Collection[str] | None = None,
    whole: bool = True,
) -> list[Amounts]:
    """Return the assignments of states with total charge zero, the most common first.

    Each element has one state, or one element has two neighbouring ones. Because the penalties add up over the atoms,
    this is a linear problem. Its solution is a vertex, so assignments with more mixed elements are never better.

    Parameters
    ----------
    counts
        Number of atoms of each element. Their order does not matter.
    candidates
        Penalty of each state that an element may have.
    mixed
        Elements that may have two states; by default all.
    whole
        Whether the numbers of atoms in two states must be integers.
    """
    symbols = sorted(counts)
    states = [np.array(sorted(candidates[s])) for s in symbols]
    if not all(len(known) for known in states):
        return []
    grid = [axis.ravel() for axis in np.meshgrid(*(np.arange(len(known)) for known in states), indexing='ij')]
    charges = [counts[s] * known[axis] for s, known, axis in zip(symbols, states, grid, strict=True)]
    costs = [
        counts[s] * np.array([candidates[s][int(state)] for state in known])[axis]
        for s, known, axis in zip(symbols, states, grid, strict=True)
    ]
    charge, cost = np.sum(charges, axis=0), np.sum(costs, axis=0)

    def choice(index: int) -> Amounts:
        return {s: {int(states[k][grid[k][index]]): counts[s]} for k, s in enumerate(symbols)}

    found: list[tuple[float, int, Amounts]] = []
    for index in _cheapest(cost, np.abs(charge) < TOLERANCE):
        found.append((round(float(cost[index]), 9), 0, choice(index)))
    for k, s in enumerate(symbols):
        if mixed is not None and s not in mixed:
            continue
        first = grid[k] == 0  # each combination of the other elements once
        for low, high, fraction in _pairs(s, [int(state) for state in states[k]]):
            n_high = (-(charge - charges[k]) - low * counts[s]) / (high - low)
            fits = first & (n_high > TOLERANCE) & (n_high < counts[s] - TOLERANCE)
            if whole:
                fits &= np.abs(n_high - np.round(n_high)) < TOLERANCE
            if fraction:
                fits &= np.abs(n_high / counts[s] - fraction) < TOLERANCE
                each = np.full(len(cost), MOLECULAR_ANION * counts[s])
            else:
                penalty = MIXED_ANION if low < 0 else MIXED_CATION
                each = n_high * candidates[s][high] + (counts[s] - n_high) * candidates[s][low] + penalty * counts[s]
            total = cost - costs[k] + each
            for index in _cheapest(total, fits):
                number = float(n_high[index])
                number = round(number) if abs(number - round(number)) < TOLERANCE else number
                two = {low: counts[s] - number, high: number}
                found.append((round(float(total[index]), 9), 1, {**choice(index), s: two}))
    found.sort(key=lambda item: (item[0], item[1], str(item[2])))
    return [{s: amounts[s] for s in counts} for _, _, amounts in found[: 1 + N_ALTERNATIVES]]


def _cheapest(cost: np.ndarray, fits: np.ndarray) -> list[int]:
    indices = np.flatnonzero(fits)
    return [int(index) for index in indices[np.argsort(cost[indices], kind='stable')][: 1 + N_ALTERNATIVES]]


def _pairs(symbol: str, states: list[int]) -> list[tuple[int, int, float]]:
    """Return the pairs of states that an element may have, and the fraction of the higher one if it is fixed."""
    pairs = [(low, high, 0.0) for low, high in pairwise(states) if low * high > 0 and high - low <= MAX_DIFFERENCE]
    if symbol in BOTH_SIGNS:
        pairs += [(low, high, 0.0) for low in states if low < 0 for high in states if high > 0]
    if symbol in NEUTRAL_FRACTION and -1 in states:
        pairs.append((-1, 0, NEUTRAL_FRACTION[symbol]))
    return pairs
