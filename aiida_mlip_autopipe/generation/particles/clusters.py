"""Clusters with the shapes of nanoparticles, random clusters, and their surface layers and facets."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Literal

import numpy as np
from ase import Atoms

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.generation.limits import check_time
from aiida_mlip_autopipe.generation.particles.molecules import rotation_onto_z

Family = Literal['icosahedron', 'decahedron', 'octahedron', 'truncated_octahedron', 'cuboctahedron']
FAMILIES: tuple[Family, ...] = ('icosahedron', 'decahedron', 'octahedron', 'truncated_octahedron', 'cuboctahedron')

N_TRIALS = 200
NEIGHBOUR_FACTOR = 1.2  # maximum distance between neighbours, divided by the smallest distance
FACET_TOLERANCE = 1e-3  # of normals, of distances in Å and of areas in Å²
CLOSEST = 0.9  # minimum distance in a random cluster, in units of the sum of the covalent radii
# Minimum distances between anions and between cations, in units of the sum of the covalent radii; for oxygen, at least
# 2.2 Å (MgO has 2.98).
LIKE_ANIONS, LIKE_CATIONS, MIN_ANIONS = 1.5, 1.0, 2.2


def make_family(shape: Family, n_shells: int, a_A: float) -> Atoms:
    """Return the member of a family of fcc clusters with a given number of shells around its centre.

    The numbers of atoms are 13, 55, 147 … for icosahedra [1]_, for decahedra of Ino's type [2]_ and for cuboctahedra;
    6, 19, 44 … for octahedra; and 38, 201, 586 … for truncated octahedra with regular hexagons.

    Parameters
    ----------
    shape
        The family.
    n_shells
        Number of shells; 1 for the smallest member.
    a_A
        Lattice constant of the fcc crystal in Å.

    References
    ----------
    .. [1] A. L. Mackay, Acta Cryst. 15, 916 (1962).
    .. [2] S. Ino, J. Phys. Soc. Jpn. 21, 346 (1966).
    """
    from ase.cluster import Decahedron, Icosahedron, Octahedron

    if shape == 'icosahedron':
        return _plain(Icosahedron('Cu', n_shells + 1, a_A))
    if shape == 'decahedron':
        return _plain(Decahedron('Cu', n_shells + 1, n_shells + 1, 0, a_A))
    length, cutoff = {
        'octahedron': (n_shells + 1, 0),
        'truncated_octahedron': (3 * n_shells + 1, n_shells),
        'cuboctahedron': (2 * n_shells + 1, n_shells),
    }[shape]
    return _plain(Octahedron('Cu', length, cutoff, a_A))


def family_size(shape: Family, n_shells: int) -> int:
    """Return the number of atoms of the member of a family that `make_family` makes."""
    if shape in ('icosahedron', 'decahedron', 'cuboctahedron'):
        return (10 * n_shells**3 + 15 * n_shells**2 + 11 * n_shells + 3) // 3
    length = n_shells + 1 if shape == 'octahedron' else 3 * n_shells + 1
    octahedron = length * (2 * length**2 + 1) // 3
    # A truncated octahedron lacks a pyramid at each of the six corners.
    pyramid = 0 if shape == 'octahedron' else n_shells * (n_shells + 1) * (2 * n_shells + 1) // 6
    return octahedron - 6 * pyramid


def nearest_member(shape: Family, n_atoms: int, a_A: float) -> Atoms:
    """Return the cluster of a family with the number of atoms nearest to the requested one.

    Decahedra may also be Marks decahedra (L. D. Marks, Philos. Mag. A 49, 81, 1984): p, q and r are varied. If several
    are equally near, the one with the smallest radius of gyration is used.
    """
    from ase.cluster import Decahedron

    if shape != 'decahedron':
        return min(_members(shape, n_atoms, a_A), key=lambda atoms: abs(len(atoms) - n_atoms))
    # A decahedron whose five-fold axis has h atoms has more than h³/6 atoms.
    longest = int((12 * n_atoms) ** (1 / 3)) + 2
    sizes = {
        (p, q, r): _decahedron_size(p, q, r)
        for p, q, r in product(range(2, longest), range(1, longest), range(longest))
        if p + q + 2 * r <= longest + 1
    }
    nearest = min(abs(size - n_atoms) for size in sizes.values())
    candidates = [_plain(Decahedron('Cu', *pqr, a_A)) for pqr, size in sizes.items() if abs(size - n_atoms) == nearest]
    return min(candidates, key=lambda atoms: round(float((atoms.positions**2).sum(axis=1).mean()), 6))


def _decahedron_size(p: int, q: int, r: int) -> int:
    """Return the number of atoms of a decahedron with ASE's parameters."""
    h, g = p + q + 2 * r - 1, p + 2 * r
    return h + sum(5 * (h - n) for n in range(1, min(h, g)) for i in range(n) if n - i < g - r and i < g - r)


def _members(shape: Family, n_atoms: int, a_A: float) -> Iterator[Atoms]:
    """Yield the members of a family, up to the first one that is at least as large as requested."""
    n_shells = 1
    while True:
        check_time()
        atoms = make_family(shape, n_shells, a_A)
        yield atoms
        if len(atoms) >= n_atoms:
            return
        n_shells += 1


def _plain(atoms: Atoms) -> Atoms:
    return Atoms(atoms.symbols, atoms.positions - atoms.positions.mean(axis=0))


def grow(atoms: Atoms, distance_factor: float, rng: np.random.Generator) -> Atoms | None:
    """Return a random compact cluster of the same atoms, or None if an atom does not fit anywhere.

    The atoms are added in a random order. Each touches an earlier atom, at the sum of their radii, and no two atoms are
    closer than 0.9 times this sum. The position nearest to the centre is chosen from 200 random ones. Each ion touches
    an ion of opposite charge, and is farther away from ions of like charge.

    Parameters
    ----------
    atoms
        The elements, and the formal charges as initial charges. Positions are not used.
    distance_factor
        Distance between touching atoms, divided by the sum of their covalent radii.
    rng
        Source of all random numbers.
    """
    from ase.data import covalent_radii

    placed = _alternating(atoms[rng.permutation(len(atoms))])
    radii = distance_factor * covalent_radii[placed.numbers]
    charges = placed.get_initial_charges()
    sums = radii[:, None] + radii
    anions, cations = charges < 0, charges > 0
    lowest = CLOSEST * sums
    lowest = np.where(anions[:, None] & anions, np.maximum(LIKE_ANIONS * sums, MIN_ANIONS), lowest)
    lowest = np.where(cations[:, None] & cations, LIKE_CATIONS * sums, lowest)
    positions = np.zeros((len(placed), 3))
    for atom in range(1, len(placed)):
        check_time()
        partners = np.flatnonzero(charges[:atom] * charges[atom] < 0) if charges.any() else np.arange(atom)
        if not len(partners):
            return None
        chosen = rng.choice(partners, N_TRIALS)
        directions = rng.normal(size=(N_TRIALS, 3))
        directions /= np.linalg.norm(directions, axis=1)[:, None]
        trials = positions[chosen] + sums[atom, chosen][:, None] * directions
        distances = np.linalg.norm(trials[:, None] - positions[:atom], axis=2)
        free = (distances >= lowest[atom, :atom] - 1e-9).all(axis=1)
        if not free.any():
            return None
        outside = np.linalg.norm(trials - positions[:atom].mean(axis=0), axis=1)
        positions[atom] = trials[int(np.argmin(np.where(free, np.round(outside, 9), np.inf)))]
    placed.positions = positions - positions.mean(axis=0)
    return placed[np.argsort(placed.numbers, kind='stable')]


def random_members(crystal: Atoms, n_atoms: int) -> tuple[Atoms, float]:
    """Return the atoms of whole formula units of a crystal, and the factor that scales covalent radii to its distances.

    The positions of the atoms have no meaning. The factor is the smallest distance in the crystal, divided by the sum
    of the covalent radii of these two atoms.
    """
    from ase.data import covalent_radii

    units = crystal.symbols.formula.reduce()[1]
    unit = np.concatenate([
        np.flatnonzero(crystal.numbers == one)[: np.sum(crystal.numbers == one) // units]
        for one in np.unique(crystal.numbers)
    ])  # fmt: skip
    distances = _distances_from_cell(crystal)
    one, other = np.unravel_index(int(np.argmin(np.round(distances, 6))), distances.shape)
    sums = covalent_radii[crystal.numbers[one]] + covalent_radii[crystal.numbers[other % len(crystal)]]
    members = crystal[np.tile(unit, n_atoms // len(unit))]
    members.set_cell(None)
    members.pbc = False
    return members, float(distances[one, other] / sums)


def _alternating(atoms: Atoms) -> Atoms:
    """Return ions in an order in which the total charge stays near zero; atoms without charges keep their order."""
    charges = atoms.get_initial_charges()
    if not charges.any():
        return atoms
    left = {sign: list(np.flatnonzero(np.sign(charges) == sign)) for sign in (1, -1, 0)}
    order, total = [], 0.0
    while left[1] or left[-1]:
        sign = 1 if left[1] and (total <= 0 or not left[-1]) else -1
        order.append(left[sign].pop(0))
        total += charges[order[-1]]
    return atoms[[int(atom) for atom in [*order, *left[0]]]]


def surface_layers(atoms: Atoms, n_layers: int, full_coordination: int, nearest_A: float) -> np.ndarray:
    """Return which atoms of a cluster belong to its outer layers, shape (n,).

    A surface atom has fewer neighbours than an atom of the crystal. The next layer is the surface of what remains.

    Parameters
    ----------
    atoms
        The cluster.
    n_layers
        Number of layers.
    full_coordination
        Number of neighbours in the crystal, within 1.2 times the nearest-neighbour distance.
    nearest_A
        Nearest-neighbour distance in the crystal in Å.
    """
    distances = atoms.get_all_distances()
    np.fill_diagonal(distances, np.inf)
    near = distances < NEIGHBOUR_FACTOR * nearest_A
    inside = np.ones(len(atoms), dtype=bool)
    for _ in range(n_layers):
        inside &= (near & inside).sum(axis=1) >= full_coordination
    return ~inside


def fcc_constant(crystal: Atoms, shape: str) -> float:
    """Return the lattice constant of an fcc crystal with one kind of site in Å."""
    import spglib

    cell = (crystal.cell.array, crystal.get_scaled_positions(), crystal.numbers)
    number = spglib.get_spacegroup(cell, symprec=1e-3).split('(')[1].rstrip(')')
    if number != '225' or len(crystal) != 4 or len(set(crystal.numbers)) > 1:
        raise AutopipeError(
            Code.HOST_UNSUITABLE,
            f'the shape {shape} needs an fcc crystal with one kind of site; {crystal.get_chemical_formula()} has the '
            f'space group {number}; set lattice: fcc, or use the shape wulff',
        )
    return float(crystal.cell.lengths()[0])


def coordination(crystal: Atoms) -> tuple[float, int]:
    """Return the nearest-neighbour distance in a crystal in Å, and the largest number of neighbours of an atom."""
    distances = _distances_from_cell(crystal)
    nearest = float(distances.min())
    return nearest, int((distances < NEIGHBOUR_FACTOR * nearest).sum(axis=1).max())


def _distances_from_cell(crystal: Atoms) -> np.ndarray:
    """Return the distances of the atoms of a cell to all others in 27 cells in Å; infinite from an atom to itself."""
    distances = crystal.repeat(3).get_all_distances(mic=True)[: len(crystal)]
    np.fill_diagonal(distances, np.inf)
    return np.asarray(distances)


def largest_facet_down(atoms: Atoms) -> Atoms:
    """Return a cluster rotated so that the largest facet of its convex hull points down.

    If several are equally large, the one with the first normal is used, so that the choice does not depend on rounding.
    A cluster without a volume is not rotated.
    """
    from scipy.spatial import ConvexHull

    if np.linalg.matrix_rank(atoms.positions - atoms.positions[0], tol=0.1) < 3:
        return atoms
    hull = ConvexHull(atoms.positions)
    corners = atoms.positions[hull.simplices]
    areas = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1) / 2
    same_facet = (np.abs(hull.equations[:, None] - hull.equations) < FACET_TOLERANCE).all(axis=2)
    totals = same_facet @ areas
    largest = np.flatnonzero(totals > totals.max() - FACET_TOLERANCE)
    normal = min((hull.equations[facet, :3] for facet in largest), key=lambda one: np.round(one, 2).tolist())
    rested = atoms.copy()
    rested.positions = rotation_onto_z(-normal).apply(atoms.positions)
    return rested
