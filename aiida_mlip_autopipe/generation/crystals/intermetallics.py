"""Structure types of intermetallic compounds and MAX phases, and their lattice constants."""

from __future__ import annotations

import numpy as np

from aiida_mlip_autopipe.generation.crystals.lattices import atomic_volume
from aiida_mlip_autopipe.generation.crystals.prototypes import Position, Prototype, build_cell

# Å³ per atom of C or N in an octahedron of metal atoms: the mean excess of the volumes of the rock-salt compounds TiC,
# ZrC, HfC, VC, NbC, TaC, TiN and CrN (from 1.4 to 5.8 Å³) over those of their metals, for the lattice constants in
# P. Villars and L. D. Calvert, Pearson's Handbook (1991).
INTERSTITIAL_VOLUME = 3.4


def _hexagonal(c_over_a: float, *sites: tuple[str, Position]) -> Prototype:
    return Prototype(194, sites, {}, c_over_a, hexagonal=True)


# C14 from MgZn2 and C36 from MgNi2: Y. Komura and K. Tokunaga, Acta Cryst. B 36, 1548 (1980). C15 (MgCu2), A15 (Cr3Si),
# L2_1 (Cu2MnAl) and C1_b (MgAgAs) have no free parameters; AFLOW A2B_cF24_227_d_a, A3B_cP8_223_c_a, AB2C_cF16_225_a_c_b
# and ABC_cF12_216_b_c_a. sigma from FeCr: H. L. Yakel, Acta Cryst. B 39, 20 (1983); AFLOW sigma_tP30_136_bf2ij.
# M2AX from Ti2AlC; AFLOW ABC2_hP8_194_d_a_f. M3AX2 from Ti3SiC2: E. H. Kisi et al., J. Phys. Chem. Solids 59, 1437
# (1998). M4AX3 from Ti4AlN3: C. J. Rawn et al., Mater. Res. Bull. 35, 1785 (2000); AFLOW AB3C4_hP16_194_c_af_ef.
INTERMETALLICS: dict[str, Prototype] = {
    'A15': Prototype(223, (('A', (0.25, 0, 0.5)), ('B', (0, 0, 0))), {}),
    'C14': _hexagonal(
        1.641, ('A', (1 / 3, 2 / 3, 0.062)), ('B', (0, 0, 0)), ('B', (0.8305, 0.661, 0.25)),
    ),
    'C15': Prototype(227, (('A', (0.125, 0.125, 0.125)), ('B', (0.5, 0.5, 0.5))), {}, setting=2),
    'C36': _hexagonal(
        15.826 / 4.824, ('A', (0, 0, 0.094)), ('A', (1 / 3, 2 / 3, 0.8442)), ('B', (1 / 3, 2 / 3, 0.1251)),
        ('B', (0.5, 0, 0)), ('B', (0.1644, 0.3288, 0.25)),
    ),
    'L2_1': Prototype(225, (('A', (0.25, 0.25, 0.25)), ('B', (0, 0, 0)), ('C', (0.5, 0.5, 0.5))), {}),
    'C1_b': Prototype(216, (('A', (0.25, 0.25, 0.25)), ('B', (0, 0, 0)), ('C', (0.5, 0.5, 0.5))), {}),
    'sigma': Prototype(
        136,
        (('A', (0, 0, 0)), ('B', (0.39864, 0.39864, 0)), ('C', (0.13122, 0.46349, 0)), ('D', (0.06609, 0.73933, 0)),
         ('E', (0.18267, 0.18267, 0.25202))),
        {},
        0.518177,
    ),
    'M2AX': _hexagonal(
        13.60 / 3.04, ('M', (1 / 3, 2 / 3, 0.0835)), ('A', (1 / 3, 2 / 3, 0.75)), ('X', (0, 0, 0)),
    ),
    'M3AX2': _hexagonal(
        17.671 / 3.0665, ('M', (0, 0, 0)), ('M', (1 / 3, 2 / 3, 0.1350)), ('A', (0, 0, 0.25)),
        ('X', (1 / 3, 2 / 3, 0.5675)),
    ),
    'M4AX3': _hexagonal(
        23.372 / 2.988, ('M', (1 / 3, 2 / 3, 0.0543)), ('M', (0, 0, 0.15457)), ('A', (1 / 3, 2 / 3, 0.25)),
        ('X', (0, 0, 0)), ('X', (2 / 3, 1 / 3, 0.1049)),
    ),
}  # fmt: skip


def estimate_lattice_constant(prototype: Prototype, sites: dict[str, dict[str, float]]) -> float:
    """Return the lattice constant a in Å at which the volume is the sum of the volumes of the atoms.

    The volumes are those of the elements at ambient conditions (E.-J. Zen, Am. Mineral. 41, 523, 1956). For X, which
    fills octahedra of metal atoms, it is 3.4 Å³.

    Parameters
    ----------
    prototype
        The structure type.
    sites
        Fraction of each element on each site.
    """
    cell, roles = build_cell(prototype)
    volume = 0.0
    for role, occupation in sites.items():
        mean = sum(fraction * atomic_volume(symbol) for symbol, fraction in occupation.items() if role != 'X')
        volume += int(np.sum(roles == role)) * (INTERSTITIAL_VOLUME if role == 'X' else mean)
    return float((volume / cell.get_volume()) ** (1 / 3))
