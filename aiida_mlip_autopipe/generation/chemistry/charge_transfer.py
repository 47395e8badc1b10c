"""Ions that take up a charge by changing their oxidation state, such as Ce4+, which becomes Ce3+ near an O vacancy."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
from ase import Atoms

from aiida_mlip_autopipe.generation.chemistry.states import possible_states

# States with a higher penalty, such as Zr3+, are only used if the user names the element. Ti3+ has 1.3.
MAX_PENALTY = 1.4
TOLERANCE = 1e-6


@dataclass(frozen=True)
class Transfer:
    """Ions of an element that take up a charge.

    Attributes
    ----------
    symbol
        The element.
    changes
        The old and the new charge of each ion, by the index of the atom.
    cost
        How unusual the new states are, compared with the old ones.
    """

    symbol: str
    changes: dict[int, tuple[float, float]]
    cost: float

    def counts(self) -> dict[tuple[str, str], int]:
        """Return the number of ions by their old and new names, such as ``('Ce4+', 'Ce3+')``."""
        return Counter((name_ion(self.symbol, old), name_ion(self.symbol, new)) for old, new in self.changes.values())


def name_ion(symbol: str, charge: float) -> str:
    """Return an ion as text, such as ``Ce3+``."""
    return f'{symbol}{abs(round(charge, 2)):g}{"-" if charge < 0 else "+"}'


def find_transfer(
    atoms: Atoms, charge: float, allowed: np.ndarray, points: np.ndarray, symbol: str | None = None
) -> Transfer | None:
    """Return the ions that take up a charge, or None if no element can.

    The ions with the highest states are reduced, or those with the lowest states are oxidised, starting with the ones
    nearest to the defects. Each goes to its next known state. The element is the metal whose new states are the most
    common.

    Parameters
    ----------
    atoms
        The structure, with formal charges.
    charge
        The charge to take up, in e. It is not zero.
    allowed
        Which atoms may change their charge, shape (n,).
    points
        Positions of the defects, shape (k, 3), in Å.
    symbol
        The element, if the user names it. It may then be a non-metal or have rare states.
    """
    from ase.geometry import get_distances
    from pymatgen.core import Element

    # Without a point, only the host is charged, and all its ions are equally near.
    distances = get_distances(points, atoms.positions, cell=atoms.cell, pbc=atoms.pbc)[1].min(axis=0, initial=np.inf)
    symbols = [symbol] if symbol else [s for s in sorted(set(atoms.get_chemical_symbols())) if Element(s).is_metal]
    found = [_transfer(atoms, charge, allowed, np.round(distances, 6), s, symbol is not None) for s in symbols]
    return min((one for one in found if one), key=lambda one: round(one.cost, 6), default=None)


def _transfer(
    atoms: Atoms, charge: float, allowed: np.ndarray, distances: np.ndarray, symbol: str, any_state: bool
) -> Transfer | None:
    direction = -1 if charge > 0 else 1
    charges = atoms.get_initial_charges()
    known = possible_states(symbol, set(atoms.get_chemical_symbols()))
    sites = np.flatnonzero((atoms.symbols == symbol) & allowed)
    order = np.lexsort((distances[sites], direction * np.round(charges[sites], 6)))
    left, cost = abs(charge), 0.0
    changes: dict[int, tuple[float, float]] = {}
    for site in sites[order].tolist():
        old = float(charges[site])
        beyond = [state for state in known if state * old > 0 and direction * (state - old) > TOLERANCE]
        new = min(beyond, key=lambda state: abs(state - old), default=old)
        step = abs(new - old)
        if not beyond or step > left + TOLERANCE or (known[int(new)] > MAX_PENALTY and not any_state):
            continue
        changes[site] = (old, float(new))
        cost += known[int(new)] - known.get(round(old), 0.0)
        left -= step
        if left < TOLERANCE:
            return Transfer(symbol, changes, cost)
    return None
