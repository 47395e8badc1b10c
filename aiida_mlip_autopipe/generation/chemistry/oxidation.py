"""Formal charges: the oxidation states that balance a composition, and ionic radii."""

from __future__ import annotations

import warnings
from collections.abc import Collection
from functools import cache
from itertools import pairwise, product
from math import ceil, floor

from ase import Atoms

# Number of atoms of each element by oxidation state: {'Fe': {2: 1, 3: 2}, 'O': {-2: 4}}.
States = dict[str, dict[int, int]]
ROMAN = ('I', 'II', 'III', 'IV', 'V', 'VI', 'VII', 'VIII', 'IX', 'X', 'XI', 'XII')


def total_charge(states: States) -> int:
    """Return the sum of the formal charges."""
    return sum(state * count for element in states.values() for state, count in element.items())


def known_states(symbol: str, sign: int, *, common: bool) -> tuple[int, ...]:
    """Return the known oxidation states of an element with one sign (from pymatgen), common ones first."""
    from pymatgen.core import Element

    element = Element(symbol)
    frequent = [int(state) for state in element.common_oxidation_states if state * sign > 0]
    others = [int(state) for state in element.oxidation_states if state * sign > 0 and int(state) not in frequent]
    return tuple(frequent) if common and frequent else tuple(frequent + sorted(others, key=abs, reverse=True))


def balance(counts: dict[str, int], candidates: dict[str, tuple[int, ...]]) -> States | None:
    """Return oxidation states with total charge zero, or None.

    One state for each element is tried first, in the order of the candidates. Then mixed valence is tried: one element
    in two consecutive candidate states, such as Fe in Fe₃O₄.
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
    """Return one state for each element, such that the total charge is as close to zero as possible."""
    symbols = list(counts)
    options = [
        {s: {state: counts[s]} for s, state in zip(symbols, states, strict=True)}
        for states in product(*(candidates[s] for s in symbols))
    ]
    return min(options, key=lambda states: abs(total_charge(states)))


def states_around(symbol: str, mean: float) -> tuple[int, int]:
    """Return the closest known oxidation states of an element below and above a mean state.

    They have the sign of the mean, and are equal if the mean is a known state. If none is known on one side, as for
    the -1/2 of oxygen in a superoxide, the integers around the mean are returned.
    """
    if mean == 0:
        return 0, 0
    known = known_states(symbol, 1 if mean > 0 else -1, common=False)
    below = [state for state in known if state <= mean + 1e-6]
    above = [state for state in known if state >= mean - 1e-6]
    if below and above:
        return max(below), min(above)
    return floor(mean + 1e-6), ceil(mean - 1e-6)


def has_no_ions(symbols: Collection[str]) -> bool:
    """Return whether there is only one element or only metals, for which oxidation states are not defined."""
    from pymatgen.core import Element

    return len(symbols) == 1 or all(Element(symbol).is_metal for symbol in symbols)


def guess_states(counts: dict[str, int]) -> dict[str, float] | None:
    """Return the mean oxidation state of each element in a formula, or None if no known states balance the formula.

    The guess is pymatgen's, ranked by the frequency of the states in known compounds. If none of these balances it, all
    known states are tried, such as Cl⁷⁺ in NaClO₄. A mean that is not an integer represents mixed valence, even if the
    reduced formula contains a single atom of the element, such as Bi in BaBiO₃. The most electronegative element is the
    anion, and guesses with a single state of the anion have priority: Fe²⁺ S⁻ in FeS₂, not Fe³⁺.

    Parameters
    ----------
    counts
        Number of atoms of each element in the reduced formula.
    """
    from pymatgen.core import Composition, Element

    anion = max(counts, key=lambda symbol: _electronegativity(symbol))
    negative = tuple(state for state in Element(anion).oxidation_states if state < 0)
    for every_state in (False, True):
        limits = {anion: negative} if every_state and negative else None
        for multiple in (1, 2):
            formula = Composition({symbol: multiple * count for symbol, count in counts.items()})
            guesses = [
                {str(symbol): float(state) for symbol, state in guess.items()}
                for guess in formula.oxi_state_guesses(oxi_states_override=limits, all_oxi_states=every_state)
                if guess[anion] < 0 and all(guess.values())
            ]
            integer = [guess for guess in guesses if guess[anion].is_integer()]
            if guesses:
                return (integer or guesses)[0]
    return None


def _electronegativity(symbol: str) -> float:
    """Return the Pauling electronegativity, or 0 if there is none, as for the light noble gases."""
    from pymatgen.core import Element

    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # for elements without a value
        value = float(Element(symbol).X)
    return value if value == value else 0.0


def guess_charges(atoms: Atoms) -> None:
    """Set formal charges as initial charges if the structure has none and its composition determines them.

    Structures of metals or of a single element get none.
    """
    from pymatgen.core import Composition

    symbols = set(atoms.get_chemical_symbols())
    if atoms.has('initial_charges') or has_no_ions(symbols):
        return
    reduced = Composition(atoms.get_chemical_formula()).reduced_composition.get_el_amt_dict()
    states = guess_states({symbol: int(count) for symbol, count in reduced.items()})
    if states:
        atoms.set_initial_charges([states[symbol] for symbol in atoms.get_chemical_symbols()])


def describe_states(states: States) -> str:
    """Return oxidation states as text, such as ``Fe2+ Fe3+ O2-``."""
    return ' '.join(
        f'{symbol}{abs(state)}{"+" if state > 0 else "-"}' for symbol, by_state in states.items() for state in by_state
    )


@cache
def ionic_radius(symbol: str, state: int, coordination: int) -> float | None:
    """Return the radius of an ion in Å, for the nearest tabulated coordination and for high spin if the spin matters.

    The values are from R. D. Shannon, Acta Cryst. A 32, 751 (1976), in pymatgen. Return None for an unlisted ion.
    """
    from pymatgen.core import Species

    species = Species(symbol, state)
    for number in sorted(range(1, 13), key=lambda n: (abs(n - coordination), n)):
        for spin in ('', 'High Spin', 'Low Spin'):
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter('ignore')  # pymatgen warns that the spin differs from the requested one
                    return float(species.get_shannon_radius(ROMAN[number - 1], spin=spin, radius_type='ionic'))
            except KeyError:
                continue
    return None
