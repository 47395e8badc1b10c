"""Atoms that a defect adds to a structure, with their formal charges."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from ase import Atoms

from aiida_mlip_autopipe.generation.chemistry.oxidation import known_states


@dataclass(frozen=True)
class AddedIons:
    """The rules for the formal charges of added atoms. If a structure has no formal charges, the added atoms get none.

    Attributes
    ----------
    oxidation_states
        Oxidation states from the user, by element.
    """

    oxidation_states: Mapping[str, int]

    def replace(self, atoms: Atoms, sites: np.ndarray, symbol: str) -> None:
        """Put an element on sites. If formal charges are known, also set the charge of the element."""
        charges = atoms.get_initial_charges()
        if charges.any():
            present = charge_of_elements(atoms)
            for site in sites:
                charges[site] = self.state_on_site(symbol, charges[site], present)
            atoms.set_initial_charges(charges)
        atoms.symbols[sites] = symbol

    def insert(self, atoms: Atoms, symbols: list[str], positions: np.ndarray, present: Mapping[str, float]) -> None:
        """Add atoms at positions (n, 3) in Å. The charges of the elements are unknown if `present` is empty."""
        added = Atoms(symbols, positions=positions)
        if present:
            added.set_initial_charges([self.state(symbol, 1, present.get(symbol, 0.0)) for symbol in symbols])
        atoms += added

    def state_on_site(self, symbol: str, old: float, present: Mapping[str, float]) -> float:
        """Return the charge of an element that replaces an ion: that of its other ions if it has the same sign."""
        sign = -1 if old < 0 else 1
        charge = present.get(symbol, 0.0)
        return self.state(symbol, sign, charge if charge * sign > 0 else 0.0)

    def state(self, symbol: str, sign: int, present: float) -> float:
        """Return the charge of an added atom: from the settings, from atoms of its element, or a common state."""
        if symbol in self.oxidation_states or present:
            return self.oxidation_states.get(symbol, present)
        states = known_states(symbol, sign, common=True) or known_states(symbol, -sign, common=True)
        return states[0] if states else 0


def charge_of_elements(atoms: Atoms) -> dict[str, float]:
    """Return the most frequent formal charge of each element, or an empty dict if charges are unknown."""
    charges = atoms.get_initial_charges()
    if not charges.any():
        return {}
    found = {}
    for symbol in sorted(set(atoms.get_chemical_symbols())):
        values, counts = np.unique(charges[atoms.symbols == symbol], return_counts=True)
        found[symbol] = float(values[counts.argmax()])
    return found
