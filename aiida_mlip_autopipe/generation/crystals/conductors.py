"""Structure types of ion conductors: a framework, and sites that mobile ions partially occupy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ase import Atoms

from aiida_mlip_autopipe.generation.crystals.partial_sites import EXCLUSION_A
from aiida_mlip_autopipe.generation.crystals.prototypes import Prototype, build_cell

ANION_ROLES = ('X', 'Y', 'Z')


@dataclass(frozen=True)
class Conductor:
    """The structure type of an ion conductor.

    Attributes
    ----------
    framework
        The fully occupied sites: cations A, B and T, and anions X, Y and Z.
    mobile
        The sites of the mobile ions, all with the role M.
    exclusion_A
        Minimum distance between two mobile ions in Å.
    """

    framework: Prototype
    mobile: Prototype
    exclusion_A: float


def _conductor(
    group: int,
    framework: tuple[tuple[str, tuple[float, float, float]], ...],
    mobile: tuple[tuple[float, float, float], ...],
    coordination: dict[str, int],
    c_over_a: float = 1.0,
    *,
    hexagonal: bool = False,
    exclusion_A: float = EXCLUSION_A,
) -> Conductor:
    places = tuple(('M', place) for place in mobile)
    return Conductor(
        Prototype(group, framework, coordination, c_over_a, hexagonal),
        Prototype(group, places, {}, c_over_a, hexagonal),
        exclusion_A,
    )


# Garnet from Li7La3Zr2O12: J. Awaka et al., Chem. Lett. 40, 60 (2011), with Li on 24d and 96h. NASICON: the framework
# of NaZr2P3O12 (L.-O. Hagman and P. Kierkegaard, Acta Chem. Scand. 22, 1822, 1968), with the Na sites 6b and 18e of
# rhombohedral Na3Zr2Si2PO12 (J. P. Boilot et al., J. Solid State Chem. 73, 160, 1988). Argyrodite from Li6PS5Cl: M. A.
# Kraft et al., J. Am. Chem. Soc. 139, 10909 (2017), with Li on 48h.
CONDUCTORS = {
    'garnet': _conductor(
        230,
        (('A', (0.125, 0, 0.25)), ('B', (0, 0, 0)), ('X', (0.2825, 0.1004, 0.1953))),
        ((0.375, 0, 0.25), (0.0975, 0.6848, 0.5773)),
        {'A': 8, 'B': 6, 'X': 4},
    ),
    'NASICON': _conductor(
        167,
        (('B', (0, 0, 0.1457)), ('T', (0.2917, 0, 0.25)), ('X', (0.1860, 0.9850, 0.1948)),
         ('X', (0.1915, 0.1687, 0.0866))),
        ((0, 0, 0), (0.637, 0, 0.25)),
        {'B': 6, 'T': 4, 'X': 3},
        22.7585 / 8.8043,
        hexagonal=True,
    ),
    'argyrodite': _conductor(
        216,
        (('T', (0, 0, 0.5)), ('X', (0.1195, 0.8805, 0.6195)), ('Y', (0.25, 0.25, 0.75)), ('Z', (0, 0, 0))),
        ((0.3088, 0.0251, 0.6912),),
        {'T': 4, 'X': 4},
        exclusion_A=2.0,  # one Li in each pair of sites (1.6 Å); the distance between neighbouring pairs is 2.3 Å
    ),
}  # fmt: skip


def conductor_cell(name: str) -> tuple[Atoms, np.ndarray, np.ndarray]:
    """Return the framework with a = 1 Å, the role of each of its atoms, and the mobile sites.

    Returns
    -------
    Atoms
        The framework in the conventional cell, with placeholders.
    numpy.ndarray
        The roles, shape (m,).
    numpy.ndarray
        Fractional coordinates of the sites of the mobile ions, shape (n, 3).
    """
    conductor = CONDUCTORS[name]
    framework, roles = build_cell(conductor.framework)
    mobile, _ = build_cell(conductor.mobile)
    return framework, roles, np.asarray(mobile.get_scaled_positions())
