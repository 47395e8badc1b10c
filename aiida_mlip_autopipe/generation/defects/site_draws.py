"""Random sites for point defects, and the sites at given positions."""

from __future__ import annotations

import numpy as np
from ase import Atoms
from ase.geometry import get_distances

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError, PhysicsViolationError
from aiida_mlip_autopipe.generation.defects.distinct_sites import NEIGHBOUR_FACTOR
from aiida_mlip_autopipe.generation.defects.interstitials import find_interstitial_sites

MAX_SHIFT = 0.1  # Å; maximum distance between a site and its atom
MIN_DISTANCE_A = 0.5  # an interstitial site that is closer to an atom is occupied


def n_sites(amount: float, available: int) -> int:
    """Return the number of sites for a number or a fraction. A fraction gives at least one site."""
    return int(amount) if amount >= 1 else max(1, round(amount * available))


def draw_sites(atoms: Atoms, free: np.ndarray, symbol: str, amount: float, rng: np.random.Generator) -> np.ndarray:
    """Return random free sites of an element."""
    sites = np.flatnonzero((atoms.symbols == symbol) & free)
    number = n_sites(amount, len(sites))
    if number > len(sites):
        formula = atoms.get_chemical_formula()
        raise AutopipeError(
            Code.TOO_MANY_DEFECTS,
            f'{formula} has too few free {symbol} atoms for the defects (present: {len(sites)}, needed: {number})',
        )
    return np.sort(rng.choice(sites, number, replace=False))


def atoms_at(atoms: Atoms, positions: np.ndarray) -> np.ndarray:
    """Return the indices of the atoms at positions that were found before repetition."""
    distances = get_distances(positions, atoms.positions, cell=atoms.cell, pbc=atoms.pbc)[1]
    found = distances.argmin(axis=1)
    if distances.min(axis=1).max() > MAX_SHIFT or len(set(found)) < len(positions):
        raise AutopipeError(
            Code.CELL_TOO_SMALL,
            f'the defect does not fit into {atoms.get_chemical_formula()}: it overlaps its periodic images; '
            'use a larger supercell',
        )
    return np.asarray(found)


def draw_pairs(atoms: Atoms, free: np.ndarray, pair: str, amount: float, rng: np.random.Generator) -> list[int]:
    """Return the atoms of random pairs of neighbours, one pair after the other."""
    first, second = pair.split('-')
    chosen: list[int] = []
    for _ in range(n_sites(amount, int(np.sum(atoms.symbols == first)))):
        ones = np.flatnonzero((atoms.symbols == first) & free)
        others = np.flatnonzero((atoms.symbols == second) & free)
        if not len(ones) or not len(others) or (first == second and len(ones) < 2):
            raise AutopipeError(
                Code.TOO_MANY_DEFECTS, f'{atoms.get_chemical_formula()} has no free {pair} pair left for a divacancy'
            )
        one = int(rng.choice(ones))
        others = others[others != one]
        distances = atoms.get_distances(one, others, mic=True)
        near = others[distances <= NEIGHBOUR_FACTOR * distances.min()]
        other = int(rng.choice(near))
        free[[one, other]] = False
        chosen += [one, other]
    return chosen


def draw_interstitial_sites(
    atoms: Atoms, number: int, rng: np.random.Generator, present: Atoms | None = None
) -> np.ndarray:
    """Return random interstitial sites (k, 3) in Å, without those that atoms of the structure `present` occupy."""
    sites = find_interstitial_sites(atoms)
    if present is not None:
        distances = get_distances(sites, present.positions, cell=atoms.cell, pbc=atoms.pbc)[1].min(axis=1)
        sites = sites[distances > MIN_DISTANCE_A]
    if number > len(sites):
        formula = atoms.get_chemical_formula()
        raise PhysicsViolationError(
            'interstitial', (), float(number), float(len(sites)),
            f'{formula} has too few interstitial sites (present: {len(sites)}, needed: {number})',
        )  # fmt: skip
    return np.asarray(sites[rng.choice(len(sites), number, replace=False)])


def swap_sites(
    atoms: Atoms, free: np.ndarray, pair: str, amount: float, rng: np.random.Generator, chosen_sites: np.ndarray | None
) -> int:
    """Exchange the atoms of specified or random pairs of sites, with charges, moments and tags; return how many."""
    first, second = pair.split('-')
    one = draw_sites(atoms, free, first, amount, rng) if chosen_sites is None else chosen_sites[:1]
    other = draw_sites(atoms, free, second, len(one), rng) if chosen_sites is None else chosen_sites[1:]
    for name in ('numbers', 'initial_charges', 'initial_magmoms', 'tags'):
        if atoms.has(name):
            values = atoms.arrays[name]
            values[one], values[other] = values[other].copy(), values[one].copy()
    free[one] = free[other] = False
    return len(one)
