"""The volume of a crystal, estimated from its formula."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from aiida_mlip_autopipe.generation.chemistry.oxidation import Guess, ionic_radius
from aiida_mlip_autopipe.generation.crystals.lattices import atomic_volume

# Anions that bond covalently to transition metals with partly filled d shells, which makes the crystals denser.
SOFT_ANIONS = frozenset({'P', 'S', 'As', 'Se', 'Sb', 'Te'})
MAX_STATE = 8
DECIMALS = 6  # of a volume in Å³, so that it does not depend on the processor or the order of the elements


@dataclass(frozen=True)
class Increments:
    """The contributions of the atoms to the volume of a crystal, as in W. Biltz, Raumchemie der festen Stoffe (1934).

    Attributes
    ----------
    anions
        Volume of each closed-shell anion with its share of the voids, in Å³.
    shared_shell
        Volume of an anion that is bonded to another one (peroxides, pyrite), divided by that of the closed-shell anion.
    soft_contraction
        Relative contraction of soft anions if all cations are transition metals with partly filled d shells.
    cation_A2, cation_radius_A
        A cation of radius r adds ``cation_A2 * max(r - cation_radius_A, 0)``: smaller cations fit into the voids.
    proton
        Volume of H⁺, in Å³.
    metallic
        Volume of an element in an intermetallic compound in Å³, where it differs from that of the pure element.
    metallic_contraction
        Relative contraction of an intermetallic compound, divided by the standard deviation of the electronegativity
        (Pauling) of its atoms.
    """

    anions: Mapping[str, float]
    shared_shell: float
    soft_contraction: float
    cation_A2: float
    cation_radius_A: float
    proton: float
    metallic: Mapping[str, float]
    metallic_contraction: float


# Fitted to the lattice constants of 253 compounds: `python benchmarks/volumes.py --fit`.
FITTED = Increments(
    anions={
        'H': 12.0, 'C': 19.4, 'N': 19.0, 'O': 15.3, 'F': 13.2, 'P': 40.2, 'S': 33.0, 'Cl': 29.7, 'As': 43.8,
        'Se': 38.4, 'Br': 39.6, 'Sb': 57.3, 'Te': 49.5, 'I': 49.9,
    },
    shared_shell=0.73,
    soft_contraction=0.21,
    cation_A2=37.4,
    cation_radius_A=0.59,
    proton=4.5,
    metallic={'H': 3.3, 'B': 5.2, 'C': 6.7, 'N': 12.7, 'Al': 15.6, 'Si': 13.1},
    metallic_contraction=0.18,
)  # fmt: skip


def estimate_volume(counts: Mapping[str, int], states: Guess, increments: Increments = FITTED) -> float:
    """Return the volume of a formula unit at ambient conditions in Å³.

    Ionic and covalent compounds consist of anions and of the cations between them. Intermetallic compounds, and
    hydrides of transition metals and rare earths, consist of atoms.

    Parameters
    ----------
    counts
        Number of atoms of each element.
    states
        Their oxidation states; empty for metals.
    increments
        The contributions of the atoms.
    """
    means = states.means
    if _is_metallic(counts, means, increments):
        return round(_metallic_volume(counts, increments), DECIMALS)
    softened = 1 - increments.soft_contraction * _open_shell_fraction(counts, states)
    volume = 0.0
    for symbol, parts in states.fractions.items():
        for state, fraction in parts.items():
            if means[symbol] < 0:
                share = 1.0 if state <= _closed_shell(symbol) else increments.shared_shell
                share *= softened if symbol in SOFT_ANIONS else 1.0
                one = share * increments.anions[symbol]
            else:
                one = _cation_volume(symbol, state, increments)
            volume += counts[symbol] * fraction * one
    return round(volume, DECIMALS)


def _is_metallic(counts: Mapping[str, int], means: Mapping[str, float], increments: Increments) -> bool:
    """Return whether the volume is that of the atoms: no ions, anions of metals or boron, or hydrides of metals."""
    from pymatgen.core import Element

    anions = {symbol for symbol, mean in means.items() if mean < 0}
    if not anions or not anions <= set(increments.anions):
        return True
    metals = [Element(symbol) for symbol in counts if symbol != 'H']
    return anions == {'H'} and all(metal.is_transition_metal or metal.is_rare_earth for metal in metals)


def _metallic_volume(counts: Mapping[str, int], increments: Increments) -> float:
    from pymatgen.core import Element

    if len(counts) == 1:
        return sum(number * atomic_volume(symbol) for symbol, number in counts.items())
    numbers = np.array(list(counts.values()))
    electronegativities = np.nan_to_num([Element(symbol).X for symbol in counts])
    spread = float(np.sqrt(np.cov(electronegativities, fweights=numbers, ddof=0)))
    volumes = [increments.metallic.get(symbol) or atomic_volume(symbol) for symbol in counts]
    return float(numbers @ volumes) * (1 - increments.metallic_contraction * spread)


def _cation_volume(symbol: str, state: int, increments: Increments) -> float:
    if symbol == 'H':
        return increments.proton
    radius = _radius_near(symbol, state) if state > 0 else None
    if radius is None:
        return atomic_volume(symbol)
    return increments.cation_A2 * max(radius - increments.cation_radius_A, 0.0)


def _radius_near(symbol: str, state: int) -> float | None:
    """Return a cation's radius in Å for coordination number 6, in the nearest state that Shannon lists, or None."""
    radii = (
        ionic_radius(symbol, known, 6)
        for known in sorted(range(1, MAX_STATE + 1), key=lambda known: (abs(known - state), known))
    )
    return next((radius for radius in radii if radius is not None), None)


def _closed_shell(symbol: str) -> int:
    """Return the charge of an anion with a closed shell, such as -2 for oxygen."""
    from pymatgen.core import Element

    return -1 if symbol == 'H' else int(Element(symbol).group) - 18


def _open_shell_fraction(counts: Mapping[str, int], states: Guess) -> float:
    """Return the fraction of transition metals with partly filled d shells among the cations, without H⁺."""
    from pymatgen.core import Element

    cations = dict.fromkeys((False, True), 0.0)
    for symbol, parts in states.fractions.items():
        element = Element(symbol)
        for state, fraction in parts.items():
            if state > 0 and symbol != 'H':
                is_open = element.is_transition_metal and element.group <= 11 and 0 < element.group - state < 10
                cations[is_open] += counts[symbol] * fraction
    return cations[True] / sum(cations.values()) if cations[True] else 0.0
