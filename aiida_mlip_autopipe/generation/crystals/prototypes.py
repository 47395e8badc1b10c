"""Crystal structure types, defined by space group and occupied positions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ase import Atoms

Position = tuple[float, float, float]
# Placeholders that mark the roles while a cell is built.
ROLE_SYMBOLS = {
    'A': 'Li', 'B': 'Be', "B'": 'Mg', 'X': 'F', 'C': 'B', 'D': 'C', 'E': 'N', 'M': 'O', 'T': 'Na', 'Y': 'Al', 'Z': 'Si',
}  # fmt: skip
ROLES = {symbol: role for role, symbol in ROLE_SYMBOLS.items()}


@dataclass(frozen=True)
class Prototype:
    """A structure type. In ionic crystals, A, B, B' and T are cations, and X are anions.

    Attributes
    ----------
    spacegroup, setting
        Number in the International Tables, and the origin choice if there are two.
    sites
        Role and fractional coordinates of each orbit.
    coordination
        Number of nearest neighbours of each role: anions for a cation, cations for an anion. Ionic crystals only.
    c_over_a, b_over_a
        Axial ratios.
    hexagonal
        Whether the cell has the angles of a hexagonal cell.
    """

    spacegroup: int
    sites: tuple[tuple[str, Position], ...]
    coordination: dict[str, int]
    c_over_a: float = 1.0
    hexagonal: bool = False
    setting: int = 1
    b_over_a: float = 1.0


# Positions from R. W. G. Wyckoff, Crystal Structures (1963). Free parameters are those of TiO2 for rutile, Al2O3 for
# corundum, MgAl2O4 for spinel and LiCoO2 for layered rock salt (H. J. Orman and P. J. Wiseman, Acta Cryst. C 40, 12
# (1984)). In the double perovskite, X lies midway between B and B'. The inverse spinel has the positions of spinel in a
# cell of a/√2, a/√2, a, with the order of NiFe2O4 from V. G. Ivanov et al., Phys. Rev. B 82, 024104 (2010). Olivine is
# from LiFePO4: V. A. Streltsov et al., Acta Cryst. B 49, 147 (1993); garnet from Y3Al5O12: F. Euler and J. A. Bruce,
# Acta Cryst. 19, 971 (1965); NASICON from NaZr2P3O12: L.-O. Hagman and P. Kierkegaard, Acta Chem. Scand. 22, 1822
# (1968).
PROTOTYPES: dict[str, Prototype] = {
    'rocksalt': Prototype(225, (('A', (0, 0, 0)), ('X', (0.5, 0.5, 0.5))), {'A': 6, 'X': 6}),
    'cesium_chloride': Prototype(221, (('A', (0, 0, 0)), ('X', (0.5, 0.5, 0.5))), {'A': 8, 'X': 8}),
    'fluorite': Prototype(225, (('A', (0, 0, 0)), ('X', (0.25, 0.25, 0.25))), {'A': 8, 'X': 4}),
    'antifluorite': Prototype(225, (('X', (0, 0, 0)), ('A', (0.25, 0.25, 0.25))), {'A': 4, 'X': 8}),
    'zincblende': Prototype(216, (('A', (0, 0, 0)), ('X', (0.25, 0.25, 0.25))), {'A': 4, 'X': 4}),
    'wurtzite': Prototype(
        186, (('A', (1 / 3, 2 / 3, 0)), ('X', (1 / 3, 2 / 3, 3 / 8))), {'A': 4, 'X': 4}, float(np.sqrt(8 / 3)), True
    ),
    'rutile': Prototype(136, (('A', (0, 0, 0)), ('X', (0.3053, 0.3053, 0))), {'A': 6, 'X': 3}, 0.6441),
    'corundum': Prototype(
        167, (('A', (0, 0, 0.3522)), ('X', (0.3063, 0, 0.25))), {'A': 6, 'X': 4}, 2.7302, hexagonal=True
    ),
    'perovskite': Prototype(
        221, (('A', (0, 0, 0)), ('B', (0.5, 0.5, 0.5)), ('X', (0.5, 0.5, 0))), {'A': 12, 'B': 6, 'X': 2}
    ),
    'spinel': Prototype(
        227,
        (('A', (0.125, 0.125, 0.125)), ('B', (0.5, 0.5, 0.5)), ('X', (0.2624, 0.2624, 0.2624))),
        {'A': 4, 'B': 6, 'X': 4},
        setting=2,
    ),
    'double_perovskite': Prototype(
        225,
        (('A', (0.25, 0.25, 0.25)), ('B', (0, 0, 0)), ("B'", (0.5, 0.5, 0.5)), ('X', (0.25, 0, 0))),
        {'A': 12, 'B': 6, "B'": 6, 'X': 2},
    ),
    'inverse_spinel': Prototype(
        91,
        (('A', (0.25, 0.75, 0.125)), ('B', (0.25, 0.5, 0.75)), ("B'", (0, 0.75, 0.5)), ('X', (0.0248, 0.75, 0.7376)),
         ('X', (0.25, 0.4752, 0.9876))),
        {'A': 4, 'B': 6, "B'": 6, 'X': 4},
        float(np.sqrt(2)),
    ),
    'layered_rocksalt': Prototype(
        166, (('A', (0, 0, 0.5)), ('B', (0, 0, 0)), ('X', (0, 0, 0.2605))), {'A': 6, 'B': 6, 'X': 6}, 4.9905, True
    ),
    'olivine': Prototype(
        62,
        (('A', (0, 0, 0)), ('B', (0.2822, 0.25, 0.9747)), ('T', (0.0948, 0.25, 0.4182)), ('X', (0.0968, 0.25, 0.7428)),
         ('X', (0.4571, 0.25, 0.2060)), ('X', (0.1656, 0.0465, 0.2848))),
        {'A': 6, 'B': 6, 'T': 4, 'X': 4},
        4.692 / 10.332,
        b_over_a=6.010 / 10.332,
    ),
    'garnet': Prototype(
        230,
        (('A', (0.125, 0, 0.25)), ('B', (0, 0, 0)), ('T', (0.375, 0, 0.25)), ('X', (-0.0306, 0.0512, 0.15))),
        {'A': 8, 'B': 6, 'T': 4, 'X': 4},
    ),
    'NASICON': Prototype(
        167,
        (('A', (0, 0, 0)), ('B', (0, 0, 0.1457)), ('T', (0.2917, 0, 0.25)), ('X', (0.1860, 0.9850, 0.1948)),
         ('X', (0.1915, 0.1687, 0.0866))),
        {'A': 6, 'B': 6, 'T': 4, 'X': 3},
        22.7585 / 8.8043,
        True,
    ),
}  # fmt: skip


def prototype_cell(name: str) -> tuple[Atoms, np.ndarray]:
    """Return the conventional cell of an ionic structure type with a = 1 Å, and the role of each atom, shape (n,)."""
    return build_cell(PROTOTYPES[name])


def build_cell(prototype: Prototype) -> tuple[Atoms, np.ndarray]:
    """Return the conventional cell of a structure type with a = 1 Å, and the role of each atom, shape (n,)."""
    from ase.spacegroup import crystal

    angles = [90, 90, 120] if prototype.hexagonal else [90, 90, 90]
    atoms = crystal(
        [ROLE_SYMBOLS[role] for role, _ in prototype.sites],
        [position for _, position in prototype.sites],
        spacegroup=prototype.spacegroup,
        setting=prototype.setting,
        # ASE merges positions within a tolerance in Å, for which a cell with a = 1 Å would be too small.
        cellpar=[10, 10 * prototype.b_over_a, 10 * prototype.c_over_a, *angles],
    )
    roles = np.array([ROLES[symbol] for symbol in atoms.symbols])
    plain = Atoms(atoms.symbols, scaled_positions=atoms.get_scaled_positions(), cell=atoms.cell.array / 10, pbc=True)
    return plain, roles


def bond_lengths(cell: Atoms, roles: np.ndarray, coordination: dict[str, int]) -> dict[str, float]:
    """Return the mean distance between each cation role and its nearest anions, in Å."""
    big = cell.repeat(3)
    big_roles = np.tile(roles, 27)
    middle = 13 * len(cell)
    anions = big.positions[big_roles == 'X']
    lengths = {}
    for role in sorted(set(roles) - {'X'}):
        atom = middle + int(np.flatnonzero(roles == role)[0])
        distances = np.sort(np.linalg.norm(anions - big.positions[atom], axis=1))
        lengths[role] = float(distances[: coordination[role]].mean())
    return lengths
