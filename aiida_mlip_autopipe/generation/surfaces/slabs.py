"""Geometry of slabs whose normal is z: layers, faces, polarity, vacuum."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from math import gcd

import numpy as np
from ase import Atoms

PLANE_TOLERANCE = 0.3  # Å, maximum thickness of a plane of atoms
CHARGE_TOLERANCE = 1e-3  # e, for planes whose ions have mean charges
POLARITY_LIMIT = 1e-3  # e/Å, dipole along the normal divided by the area
SYMMETRY_TOLERANCE = 0.05  # Å

DENOMINATOR = 6  # common denominator of the fractional coordinates of lattice points in a conventional cell

Plane = tuple[int, int, int]


@dataclass(frozen=True)
class Cut:
    """One termination of one plane of one crystal.

    Attributes
    ----------
    atoms
        The slab in vacuum, with its normal along z.
    crystal
        Index of the crystal.
    miller
        Miller indices of the plane.
    shift
        Position of the cut along the normal, from pymatgen.
    symmetric
        Whether its two faces are equivalent.
    stoichiometric
        Whether it has the composition of the crystal.
    polar
        Whether it has a net formal charge or a dipole along the normal.
    upside_down
        Whether its faces are exchanged.
    """

    atoms: Atoms
    crystal: int
    miller: Plane
    shift: float
    symmetric: bool
    stoichiometric: bool
    polar: bool
    upside_down: bool = False


def plane_order(plane: Plane) -> tuple[int, ...]:
    """Return a sort key for Miller indices. Small and positive ones come first."""
    return sum(abs(i) for i in plane), sum(i < 0 for i in plane), *(-i for i in plane)


def smallest_slab(crystal: Atoms, plane: Plane, thickness_A: float) -> float:
    """Return the number of atoms of a slab with the smallest cell in its plane.

    The result need not be an integer.

    Parameters
    ----------
    crystal
        The conventional cell, to which the Miller indices refer.
    plane
        Miller indices.
    thickness_A
        Thickness in Å.
    """
    import spglib

    cell = (crystal.cell.array, crystal.get_scaled_positions(), crystal.numbers)
    primitive, _, numbers = spglib.standardize_cell(
        cell, to_primitive=True, no_idealize=True, symprec=SYMMETRY_TOLERANCE
    )
    # The shortest reciprocal lattice vector along the normal is the inverse of the distance between lattice planes.
    normal = np.linalg.solve(crystal.cell.array, plane)
    steps = primitive @ normal
    spacing_A = gcd(*np.rint(DENOMINATOR * steps).astype(int).tolist()) / DENOMINATOR / np.linalg.norm(normal)
    return float(len(numbers) * thickness_A / spacing_A)


def distinct_planes(crystal: Atoms, max_index: int) -> list[Plane]:
    """Return the symmetry-distinct Miller indices up to a maximum absolute index (spglib).

    The symmetry is that of the crystal, not of its lattice: (101) and (011) of quartz differ. A plane and its opposite
    are equivalent, since a slab has both faces.
    """
    import spglib

    cell = (crystal.cell.array, crystal.get_scaled_positions(), crystal.numbers)
    rotations = spglib.get_symmetry(cell, symprec=SYMMETRY_TOLERANCE)['rotations']
    span = range(-max_index, max_index + 1)
    left = sorted((plane for plane in product(span, span, span) if gcd(*plane) == 1), key=plane_order)
    found = []
    while left:
        found.append(left[0])
        images = left[0] @ rotations
        equivalent = {tuple(image) for image in np.concatenate([images, -images]).tolist()}
        left = [plane for plane in left if plane not in equivalent]
    return found


def is_polar(slab: Atoms) -> bool:
    """Return whether a slab has a net formal charge or a dipole along its normal."""
    charges = slab.get_initial_charges()
    normal = np.cross(slab.cell.array[0], slab.cell.array[1])
    area = float(np.linalg.norm(normal))
    dipole = float(charges @ slab.positions @ normal) / area
    return bool(abs(charges.sum()) > 1e-6 or abs(dipole) / area > POLARITY_LIMIT)


def has_equivalent_faces(slab: Atoms) -> bool:
    """Return whether a symmetry operation maps the upper face of a slab onto its lower face (spglib)."""
    import spglib

    cell = (slab.cell.array, slab.get_scaled_positions(), slab.numbers)
    rotations = spglib.get_symmetry(cell, symprec=SYMMETRY_TOLERANCE)['rotations']
    return bool((rotations[:, 2, 2] == -1).any())


def set_vacuum(slab: Atoms, vacuum_A: float) -> None:
    """Set the thickness of the vacuum, with the slab in the centre of the cell and the third cell vector along z."""
    slab.positions[:, 2] += vacuum_A / 2 - slab.positions[:, 2].min()
    slab.cell[2] = [0, 0, float(np.ptp(slab.positions[:, 2])) + vacuum_A]


def planes_per_layer(slab: Atoms) -> int:
    """Return the number of planes of atoms that form a layer: the fewest, from the bottom, without a net formal charge.

    A layer is what the literature counts as one: a plane of a metal, of MgO (100) or of SrTiO3 (100), two planes of MgO
    (111), and three of rutile (110) or fluorite (111). Without formal charges every plane is a layer.
    """
    charges = np.bincount(atomic_planes(slab), weights=slab.get_initial_charges()).cumsum()
    neutral = np.flatnonzero(np.abs(charges) < CHARGE_TOLERANCE)
    return int(neutral[0]) + 1 if len(neutral) else 1


def trim(slab: Atoms, n_layers: int, *, keep_composition: bool) -> Atoms:
    """Remove lower planes of a slab until it is as thin as possible, with at least `n_layers` complete layers.

    Equivalent faces remain equivalent, and the thickness of the vacuum does not change. With `keep_composition`, the
    composition does not change either.
    """
    numbers, composition = atomic_planes(slab), slab.symbols.formula.reduce()[0]
    total, equivalent = int(numbers.max()) + 1, has_equivalent_faces(slab)
    vacuum_A = float(slab.cell[2, 2] - np.ptp(slab.positions[:, 2]))
    for kept in range(n_layers * planes_per_layer(slab), total):
        thinner = slab[numbers >= total - kept]
        if keep_composition and thinner.symbols.formula.reduce()[0].count() != composition.count():
            continue
        set_vacuum(thinner, vacuum_A)
        if not equivalent or has_equivalent_faces(thinner):
            return thinner
    return slab


def half_turn(slab: Atoms) -> np.ndarray:
    """Return the matrix (3, 3) of a rotation by 180° about the first cell vector."""
    axis = slab.cell.array[0] / np.linalg.norm(slab.cell.array[0])
    return np.asarray(2 * np.outer(axis, axis) - np.eye(3))


def upside_down(slab: Atoms) -> Atoms:
    """Return a slab rotated by 180° about its first cell vector, which must lie in its plane."""
    rotation = half_turn(slab)
    first, second, third = slab.cell.array @ rotation
    rotated = slab.copy()
    rotated.cell[:] = [first, -second, -third]
    rotated.positions[:] = slab.positions @ rotation - third
    return rotated


def atomic_planes(slab: Atoms) -> np.ndarray:
    """Return the index of the plane of each atom from the bottom, shape (n,). A plane is at most 0.3 Å thick."""
    heights = slab.positions[:, 2]
    numbers = np.empty(len(slab), dtype=int)
    number, lowest = -1, -np.inf
    for atom in np.argsort(heights, kind='stable'):
        if heights[atom] > lowest + PLANE_TOLERANCE:
            number, lowest = number + 1, heights[atom]
        numbers[atom] = number
    return numbers


def charges_by_element(atoms: Atoms) -> dict[str, float]:
    """Return the formal charge of each element, or an empty dict if charges are unknown or differ within an element."""
    pairs = set(zip(atoms.get_chemical_symbols(), atoms.get_initial_charges().tolist(), strict=True))
    charges = dict(pairs)
    return charges if len(charges) == len(pairs) and any(charges.values()) else {}


def slab_to_atoms(slab: object, charges: dict[str, float], vacuum_A: float) -> Atoms:
    """Return a slab as atoms, centred in its cell, with vacuum and with its normal along z."""
    from ase.geometry import cellpar_to_cell
    from pymatgen.io.ase import AseAtomsAdaptor

    found = AseAtomsAdaptor.get_atoms(slab)
    fractions = found.get_scaled_positions(wrap=True)
    # The slab starts above the widest gap, so that it is in one piece.
    heights = np.sort(fractions[:, 2])
    widest = int(np.argmax(np.diff(heights, prepend=heights[-1] - 1)))
    fractions[:, 2] = (fractions[:, 2] - heights[widest] + 1e-9) % 1
    cell = cellpar_to_cell([*found.cell.lengths()[:2], found.cell.lengths()[2], 90, 90, found.cell.angles()[2]])
    atoms = Atoms(found.symbols, scaled_positions=fractions, cell=cell, pbc=True)
    set_vacuum(atoms, vacuum_A)
    shorten_plane_vectors(atoms)
    anchor_in_plane(atoms)
    if charges:
        atoms.set_initial_charges([charges[symbol] for symbol in atoms.get_chemical_symbols()])
    return atoms[np.lexsort((*np.round(atoms.positions.T[:2], 3), np.round(atoms.positions[:, 2], 3)))]


def anchor_in_plane(atoms: Atoms) -> None:
    """Shift a slab in its plane so that an atom of its lowest layer is at the origin.

    Of all such atoms, the one that gives the first sorted list of atoms is used. Cuts that differ by a lattice vector
    then give the same slab, and the slab does not depend on rounding.
    """
    fractions = atoms.get_scaled_positions(wrap=False)
    tables = []
    for origin in fractions[atomic_planes(atoms) == 0]:
        moved = fractions.copy()
        # Rounding may put atoms that are on a cell face just below it.
        moved[:, :2] = (fractions[:, :2] - origin[:2] + 1e-6) % 1 - 1e-6
        rounded = np.round(np.column_stack([atoms.positions[:, 2], moved[:, :2], atoms.numbers]), 3) + 0.0
        tables.append((rounded[np.lexsort(rounded.T[::-1])].tolist(), moved))
    atoms.set_scaled_positions(min(tables, key=lambda table: table[0])[1])


def shorten_plane_vectors(atoms: Atoms) -> None:
    """Make the first two cell vectors the shortest in their plane (Gauss reduction), with the first along x."""
    first, second, third = atoms.cell.array
    while True:
        if np.linalg.norm(second) < np.linalg.norm(first) - 1e-9:
            first, second = second, first
        steps = np.round(first @ second / (first @ first) - 1e-9)
        if not steps:
            break
        second = second - steps * first
    if np.cross(first, second)[2] < 0:
        second = -second
    atoms.set_cell([first, second, third])
    atoms.rotate(-np.degrees(np.arctan2(first[1], first[0])), 'z', rotate_cell=True)
    atoms.wrap(pbc=(True, True, False))
