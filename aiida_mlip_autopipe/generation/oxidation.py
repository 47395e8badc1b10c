"""Formal charges: which oxidation states balance a composition, and how large ions are."""

from __future__ import annotations

import warnings
from functools import cache
from itertools import pairwise, product

from ase import Atoms

# Atoms of an element by its oxidation state: {'Fe': {2: 1, 3: 2}, 'O': {-2: 4}}.
States = dict[str, dict[int, int]]
ROMAN = ('I', 'II', 'III', 'IV', 'V', 'VI', 'VII', 'VIII', 'IX', 'X', 'XI', 'XII')


def total_charge(states: States) -> int:
    """Return the sum of the formal charges."""
    return sum(state * count for element in states.values() for state, count in element.items())


def known_states(symbol: str, sign: int, *, common: bool) -> tuple[int, ...]:
    """Return the oxidation states of one sign that an element is known in (pymatgen), the common ones first."""
    from pymatgen.core import Element

    element = Element(symbol)
    frequent = [int(state) for state in element.common_oxidation_states if state * sign > 0]
    others = [int(state) for state in element.oxidation_states if state * sign > 0 and int(state) not in frequent]
    return tuple(frequent) if common and frequent else tuple(frequent + sorted(others, key=abs, reverse=True))


def balance(counts: dict[str, int], candidates: dict[str, tuple[int, ...]]) -> States | None:
    """Return oxidation states that sum to zero, or None.

    First one state an element, in the order of the candidates; then mixed valence: one element in two neighbouring
    states, as Fe in Fe₃O₄.
    """
    symbols = list(counts)
    choices = sorted(product(*(range(len(candidates[symbol])) for symbol in symbols)), key=lambda c: (sum(c), c))
    for choice in choices:
        states = {s: {candidates[s][i]: counts[s]} for s, i in zip(symbols, choice, strict=True)}
        if total_charge(states) == 0:
            return states
    for choice in choices:
        single = {s: {candidates[s][i]: counts[s]} for s, i in zip(symbols, choice, strict=True)}
        for mixed in symbols:
            ordered = sorted(candidates[mixed])
            rest = total_charge({s: states for s, states in single.items() if s != mixed})
            for low, high in pairwise(ordered):
                n_high, remainder = divmod(-rest - low * counts[mixed], high - low)
                if remainder == 0 and 0 < n_high < counts[mixed]:
                    return {**single, mixed: {low: counts[mixed] - n_high, high: n_high}}
    return None


def nearest_states(counts: dict[str, int], candidates: dict[str, tuple[int, ...]]) -> States:
    """Return one state an element such that the total charge is as near to zero as it can be."""
    symbols = list(counts)
    options = [
        {s: {state: counts[s]} for s, state in zip(symbols, states, strict=True)}
        for states in product(*(candidates[s] for s in symbols))
    ]
    return min(options, key=lambda states: abs(total_charge(states)))


def guess_charges(atoms: Atoms) -> None:
    """Set formal charges, as initial charges, where a structure has none and its composition tells them.

    pymatgen's guess from the statistics of known compounds; a structure of metals, or of one element, has none.
    """
    from pymatgen.core import Composition, Element

    symbols = set(atoms.get_chemical_symbols())
    if atoms.has('initial_charges') or len(symbols) < 2 or all(Element(symbol).is_metal for symbol in symbols):
        return
    guesses = Composition(atoms.get_chemical_formula()).oxi_state_guesses(max_sites=-1)
    if guesses:
        atoms.set_initial_charges([guesses[0][symbol] for symbol in atoms.get_chemical_symbols()])


def describe_states(states: States) -> str:
    """Return oxidation states as text, as ``Fe2+ Fe3+ O2-``."""
    return ' '.join(
        f'{symbol}{abs(state)}{"+" if state > 0 else "-"}' for symbol, by_state in states.items() for state in by_state
    )


@cache
def ionic_radius(symbol: str, state: int, coordination: int) -> float | None:
    """Return the radius of an ion in Å for the nearest tabulated coordination, high spin where spins differ.

    From R. D. Shannon, Acta Cryst. A 32, 751 (1976), in pymatgen; None for an ion that is not there.
    """
    from pymatgen.core import Species

    species = Species(symbol, state)
    for number in sorted(range(1, 13), key=lambda n: (abs(n - coordination), n)):
        for spin in ('', 'High Spin', 'Low Spin'):
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter('ignore')  # of a spin that is not the one asked for, which is meant
                    return float(species.get_shannon_radius(ROMAN[number - 1], spin=spin, radius_type='ionic'))
            except KeyError:
                continue
    return None
