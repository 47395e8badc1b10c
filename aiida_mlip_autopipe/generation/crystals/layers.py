"""Layers of layered crystals, and stacks of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise, product
from typing import Literal

import numpy as np
from ase import Atoms

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.generation.chemistry.bonds import shortening, single_bond_radius, van_der_waals_radius

Structure = Literal['2H', '3R', '1T', "1T'", 'honeycomb', 'black_phosphorus', 'M2X', 'M3X2', 'M4X3']
Stacking = Literal['AA', "AA'", 'AB', "AB'", 'ABC']
Radii = Mapping[str, float]

DICHALCOGENIDES = ('2H', '3R', '1T')
MXENES = {'M2X': 1, 'M3X2': 2, 'M4X3': 3}  # number of planes of X
RECTANGULAR = ("1T'", 'black_phosphorus')
DEFAULT_STACKINGS: dict[str, Stacking] = {
    '2H': "AA'", '3R': 'ABC', '1T': 'AA', "1T'": 'AA', 'honeycomb': 'AB', 'black_phosphorus': 'AB',
    'M2X': 'AA', 'M3X2': 'AA', 'M4X3': 'AA',
}  # fmt: skip
# Each layer of one period: whether it is rotated by 180° about its normal, and its shift, in thirds of the long
# diagonal of a hexagonal cell, or in halves of the first vector of a rectangular one.
STACKINGS: dict[Stacking, tuple[tuple[bool, int], ...]] = {
    'AA': ((False, 0),),
    "AA'": ((False, 0), (True, 0)),
    'AB': ((False, 0), (False, 1)),
    "AB'": ((False, 0), (True, 2)),
    'ABC': ((False, 0), (False, 1), (False, 2)),
}
# In-plane lattice constants in Å, fractional in-plane coordinates, and heights in Å. 1T': one layer of WTe2,
# symmetrised about its inversion centre (A. Mar, S. Jobic, J. A. Ibers, J. Am. Chem. Soc. 114, 8963, 1992). Black
# phosphorus: A. Brown, S. Rundqvist, Acta Cryst. 19, 684 (1965).
TEMPLATES = {
    "1T'": (
        (3.496, 6.282),
        (
            ('M', 0.0, -0.1798, 0.107), ('M', 0.5, 0.1798, -0.107), ('X', 0.5, -0.078, 2.079),
            ('X', 0.0, 0.078, -2.079), ('X', 0.0, 0.4268, 1.458), ('X', 0.5, -0.4268, -1.458),
        ),
    ),
    'black_phosphorus': (
        (3.3136, 4.3763),
        (('A', 0.0, 0.08056, 1.0654), ('A', 0.0, -0.08056, -1.0654), ('A', 0.5, 0.58056, -1.0654),
         ('A', 0.5, 0.41944, 1.0654)),
    ),
}  # fmt: skip
BONDED_NEIGHBOURS = {"1T'": 6, 'black_phosphorus': 3}
# The ratio a / bond for which the prisms (with square sides) and the octahedra are regular.
IDEAL_RATIO = {'prism': float(np.sqrt(12 / 7)), 'octahedron': float(np.sqrt(2))}
MIN_HEIGHT_A = 0.3  # minimum height of a plane of atoms above the next one


@dataclass(frozen=True)
class Layer:
    """One layer of a crystal.

    Attributes
    ----------
    cell
        The two cell vectors in Å, shape (2, 2).
    roles
        Role of each atom, such as M or X.
    fractions
        In-plane coordinates as fractions of the cell vectors, shape (n, 2).
    heights
        Height of each atom above the middle of the layer in Å, shape (n,).
    bond_A
        Mean length of the bonds in the layer in Å.
    """

    cell: np.ndarray
    roles: tuple[str, ...]
    fractions: np.ndarray
    heights: np.ndarray
    bond_A: float

    @property
    def is_hexagonal(self) -> bool:
        """Whether the cell is hexagonal; otherwise it is rectangular."""
        return bool(abs(self.cell[0] @ self.cell[1]) > 1e-6)


@dataclass(frozen=True)
class Sizes:
    """The sizes that the user sets, in Å; None if a size is estimated.

    Attributes
    ----------
    a_A
        In-plane lattice constant.
    bond_A
        Mean bond length between M and X, or in a planar or puckered layer between its atoms.
    thickness_A
        Distance between the two planes of X of a dichalcogenide.
    """

    a_A: float | None = None
    bond_A: float | None = None
    thickness_A: float | None = None


def make_layer(structure: Structure, occupation: Mapping[str, dict[str, float]], sizes: Sizes) -> Layer:
    """Return a layer whose bonds have the lengths that are set, or the sums of the covalent radii.

    Parameters
    ----------
    structure
        The structure type.
    occupation
        Composition of each role: M and X; A, and B in a honeycomb of two elements; for MXenes M, X and, if there are
        terminations, T, and H if some of them are OH.
    sizes
        The sizes that are set.

    Raises
    ------
    AutopipeError
        If a radius is not known, or if the sizes do not fit together.
    """
    radii = {role: single_bond_radius(fractions) for role, fractions in occupation.items()}
    if structure in MXENES:
        return _mxene(MXENES[structure], radii, sizes)
    if structure == 'honeycomb':
        # Three bonds share four electron pairs, so their order is 4/3.
        estimate = radii['A'] + radii.get('B', radii['A']) - shortening(4 / 3)
        bond_A = sizes.bond_A or (sizes.a_A / np.sqrt(3) if sizes.a_A else estimate)
        second = 'B' if 'B' in radii else 'A'
        return _planes([('A', 1, 0.0), (second, 2, 0.0)], bond_A * np.sqrt(3), bond_A)
    if structure in RECTANGULAR:
        return _from_template(structure, radii, sizes)
    return _dichalcogenide('octahedron' if structure == '1T' else 'prism', radii, sizes)


def _planes(planes: list[tuple[str, int, float]], a_A: float, bond_A: float) -> Layer:
    """Return a hexagonal layer from its planes: the role, position in thirds of the diagonal, and height of an atom."""
    roles, thirds, heights = zip(*planes, strict=True)
    cell = np.array([[a_A, 0.0], [-a_A / 2, a_A * np.sqrt(3) / 2]])
    fractions = np.array([[third / 3, 2 * third / 3] for third in thirds]) % 1.0
    return Layer(cell, roles, fractions, np.array(heights) - (max(heights) + min(heights)) / 2, float(bond_A))


def _dichalcogenide(polyhedron: str, radii: Radii, sizes: Sizes) -> Layer:
    """Return a plane of M between two planes of X, in trigonal prisms or octahedra."""
    bond, a_A = sizes.bond_A, sizes.a_A
    if sizes.thickness_A and a_A:
        bond = float(np.sqrt(a_A**2 / 3 + sizes.thickness_A**2 / 4))
    bond = bond or radii['M'] + radii['X']
    if a_A is None and sizes.thickness_A:
        a_A = float(np.sqrt(3)) * _other_side(bond, sizes.thickness_A / 2, 'thickness_A')
    a_A = a_A or IDEAL_RATIO[polyhedron] * bond
    half = _other_side(bond, a_A / np.sqrt(3), 'a_A')
    upper, lower = (2, 2) if polyhedron == 'prism' else (1, 2)
    middle = 1 if polyhedron == 'prism' else 0
    return _planes([('M', middle, 0.0), ('X', upper, half), ('X', lower, -half)], a_A, bond)


def _mxene(n: int, radii: Radii, sizes: Sizes) -> Layer:
    """Return n planes of X between n + 1 planes of M, close-packed as in rock salt along [111], with terminations.

    The terminations continue the sequence of the planes of X, so each is in a hollow, above a metal atom of the next
    plane of M (M. Khazaei et al., Adv. Funct. Mater. 23, 2185, 2013).
    """
    bond = sizes.bond_A or radii['M'] + radii['X']
    a_A = sizes.a_A or IDEAL_RATIO['octahedron'] * bond
    spacing = _other_side(bond, a_A / np.sqrt(3), 'a_A')
    planes = [('X' if number % 2 else 'M', number % 3, number * spacing) for number in range(2 * n + 1)]
    if 'T' in radii:
        height = _other_side(radii['M'] + radii['T'], a_A / np.sqrt(3), 'a_A')
        hydroxyl = single_bond_radius({'O': 1.0}) + radii.get('H', 0.0)
        for third, outermost, sign in ((2 * n + 1, 2 * n * spacing, 1), (-1, 0.0, -1)):
            planes.append(('T', third % 3, outermost + sign * height))
            if 'H' in radii:
                planes.append(('H', third % 3, outermost + sign * (height + hydroxyl)))
    return _planes(planes, a_A, bond)


def _from_template(structure: str, radii: Radii, sizes: Sizes) -> Layer:
    """Return a layer with the proportions of a known crystal."""
    (a_A, b_A), atoms = TEMPLATES[structure]
    roles = tuple(role for role, *_ in atoms)
    fractions = np.array([[x, y] for _, x, y, _ in atoms])
    heights = np.array([height for *_, height in atoms])
    crystal = Atoms('H' * len(atoms), cell=[a_A, b_A, 30], pbc=(True, True, False))
    crystal.positions = np.column_stack([fractions * [a_A, b_A], heights])
    others = 'A' if structure == 'black_phosphorus' else 'X'
    big = crystal.repeat((5, 5, 1))
    targets = big.positions[np.tile([role == others for role in roles], 25)]
    centre = big.positions[12 * len(atoms)]
    distances = np.sort(np.linalg.norm(targets - centre, axis=1))
    mean = float(distances[distances > 1e-3][: BONDED_NEIGHBOURS[structure]].mean())
    estimate = radii.get('M', radii.get('A', 0.0)) + radii[others]
    scale = sizes.a_A / a_A if sizes.a_A else (sizes.bond_A or estimate) / mean
    return Layer(np.diag([a_A, b_A]) * scale, roles, fractions % 1.0, heights * scale, mean * scale)


def _other_side(length_A: float, side_A: float, name: str) -> float:
    """Return the other side of a right triangle with this hypotenuse, and refuse a flat one."""
    square = length_A**2 - side_A**2
    if square < MIN_HEIGHT_A**2:
        largest = float(np.sqrt(length_A**2 - MIN_HEIGHT_A**2))
        limit = largest * (float(np.sqrt(3)) if name == 'a_A' else 2)
        raise AutopipeError(
            Code.OUT_OF_RANGE,
            f'{name} is too large for a bond of {length_A:.3f} Å; the maximum is {limit:.3f} Å',
        )
    return float(np.sqrt(square))


def contact_distance(layers: list[Layer], occupation: Mapping[str, dict[str, float]], *, bulk: bool) -> float:
    """Return the distance in Å between the mid-planes of adjacent layers at which they touch.

    Two atoms of adjacent layers are at least as far apart as the sum of their van der Waals radii. In bulk, the first
    layer follows the last one.
    """
    radii = {role: van_der_waals_radius(fractions) for role, fractions in occupation.items()}
    found = 0.0
    for lower, upper in pairwise([*layers, layers[0]] if bulk else layers):
        sums = np.array([radii[role] for role in lower.roles])[:, None] + [radii[role] for role in upper.roles]
        steps = lower.fractions[:, None] - upper.fractions
        images = np.array([[i, j] for i in (-1, 0, 1) for j in (-1, 0, 1)])
        vectors = (steps - np.round(steps))[:, :, None] + images
        lateral = np.linalg.norm(vectors @ lower.cell, axis=-1).min(axis=-1)
        rise = lower.heights[:, None] - upper.heights + np.sqrt(np.maximum(sums**2 - lateral**2, 0.0))
        found = max(found, float(rise.max()))
    return found


def stack(layer: Layer, stacking: Stacking, n_layers: int) -> list[Layer]:
    """Return the layers of a stack from the bottom, each rotated and shifted by its registry.

    Raises
    ------
    AutopipeError
        If a rectangular layer has no such registry.
    """
    if not layer.is_hexagonal and stacking not in ('AA', 'AB'):
        raise AutopipeError(
            Code.VALUES_EXCLUDE, f'stacking: {stacking} needs hexagonal layers; rectangular layers allow only AA and AB'
        )
    step = np.array([1 / 3, 2 / 3]) if layer.is_hexagonal else np.array([0.5, 0.0])
    period = STACKINGS[stacking]
    found = []
    for number in range(n_layers):
        rotated, shift = period[number % len(period)]
        fractions = (-layer.fractions if rotated else layer.fractions) + shift * step
        found.append(Layer(layer.cell, layer.roles, fractions % 1.0, layer.heights, layer.bond_A))
    return found


def assemble(layers: list[Layer], distance_A: float, vacuum_A: float | None) -> tuple[Atoms, np.ndarray]:
    """Return a stack as atoms, and the role of each atom, shape (n,).

    Copper atoms are the placeholders. With a vacuum, the stack is in the middle of the cell; otherwise, it is repeated
    at the interlayer distance.
    """
    in_plane = layers[0].cell
    positions = np.vstack([
        np.column_stack([layer.fractions @ in_plane, layer.heights + number * distance_A])
        for number, layer in enumerate(layers)
    ])  # fmt: skip
    lowest = positions[:, 2].min()
    height = len(layers) * distance_A if vacuum_A is None else float(np.ptp(positions[:, 2])) + vacuum_A
    positions[:, 2] -= lowest - (0.0 if vacuum_A is None else vacuum_A / 2)
    cell = np.zeros((3, 3))
    cell[:2, :2], cell[2, 2] = in_plane, height
    roles = np.array([role for layer in layers for role in layer.roles])
    return Atoms('Cu' * len(positions), positions=positions, cell=cell, pbc=True), roles


def twisted_bilayer(layer: Layer, indices: tuple[int, int]) -> list[Layer]:
    """Return two hexagonal layers, the upper one rotated by a commensurate angle, in their common cell.

    For the indices m and n, ``cos θ = (n² + 4 n m + m²) / (2 (n² + n m + m²))``, and the cell contains n² + n m + m²
    cells of each layer (G. Trambly de Laissardière et al., Nano Lett. 10, 804, 2010).

    Raises
    ------
    AutopipeError
        If the layer is rectangular.
    """
    if not layer.is_hexagonal:
        raise AutopipeError(Code.VALUES_EXCLUDE, 'twist needs hexagonal layers')
    (m, n), found = indices, []
    cell = np.array([[n + m, m], [n, n + m]]) @ layer.cell
    for first, second in ((n, m), (m, n)):
        transformation = np.array([[first + second, second], [first, first + second]])
        span = range(2 * (m + n) + 1)
        steps = np.array(list(product(span, span)))
        inside = np.linalg.solve(transformation.T, steps.T).T
        cells = steps[((inside > -1e-9) & (inside < 1 - 1e-9)).all(axis=1)]
        fractions = (cells[:, None] + layer.fractions).reshape(-1, 2)
        fractions = np.linalg.solve(transformation.T, fractions.T).T % 1.0
        found.append(Layer(cell, layer.roles * len(cells), fractions, np.tile(layer.heights, len(cells)), layer.bond_A))
    return found
