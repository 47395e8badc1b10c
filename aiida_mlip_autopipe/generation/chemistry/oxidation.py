"""Formal charges: the oxidation states that balance a composition, and ionic radii."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from itertools import product
from math import ceil, floor

from ase import Atoms

from aiida_mlip_autopipe.generation.chemistry.balance import Amounts, balanced
from aiida_mlip_autopipe.generation.chemistry.states import has_no_ions, possible_states

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


@dataclass(frozen=True)
class Guess:
    """The oxidation states of a formula.

    Attributes
    ----------
    amounts
        Number of atoms of each element in each state, in any multiple of the formula. It is empty if there are no ions.
    alternatives
        Less common states that balance the formula too, the most common first.
    """

    amounts: Amounts
    alternatives: tuple[Amounts, ...] = ()

    @property
    def fractions(self) -> Amounts:
        """Fraction of the atoms of each element in each state."""
        return {s: {state: n / sum(parts.values()) for state, n in parts.items()} for s, parts in self.amounts.items()}

    @property
    def means(self) -> dict[str, float]:
        """The mean state of each element."""
        return {s: sum(q * n for q, n in parts.items()) / sum(parts.values()) for s, parts in self.amounts.items()}


def guess_states(counts: dict[str, int]) -> Guess | None:
    """Return the most common oxidation states that balance a formula, or None if no known states do.

    The whole formula is balanced at once, so the order of the elements does not matter. One element may have two
    states: Bi³⁺ and Bi⁵⁺ in BaBiO₃, N³⁻ and N⁵⁺ in NH₄NO₃. Metal-rich compounds such as Fe₃C and Ni₂P, and
    borides such as MgB₂, have no ions if nothing balances.

    Parameters
    ----------
    counts
        Number of atoms of each element in the reduced formula.
    """
    from pymatgen.core import Element

    if has_no_ions(counts):
        return Guess({})
    candidates = {symbol: possible_states(symbol, counts) for symbol in counts}
    found = balanced(counts, candidates, whole=False)
    if found:
        return Guess(found[0], tuple(found[1:]))
    others = {symbol for symbol in counts if not Element(symbol).is_metal}
    transition = any(Element(symbol).is_transition_metal for symbol in counts)
    metallic = {'B', 'C', 'Si', 'Ge'} | ({'N', 'P', 'As', 'Sb'} if transition else set())
    return Guess({}) if others <= metallic and len(others) < len(counts) else None


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
    if states and states.amounts:
        means = states.means
        atoms.set_initial_charges([means[symbol] for symbol in atoms.get_chemical_symbols()])


def describe_states(states: Mapping[str, Mapping[int, float]]) -> str:
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
