"""Ordered arrangements of two or three elements on a simple lattice."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import permutations

import numpy as np
from ase import Atoms

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.generation.crystals.lattices import Lattice, unit_cell

Rule = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Order:
    """An ordered arrangement.

    Attributes
    ----------
    lattice
        The lattice whose sites are ordered.
    repeats
        Size of the ordered cell, in conventional cells of the lattice.
    parts
        Number of atoms of each role in the formula.
    roles
        Function from the positions of the sites, in units of the conventional cell, to their roles.
    """

    lattice: Lattice
    repeats: tuple[int, int, int]
    parts: tuple[int, ...]
    roles: Rule


def _bcc_sublattices(sites: np.ndarray) -> np.ndarray:
    """Return the fcc sublattice (with twice the lattice constant) of each bcc site, as a number from 0 to 3."""
    centre = np.abs(sites[:, 0] - np.round(sites[:, 0])) > 0.25
    odd = np.round((sites - 0.5 * centre[:, None]).sum(axis=1)).astype(int) % 2
    return np.asarray(centre + 2 * odd)


def _d0_22(sites: np.ndarray) -> np.ndarray:
    corner = np.isclose(sites, [0, 0, 0]).all(axis=1)
    return np.asarray(corner | np.isclose(sites, [0.5, 0.5, 1]).all(axis=1), dtype=int)


def _d0_19(sites: np.ndarray) -> np.ndarray:
    corner = np.isclose(sites, [0, 0, 0]).all(axis=1)
    return np.asarray(corner | np.isclose(sites, [4 / 3, 2 / 3, 0.5]).all(axis=1), dtype=int)


# Strukturbericht designations and their prototypes. The roles are in the order of `parts`.
ORDERS: dict[str, Order] = {
    'L1_0': Order('fcc', (1, 1, 1), (1, 1), lambda s: np.round(2 * s[:, 2]).astype(int) % 2),  # CuAu
    'L1_1': Order('fcc', (2, 2, 2), (1, 1), lambda s: np.round(s.sum(axis=1)).astype(int) % 2),  # CuPt
    'L1_2': Order('fcc', (1, 1, 1), (3, 1), lambda s: np.isclose(s, 0).all(axis=1).astype(int)),  # Cu3Au
    'D0_22': Order('fcc', (1, 1, 2), (3, 1), _d0_22),  # Al3Ti
    'B2': Order('bcc', (1, 1, 1), (1, 1), lambda s: _bcc_sublattices(s) % 2),  # CsCl
    'B32': Order('bcc', (2, 2, 2), (1, 1), lambda s: _bcc_sublattices(s) // 2),  # NaTl
    'D0_3': Order('bcc', (2, 2, 2), (3, 1), lambda s: (_bcc_sublattices(s) == 0).astype(int)),  # BiF3, Fe3Al
    'L2_1': Order('bcc', (2, 2, 2), (2, 1, 1), lambda s: np.array([1, 0, 2, 0])[_bcc_sublattices(s)]),  # Cu2MnAl
    'D0_19': Order('hcp', (2, 2, 1), (3, 1), _d0_19),  # Ni3Sn
}


def ordered_cell(name: str, fractions: dict[str, float], a_A: float, c_over_a: float) -> Atoms:
    """Return the ordered cell. The fractions determine the role of each element.

    Raises
    ------
    AutopipeError
        If the composition does not match the arrangement.
    """
    order = ORDERS[name]
    cell = unit_cell(order.lattice, a_A, c_over_a).repeat(order.repeats)
    roles = order.roles(cell.get_scaled_positions() * order.repeats)
    symbols = assign_roles(name, fractions)
    cell.set_chemical_symbols([symbols[role] for role in roles])
    return cell


def assign_roles(name: str, fractions: dict[str, float]) -> tuple[str, ...]:
    """Return the element of each role of an ordered arrangement.

    Raises
    ------
    AutopipeError
        If the composition does not match the arrangement.
    """
    parts = ORDERS[name].parts
    required = [part / sum(parts) for part in parts]
    for symbols in permutations(fractions):
        if len(symbols) == len(parts) and np.allclose([fractions[symbol] for symbol in symbols], required, atol=5e-3):
            return symbols
    requested = ' '.join(f'{symbol} {fraction:.4g}' for symbol, fraction in fractions.items())
    raise AutopipeError(
        Code.COMPOSITION_IMPOSSIBLE, f'{name} needs {len(parts)} elements with fractions {required}, not {requested}'
    )
