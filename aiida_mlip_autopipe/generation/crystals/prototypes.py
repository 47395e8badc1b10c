"""Crystal structure types by space group and occupied positions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ase import Atoms

Position = tuple[float, float, float]
# Placeholders that keep the roles apart while a cell is built.
ROLE_SYMBOLS = {'A': 'Li', 'B': 'Be', 'X': 'F'}


@dataclass(frozen=True)
class Prototype:
    """A structure type of cations A, B and anions X.

    Attributes
    ----------
    spacegroup, setting
        International number, and origin choice where there are two.
    sites
        Role and fractional coordinates of each orbit.
    coordination
        Number of nearest neighbours of a role: of cations X, of X cations.
    c_over_a
        Axial ratio, with the angles of a hexagonal cell if `hexagonal`.
    """

    spacegroup: int
    sites: tuple[tuple[str, Position], ...]
    coordination: dict[str, int]
    c_over_a: float = 1.0
    hexagonal: bool = False
    setting: int = 1


# Positions from R. W. G. Wyckoff, Crystal Structures (1963), with the named compound's parameters where there are free
# ones: rutile TiO2, corundum Al2O3, spinel MgAl2O4.
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
}  # fmt: skip


def prototype_cell(name: str) -> tuple[Atoms, np.ndarray]:
    """Return the conventional cell of a type with a = 1 Å and the role of each atom, shape (n,)."""
    from ase.spacegroup import crystal

    prototype = PROTOTYPES[name]
    angles = [90, 90, 120] if prototype.hexagonal else [90, 90, 90]
    atoms = crystal(
        [ROLE_SYMBOLS[role] for role, _ in prototype.sites],
        [position for _, position in prototype.sites],
        spacegroup=prototype.spacegroup,
        setting=prototype.setting,
        # The positions are merged within a tolerance in Å, for which a = 1 would be too small.
        cellpar=[10, 10, 10 * prototype.c_over_a, *angles],
    )
    roles = np.array([{symbol: role for role, symbol in ROLE_SYMBOLS.items()}[symbol] for symbol in atoms.symbols])
    plain = Atoms(atoms.symbols, scaled_positions=atoms.get_scaled_positions(), cell=atoms.cell.array / 10, pbc=True)
    return plain, roles


def bond_lengths(cell: Atoms, roles: np.ndarray, coordination: dict[str, int]) -> dict[str, float]:
    """Return the mean distance of each cation role to its nearest X, in Å."""
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
