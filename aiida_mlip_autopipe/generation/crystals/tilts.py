"""Perovskites with tilted octahedra, in Glazer notation."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
from ase import Atoms

from aiida_mlip_autopipe.generation.crystals.prototypes import ROLE_SYMBOLS

MAX_TILT_DEG = 25.0
# Displacement of A along a in units of a, and the tilts about [101] and [010] in degrees, in CaTiO3: S. Sasaki et al.,
# Acta Cryst. C 43, 1668 (1987). The displacement is bilinear in the tilts (N. A. Benedek and C. J. Fennie, J. Phys.
# Chem. C 117, 13339, 2013).
A_SHIFT, TILTS_OF_A_SHIFT = 0.036, (11.7, 8.9)


@dataclass(frozen=True)
class TiltSystem:
    """A tilt system of perovskites.

    Attributes
    ----------
    minus
        Pseudocubic axes of the out-of-phase tilts: the sum of their unit vectors.
    plus
        Pseudocubic axis of the in-phase tilt, or zeros.
    cell
        Rows are the vectors of the conventional cell in units of the pseudocubic ones.
    spacegroup
        Number in the International Tables.
    default_deg
        Default angle about each tilt axis in degrees; None if the user must set it.
    """

    minus: tuple[int, int, int]
    plus: tuple[int, int, int]
    cell: tuple[tuple[int, int, int], ...]
    spacegroup: int
    default_deg: float | None = None


# Space groups from C. J. Howard and H. T. Stokes, Acta Cryst. B 54, 782 (1998). Default angles: LaAlO3 at room
# temperature (H. Lehnert et al., Z. Kristallogr. 215, 536 (2000): 5.1° about [111]); CaTiO3 (Sasaki, above: 8.2° and
# 8.9°); SrTiO3 at 4.2 K (H. Unoki and T. Sakudo, J. Phys. Soc. Jpn. 23, 546, 1967).
TILT_SYSTEMS = {
    'a0a0a0': TiltSystem((0, 0, 0), (0, 0, 0), ((1, 0, 0), (0, 1, 0), (0, 0, 1)), 221, 0.0),
    'a0a0c+': TiltSystem((0, 0, 0), (0, 0, 1), ((1, -1, 0), (1, 1, 0), (0, 0, 1)), 127),
    'a0a0c-': TiltSystem((0, 0, 1), (0, 0, 0), ((1, -1, 0), (1, 1, 0), (0, 0, 2)), 140, 2.1),
    'a0b-b-': TiltSystem((1, 0, 1), (0, 0, 0), ((1, 0, 1), (0, 2, 0), (-1, 0, 1)), 74),
    'a-a-a-': TiltSystem((1, 1, 1), (0, 0, 0), ((1, -1, 0), (0, 1, -1), (2, 2, 2)), 167, 2.9),
    'a-b+a-': TiltSystem((1, 0, 1), (0, 1, 0), ((1, 0, 1), (0, 2, 0), (-1, 0, 1)), 62, 8.5),
}


def tilted_cell(name: str, tilt_deg: float) -> tuple[Atoms, np.ndarray]:
    """Return the conventional cell of a tilted perovskite with a = 1 Å, and the role of each atom, shape (n,).

    The octahedra are rigid and regular. The octahedron at the pseudocubic position (i, j, k) is rotated about the sum
    of the out-of-phase axes, in the direction that the parity of i + j + k determines, and then about the in-phase
    axis, in the direction that the parity of the sum of the other two indices determines (A. M. Glazer, Acta Cryst. B
    28, 3384, 1972). In this order the octahedra fit together exactly (M. O'Keeffe and B. G. Hyde, Acta Cryst. B 33,
    3802, 1977). Each A ion is at the centre of eight B ions; with tilts of both kinds, it moves along a as in CaTiO3.

    Parameters
    ----------
    name
        Name of the tilt system.
    tilt_deg
        Angle about each pseudocubic tilt axis in degrees. With out-of-phase tilts about two or three axes, the
        rotation about their sum is larger by a factor of √2 or √3.
    """
    system = TILT_SYSTEMS[name]
    minus, plus = np.array(system.minus), np.array(system.plus)
    total = tilt_deg * float(np.linalg.norm(minus))
    here, there = (_rotation(minus, sign * total) for sign in (1, -1))

    def octahedron(index: np.ndarray) -> np.ndarray:
        in_phase = (-1) ** int(index @ (1 - plus))
        return np.asarray(_rotation(plus, in_phase * tilt_deg) @ (here if index.sum() % 2 == 0 else there))

    # The vector from an octahedron to the next one along each axis; it is the same everywhere.
    steps = np.array(
        [(octahedron(np.zeros(3, int)) + octahedron(axis))[:, k] for k, axis in enumerate(np.eye(3, dtype=int))]
    )
    cell = np.array(system.cell) @ steps
    shift = (
        A_SHIFT * total * tilt_deg / np.prod(TILTS_OF_A_SHIFT) * cell[0] if minus.any() and plus.any() else np.zeros(3)
    )
    symbols, positions = [], []
    for index in _indices(np.array(system.cell)):
        centre = index @ steps
        ions = [('A', centre + steps.sum(axis=0) / 2 - (-1) ** int(index @ plus) * shift), ('B', centre)]
        ions += [('X', centre + octahedron(index)[:, k]) for k in range(3)]
        symbols += [ROLE_SYMBOLS[role] for role, _ in ions]
        positions += [position for _, position in ions]
    atoms = Atoms(symbols, positions, cell=cell, pbc=True)
    fractions = np.round(atoms.get_scaled_positions(), 12) % 1.0
    standard = atoms.cell.standard_form()[0].array / np.linalg.norm(cell[0])
    roles = np.array([role for _ in range(len(atoms) // 5) for role in 'ABXXX'])
    return Atoms(symbols, scaled_positions=fractions, cell=standard, pbc=True), roles


def _rotation(axis: np.ndarray, angle_deg: float) -> np.ndarray:
    """Return the matrix (3, 3) of a rotation about an axis; the identity for an axis of zeros."""
    from scipy.spatial.transform import Rotation

    length = float(np.linalg.norm(axis))
    vector = axis / length * np.radians(angle_deg) if length else np.zeros(3)
    return np.asarray(Rotation.from_rotvec(vector).as_matrix())


def _indices(cell: np.ndarray) -> list[np.ndarray]:
    """Return the integer points, each (3,), in a cell with integer vectors."""
    inverse = np.linalg.inv(cell)
    points = (np.array(point) for point in product(range(-3, 5), repeat=3))
    found = [point for point in points if np.all((point @ inverse > -1e-9) & (point @ inverse < 1 - 1e-9))]
    assert len(found) == round(abs(np.linalg.det(cell)))
    return found
