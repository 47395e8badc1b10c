"""Elements that may be magnetic, and initial magnetic moments for them."""

from __future__ import annotations

from collections.abc import Iterable

from ase import Atoms
from ase.data import atomic_numbers, ground_state_magnetic_moments

TRANSITION_METALS = ('Cr', 'Mn', 'Fe', 'Co', 'Ni')
LANTHANIDES = ('Ce', 'Pr', 'Nd', 'Pm', 'Sm', 'Eu', 'Gd', 'Tb', 'Dy', 'Ho', 'Er', 'Tm', 'Yb')
ACTINIDES = ('U', 'Np', 'Pu', 'Am', 'Cm')
MAGNETIC = frozenset({*TRANSITION_METALS, *LANTHANIDES, *ACTINIDES})
"""Elements whose solids or common compounds are magnetic: the 3d metals with magnetic order, the lanthanides and the
actinides with open f shells. The user decides for others, such as vanadium or oxygen."""


def magnetic_elements(structures: Iterable[Atoms]) -> list[str]:
    """Return the symbols of the elements in structures that may be magnetic, sorted."""
    return sorted(MAGNETIC & set().union(*(atoms.symbols for atoms in structures)))


def high_spin_moments(symbols: Iterable[str]) -> dict[str, float]:
    """Return initial magnetic moments in μB by element: those of the free atoms, which lead to a high-spin state.

    Starting above the moment of the solid is safer than below it: an SCF cycle loses a moment more easily than it
    finds one.
    """
    return {symbol: float(ground_state_magnetic_moments[atomic_numbers[symbol]]) for symbol in symbols}
