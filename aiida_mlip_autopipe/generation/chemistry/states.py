"""What is known about the oxidation states of the elements: how common each state is, and which elements are anions.

The states and their order are those of N. N. Greenwood and A. Earnshaw, Chemistry of the Elements (1997). The numbers
only rank them. Pymatgen's frequencies of states in known compounds cannot distinguish Co²⁺ Mn³⁺ from Co³⁺ Mn²⁺ in a
compound of both, and take minutes for a formula of five elements.
"""

from __future__ import annotations

from collections.abc import Collection

# States up to this penalty are common; they are tried before vacancies.
COMMON = 1.0
# From the most to the least electronegative by Allen's scale (J. Am. Chem. Soc. 111, 9003 (1989)). Se and I precede C,
# and C, Te, P and As precede H, as in the sequence of the elements in IUPAC's Red Book (2005) for their compounds.
ANIONS = ('F', 'O', 'N', 'Cl', 'Br', 'S', 'Se', 'I', 'C', 'Te', 'P', 'As', 'H', 'B', 'Sb', 'Ge', 'Si')
# Elements that may have positive and negative states in one compound, such as N in NH₄NO₃ and S in Na₂S₂O₃.
BOTH_SIGNS = ('H', 'N', 'S')
# Molecular anions with a fractional mean state: superoxide, azide and triiodide, by the fraction of neutral atoms.
NEUTRAL_FRACTION = {'O': 1 / 2, 'N': 2 / 3, 'I': 2 / 3}
# Anions that do not oxidise metals to their highest states.
SOFT = frozenset({'S', 'Se', 'Te', 'I', 'P', 'As', 'Sb'})
SOFT_PENALTY = {('Cu', 2): 1.0, ('Mn', 4): 2.0, ('Fe', 3): 0.2, ('Co', 4): 2.0, ('Ni', 4): 2.0, ('Fe', 4): 2.0}

# The penalty of each state of an element: 0 for the most common one, above COMMON for a rare one.
_PENALTIES = """
H 1:0 -1:.3 | B 3:0 2:2 | C -4:0 4:0 2:1 3:1 -1:1.2 -2:3 -3:3 | N -3:0 5:.2 3:.5 4:1.2 1:1.5 2:1.5 -1:2 -2:2
O -2:0 -1:.8 2:1 | F -1:0 | Si 4:0 -4:0 2:2 -1:1 -2:1 | P 5:0 -3:0 3:.6 4:1 -1:1.2 -2:1.2
S -2:0 6:.2 4:.4 -1:.5 2:1.5 5:1.5 1:2 3:2 | Cl -1:0 7:.3 5:.3 1:.6 3:1 4:2 | Br -1:0 5:.3 7:.6 1:.6 3:1
I -1:0 5:.2 7:.4 1:1 3:1 | Se -2:0 4:.2 6:.4 -1:.5 | Te -2:0 4:.1 6:.2 -1:.6 | As -3:0 5:.1 3:.1 -2:.6 -1:.7
Sb -3:0 3:0 5:.2 -2:.7 -1:.6 | Ge 4:0 -4:.3 2:.6 | Bi 3:0 5:.8
Ga 3:0 2:1.5 1:1.5 | In 3:0 1:.8 2:1.5 | Tl 1:0 3:.4 | Sn 4:0 2:.4 | Pb 2:0 4:.6
Ti 4:0 3:1.3 2:2 | Zr 4:0 3:2 2:2 | Hf 4:0 3:2 2:2 | V 5:0 4:.2 3:.3 2:1.2 | Nb 5:0 4:1 3:1.8 2:2.5
Ta 5:0 4:1.3 3:2 | Cr 3:0 6:.4 4:.9 2:1 5:1.5 | Mo 6:0 4:.3 5:.5 3:1 2:1.5 | W 6:0 5:.4 4:.6 3:1.8 2:2
Mn 4:.1 2:.2 3:.2 7:.5 6:1.2 5:1.2 | Re 7:.2 4:.2 6:.3 5:.8 3:1 | Tc 4:0 7:.2 6:1 5:1
Fe 3:0 2:.2 4:1.3 6:1.5 5:2 | Co 2:0 3:.3 4:1.3 | Ni 2:0 3:.7 4:1.3 | Cu 2:0 1:.15 3:1.2
Ru 4:0 3:.3 5:.7 6:1 8:1 2:1 | Rh 3:0 4:.9 | Pd 2:0 4:.5 | Os 4:.2 6:.5 8:.5 5:.8 7:1 3:1 2:1
Ir 4:0 3:.3 5:.4 6:1 | Pt 4:0 2:.2 | Ag 1:0 2:1.2 3:1.5 | Au 1:.1 3:.1 | Zn 2:0 | Cd 2:0 | Hg 2:0 1:.6
Ce 4:0 3:.1 | Pr 3:0 4:.8 | Tb 3:0 4:.9 | Sm 3:0 2:1.3 | Eu 3:0 2:.3 | Yb 3:0 2:1 | Tm 3:0 2:1.5
Sc 3:0 | Y 3:0 | La 3:0 | Gd 3:0 | U 6:0 4:.1 5:.7 3:1
"""


def _read(text: str) -> dict[str, dict[int, float]]:
    table: dict[str, dict[int, float]] = {}
    for entry in text.replace('\n', '|').split('|'):
        symbol, *states = entry.split() or ['']
        table[symbol] = {int(state): float(penalty) for state, penalty in (item.split(':') for item in states)}
    return table


PENALTIES = _read(_PENALTIES)


def penalties(symbol: str) -> dict[int, float]:
    """Return the penalty of each known state of an element; pymatgen has the states of the others."""
    from pymatgen.core import Element

    if symbol in PENALTIES:
        return PENALTIES[symbol]
    element = Element(symbol)
    common = {int(state) for state in element.common_oxidation_states}
    known = {int(state) for state in element.oxidation_states} | common
    return {state: 0.0 if state in common else 2.0 for state in sorted(known) if state}


def possible_states(symbol: str, partners: Collection[str]) -> dict[int, float]:
    """Return the penalty of each state that an element may have in a compound with its partners.

    An element is positive next to a more electronegative one, and negative next to a less electronegative one.
    """
    rank = _rank(symbol)
    others = [_rank(partner) for partner in partners if partner != symbol]
    soft = set(partners) & SOFT and not set(partners) & {'O', 'F'}
    return {
        state: penalty + (SOFT_PENALTY.get((symbol, state), 0.0) if soft else 0.0)
        for state, penalty in penalties(symbol).items()
        if (min(others) < rank if state > 0 else rank < max(others))
    }


def _rank(symbol: str) -> int:
    return ANIONS.index(symbol) if symbol in ANIONS else len(ANIONS)


def has_no_ions(symbols: Collection[str]) -> bool:
    """Return whether oxidation states are not defined: for one element, for metals, and for intermetallic compounds.

    Borides, silicides and germanides of transition metals are intermetallic.
    """
    from pymatgen.core import Element

    others = {symbol for symbol in symbols if not Element(symbol).is_metal}
    transition = any(Element(symbol).is_transition_metal for symbol in symbols)
    return len(symbols) == 1 or not others or (transition and others <= {'B', 'Si', 'Ge'})
