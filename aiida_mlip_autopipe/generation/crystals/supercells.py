"""How many repeats of a unit cell a random structure needs."""

from __future__ import annotations

from itertools import product
from math import prod

import numpy as np
from ase import Atoms

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError, PhysicsViolationError
from aiida_mlip_autopipe.generation.base import Requirements
from aiida_mlip_autopipe.generation.chemistry.elements import realise_counts
from aiida_mlip_autopipe.structures.cells import cell_heights, repeats_for_height

Repeats = tuple[int, int, int]


def choose_repeats(
    cell: Atoms,
    fractions: dict[str, float],
    requirements: Requirements,
    *,
    n_atoms: int | None = None,
    tolerance: float,
    sites_per_cell: int | None = None,
) -> Repeats:
    """Return the repeats of a unit cell for a composition.

    With `n_atoms` the most compact cell of the nearest size that is not larger than needed; without it the smallest
    cell that has the height asked for and holds the composition within the tolerance.

    Parameters
    ----------
    cell
        The unit cell.
    fractions
        The composition of the sites that are shared.
    requirements
        Height and largest number of atoms.
    n_atoms
        Number of atoms wanted.
    tolerance
        Largest deviation of a realised fraction.
    sites_per_cell
        How many of the cell's atoms are shared; by default all.

    Raises
    ------
    AutopipeError
        If no cell up to ``max_atoms`` holds the composition; the nearest it can hold is named.
    PhysicsViolationError
        If no cell up to ``max_atoms`` has the height.
    """
    sites = len(cell) if sites_per_cell is None else sites_per_cell
    heights = cell_heights(cell)
    if n_atoms is not None:
        repeats = _nearest_size(len(cell), heights, n_atoms)
        check_composition(fractions, prod(repeats) * sites, tolerance)
        return repeats
    least = repeats_for_height(cell, requirements.min_height_A)
    if prod(least) * len(cell) > requirements.max_atoms:
        raise PhysicsViolationError(
            'max_atoms', (), len(cell) * prod(least), requirements.max_atoms,
            f'a cell with a height of {requirements.min_height_A:.2f} Å takes {len(cell) * prod(least)} atoms; '
            f'validation.max_atoms allows {requirements.max_atoms}',
        )  # fmt: skip
    most = requirements.max_atoms // len(cell)
    longest = 3 * max(*least, round(most ** (1 / 3)))
    first, second, third = (range(count, min(most, longest) + 1) for count in least)
    larger = [repeats for repeats in product(first, second, third) if prod(repeats) <= most]
    larger.sort(key=lambda repeats: (prod(repeats), -min(heights * repeats), repeats))
    for repeats in larger:
        if deviation(fractions, prod(repeats) * sites) <= tolerance:
            return repeats
    best = min(larger, key=lambda repeats: (deviation(fractions, prod(repeats) * sites), -prod(repeats)))
    nearest = describe(nearest_possible(fractions, prod(best) * sites))
    raise AutopipeError(
        Code.COMPOSITION_IMPOSSIBLE,
        f'no cell of up to {requirements.max_atoms} atoms holds {describe(fractions)} within {tolerance:g}; '
        f'the nearest is {nearest} in {prod(best) * len(cell)} atoms',
    )


def check_composition(fractions: dict[str, float], n_sites: int, tolerance: float) -> None:
    """Refuse a number of sites that cannot hold a composition within the tolerance, or loses an element."""
    if deviation(fractions, n_sites) > tolerance:
        raise AutopipeError(
            Code.COMPOSITION_IMPOSSIBLE,
            f'{n_sites} sites cannot hold {describe(fractions)} within {tolerance:g}; '
            f'the nearest is {describe(nearest_possible(fractions, n_sites))}; take a larger cell',
        )


def realised(fractions: dict[str, float], n_sites: int) -> dict[str, float]:
    """Return the composition that a number of sites holds."""
    return {symbol: count / n_sites for symbol, count in realise_counts(fractions, n_sites).items()}


def nearest_possible(fractions: dict[str, float], n_sites: int) -> dict[str, float]:
    """Return the nearest composition that a number of sites holds with no element lost, where there are so many."""
    counts = realise_counts(fractions, n_sites)
    if n_sites >= len(counts):
        for symbol in [symbol for symbol, count in counts.items() if not count]:
            counts[max(counts, key=lambda other: counts[other])] -= 1
            counts[symbol] = 1
    return {symbol: count / n_sites for symbol, count in counts.items()}


def deviation(fractions: dict[str, float], n_sites: int) -> float:
    """Return the largest deviation of a realised fraction; infinite where an element gets no site at all."""
    found = realised(fractions, n_sites)
    if not all(found.values()):
        return float('inf')
    return max(abs(found[symbol] - fraction) for symbol, fraction in fractions.items())


def describe(fractions: dict[str, float]) -> str:
    """Return a composition as text."""
    return ' '.join(f'{symbol} {fraction:.4g}' for symbol, fraction in fractions.items())


def _nearest_size(size: int, heights: np.ndarray, n_atoms: int) -> Repeats:
    """Return the repeats whose number of atoms is nearest to that wanted, of these the most compact."""
    most = max(1, round(1.5 * n_atoms / size))
    reach = range(1, max(2, round(2 * most ** (1 / 3)) + 1))
    return min(
        product(reach, reach, reach),
        key=lambda repeats: (abs(prod(repeats) * size - n_atoms), -min(heights * repeats), repeats),
    )
