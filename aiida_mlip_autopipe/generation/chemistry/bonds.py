"""Radii whose sums are the lengths of covalent bonds and of van der Waals contacts."""

from __future__ import annotations

from functools import cache

import numpy as np

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError

# Single-bond covalent radii in pm, in order of atomic number (P. Pyykkö, M. Atsumi, Chem. Eur. J. 15, 186, 2009).
# Unlike Cordero's, they suit metal–nonmetal bonds: Mo–S 2.41 (2.59), Ti–C 2.11 (2.36).
_SINGLE = """
    32 46 133 102 85 75 71 63 64 67 155 139 126 116 111 103 99 96 196 171 148 136 134 122 119 116 111 110 112
    118 124 121 121 116 114 117 210 185 163 154 147 138 128 125 125 120 128 136 142 140 140 136 133 131 232 196
    180 163 176 174 173 172 168 169 168 167 166 165 164 170 162 152 146 137 131 129 122 123 124 133 144 144 151
    145 147 142 223 201 186 175 169 170
"""
_RADII = [float(radius) / 100 for radius in _SINGLE.split()]
# Å; D(n) = D(1) - 0.71 log10 n (L. Pauling, The Nature of the Chemical Bond, 3rd ed., 1960, ch. 7).
PAULING_SLOPE = 0.71


def single_bond_radius(fractions: dict[str, float]) -> float:
    """Return the single-bond covalent radius of an element in Å, or the mean radius of several on one site.

    Raises
    ------
    AutopipeError
        If the radius of an element is not known.
    """
    from ase.data import atomic_numbers

    for symbol in fractions:
        if atomic_numbers[symbol] > len(_RADII):
            raise AutopipeError(Code.VALUE_MISSING, f'the covalent radius of {symbol} is not known; set bond_A')
    return float(sum(fraction * _RADII[atomic_numbers[symbol] - 1] for symbol, fraction in fractions.items()))


def shortening(bond_order: float) -> float:
    """Return by how many Å a bond of this order is shorter than a single bond, by Pauling's relation."""
    return PAULING_SLOPE * float(np.log10(bond_order))


# Kinds use different van der Waals radii, since a single set would change their seeds. Here the radii of Bondi, with
# those of Alvarez where they are missing, reproduce the distances between layers. `contacts` uses only the radii of
# Alvarez, which are larger for metals. `surfaces.joining` uses those of Bondi and later ones, and 2 Å for the rest.
@cache
def _van_der_waals(symbol: str) -> float:
    from ase.data import atomic_numbers, vdw_alvarez, vdw_radii

    number = atomic_numbers[symbol]
    known = vdw_radii[number]
    return float(known if np.isfinite(known) else vdw_alvarez.vdw_radii[number])


def van_der_waals_radius(fractions: dict[str, float]) -> float:
    """Return the van der Waals radius of an element in Å, or the mean radius of several on one site.

    The radii are those in ASE: most from A. Bondi, J. Phys. Chem. 68, 441 (1964), and for elements without one there,
    from S. Alvarez, Dalton Trans. 42, 8617 (2013).
    """
    return float(sum(fraction * _van_der_waals(symbol) for symbol, fraction in fractions.items()))
