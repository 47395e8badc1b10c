"""Sizes of supercells for random arrangements."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import chain, product
from math import prod

import numpy as np
from ase import Atoms

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError, PhysicsViolationError
from aiida_mlip_autopipe.core.wording import counted
from aiida_mlip_autopipe.generation.base import Requirements
from aiida_mlip_autopipe.generation.chemistry.elements import nearest_counts
from aiida_mlip_autopipe.generation.limits import check_size
from aiida_mlip_autopipe.generation.report import add_note
from aiida_mlip_autopipe.structures.cells import perpendicular_widths, repeats_for_width

Repeats = tuple[int, int, int]

REPORTED_DEVIATION = 0.005  # a larger deviation of a fraction from the requested one is reported


def choose_repeats(
    cell: Atoms,
    fractions: dict[str, float],
    requirements: Requirements,
    *,
    n_atoms: int | None = None,
    tolerance: float,
    sites_per_cell: int | None = None,
    suits: Callable[[int], bool] = lambda n_cells: True,
    axes: tuple[bool, bool, bool] = (True, True, True),
) -> Repeats:
    """Return the number of repeats of a unit cell along each vector for a composition.

    With `n_atoms`, this is the most compact cell of the nearest size. Otherwise it is the smallest cell that is wide
    enough and in which the composition is possible within the tolerance.

    Parameters
    ----------
    cell
        The unit cell.
    fractions
        Composition of the sites that several elements share.
    requirements
        Minimum perpendicular width and maximum number of atoms.
    n_atoms
        Approximate number of atoms.
    tolerance
        Maximum deviation of a fraction in the cell.
    sites_per_cell
        Number of sites in the unit cell that the elements share; by default all.
    suits
        Returns whether a number of unit cells is suitable; if none is, the smallest cell with the composition is
        returned.
    axes
        Which vectors may be repeated.

    Raises
    ------
    AutopipeError
        If the composition is not possible in any cell up to ``max_atoms``. The message contains the nearest one.
    PhysicsViolationError
        If no cell up to ``max_atoms`` is wide enough.
    """
    sites = len(cell) if sites_per_cell is None else sites_per_cell
    widths = perpendicular_widths(cell)
    if n_atoms is not None:
        check_size(n_atoms, 'n_atoms')
        repeats = _nearest_size(len(cell), widths, n_atoms, axes)
        check_composition(fractions, prod(repeats) * sites, tolerance)
        return repeats
    free = np.array(axes)
    first, second, third = np.where(free, repeats_for_width(cell, requirements.min_width_A), 1).tolist()
    smallest = first, second, third
    n_smallest = prod(smallest) * len(cell)
    if n_smallest > requirements.max_atoms:
        raise PhysicsViolationError(
            'max_atoms', (), n_smallest, requirements.max_atoms,
            f'a cell with a perpendicular width of {requirements.min_width_A:.2f} Å has {n_smallest} atoms; '
            f'validation.max_atoms allows {requirements.max_atoms}',
        )  # fmt: skip
    max_cells = requirements.max_atoms // len(cell)
    longest = min(max_cells, 3 * max(*smallest, round(max_cells ** (1 / sum(axes)))))
    counts = [range(n, longest + 1) if is_free else range(1, 2) for n, is_free in zip(smallest, axes, strict=True)]
    larger = [(i, j, k) for i, j, k in product(*counts) if i * j * k <= max_cells]
    larger.sort(key=lambda repeats: (prod(repeats), -round(min((widths * repeats)[free]), 6), repeats))
    able = (repeats for repeats in larger if deviation(fractions, prod(repeats) * sites) <= tolerance)
    smallest_able = next(able, None)
    if smallest_able:
        return next((found for found in chain([smallest_able], able) if suits(prod(found))), smallest_able)
    best = min(larger, key=lambda repeats: (deviation(fractions, prod(repeats) * sites), -prod(repeats)))
    nearest = describe_composition(nearest_possible(fractions, prod(best) * sites))
    raise AutopipeError(
        Code.COMPOSITION_IMPOSSIBLE,
        f'no cell of up to {counted(requirements.max_atoms, "atom")} can have the composition '
        f'{describe_composition(fractions)} within {tolerance:g}; '
        f'the nearest is {nearest} in {counted(prod(best) * len(cell), "atom")}',
    )


def given_repeats(n_atoms: float, supercell: Repeats | None) -> Repeats | None:
    """Return the requested supercell unchanged; None if none is requested.

    Raises
    ------
    AutopipeError
        If the supercell of a cell with ``n_atoms`` atoms has too many atoms.
    """
    if supercell is not None:
        check_size(n_atoms * prod(supercell), f'supercell {list(supercell)}')
    return supercell


def check_composition(fractions: dict[str, float], n_sites: int, tolerance: float) -> None:
    """Refuse the given number of sites if the composition is not possible on it within the tolerance."""
    found = deviation(fractions, n_sites)
    if found > tolerance:
        raise AutopipeError(
            Code.COMPOSITION_IMPOSSIBLE,
            f'{counted(n_sites, "site")} cannot have the composition {describe_composition(fractions)} within '
            f'{tolerance:g}; '
            f'the nearest is {describe_composition(nearest_possible(fractions, n_sites))}; use a larger cell',
        )
    if found > REPORTED_DEVIATION:
        realised = describe_composition(rounded_composition(fractions, n_sites))
        add_note(f'{n_sites} sites have the composition {realised} instead of {describe_composition(fractions)}')


def rounded_composition(fractions: dict[str, float], n_sites: int) -> dict[str, float]:
    """Return the composition with the nearest integer counts on the given number of sites."""
    return {symbol: count / n_sites for symbol, count in nearest_counts(fractions, n_sites).items()}


def nearest_possible(fractions: dict[str, float], n_sites: int) -> dict[str, float]:
    """Return the nearest composition on the given number of sites. With enough sites, every element gets one."""
    counts = nearest_counts(fractions, n_sites)
    if n_sites >= len(counts):
        for symbol in [symbol for symbol, count in counts.items() if not count]:
            counts[max(counts, key=lambda other: counts[other])] -= 1
            counts[symbol] = 1
    return {symbol: count / n_sites for symbol, count in counts.items()}


def deviation(fractions: dict[str, float], n_sites: int) -> float:
    """Return the largest deviation of a fraction on the given number of sites; infinity if an element gets no site."""
    found = rounded_composition(fractions, n_sites)
    if not all(found.values()):
        return float('inf')
    return max(abs(found[symbol] - fraction) for symbol, fraction in fractions.items())


def describe_composition(fractions: dict[str, float]) -> str:
    """Return a composition as text."""
    return ' '.join(f'{symbol} {fraction:.4g}' for symbol, fraction in fractions.items())


def draw_occupants(
    roles: np.ndarray, occupation: Mapping[str, dict[str, float]], tolerance: float, rng: np.random.Generator
) -> np.ndarray:
    """Return the occupant of each site, such as an element, arranged at random on the sites of each role, shape (n,).

    Parameters
    ----------
    roles
        Role of each site, shape (n,).
    occupation
        Fraction of each occupant by role.
    tolerance
        Maximum deviation of a fraction.
    rng
        Source of all random numbers.

    Raises
    ------
    AutopipeError
        If the sites of a role cannot have its fractions within the tolerance.
    """
    names = np.empty(len(roles), dtype='<U2')
    for role, fractions in occupation.items():
        sites = np.flatnonzero(roles == role)
        if not len(sites):
            continue
        check_composition(fractions, len(sites), tolerance)
        counts = nearest_counts(fractions, len(sites))
        names[sites] = rng.permutation(np.repeat(list(counts), list(counts.values())))
    return names


def _nearest_size(size: int, widths: np.ndarray, n_atoms: int, axes: tuple[bool, bool, bool]) -> Repeats:
    """Return the repeats with the number of atoms nearest to `n_atoms`; if sizes are equal, the most compact cell."""
    max_cells = max(1, round(1.5 * n_atoms / size))
    longest = max(1, round(2 * max_cells ** (1 / sum(axes))))
    counts = [range(1, longest + 1) if is_free else range(1, 2) for is_free in axes]
    free = np.array(axes)
    return min(
        ((i, j, k) for i, j, k in product(*counts)),
        key=lambda repeats: (abs(prod(repeats) * size - n_atoms), -round(min((widths * repeats)[free]), 6), repeats),
    )
