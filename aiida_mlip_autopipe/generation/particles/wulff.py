"""Particles and wires cut from a crystal: the Wulff construction, and complete shells of atoms around a centre."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import product

import numpy as np
from ase import Atoms

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.core.wording import counted
from aiida_mlip_autopipe.generation.limits import check_time
from aiida_mlip_autopipe.generation.surfaces.slabs import SYMMETRY_TOLERANCE, Plane

SHELL_TOLERANCE = 1e-5  # relative; atoms whose distances differ by less are in one shell
NEUTRAL = 1e-6  # e
MAX_DEVIATION = 1.5  # largest factor between the requested and the actual number of atoms of a neutral particle
MAX_REMOVED = 0.2  # largest fraction of ions that are removed from a particle to make it neutral


@dataclass(frozen=True)
class Outline:
    """The shape of a particle, at a scale of 1: the region ``n · r <= d`` for each of its facets.

    Attributes
    ----------
    normals
        Unit normals of the facets, shape (m, 3).
    distances
        Distance of each facet from the centre, proportional to its surface energy [1]_, shape (m,).
    planes
        Miller indices of each facet.
    axis
        Unit vector along a wire, to which all normals are perpendicular; None for a particle.

    References
    ----------
    .. [1] G. Wulff, Z. Kristallogr. 34, 449 (1901).
    """

    normals: np.ndarray
    distances: np.ndarray
    planes: tuple[Plane, ...] = ()
    axis: np.ndarray | None = None

    def scales(self, vectors: np.ndarray) -> np.ndarray:
        """Return the scale at which the outline passes through each vector from the centre, shape (n,).

        A wire without facets is round.
        """
        if len(self.normals):
            return np.asarray((vectors @ self.normals.T / self.distances).max(axis=1))
        return np.asarray(np.linalg.norm(vectors - np.outer(vectors @ self.axis, self.axis), axis=1))  # type: ignore[arg-type]

    @cached_property
    def _vertices(self) -> np.ndarray:
        """The corners of the outline, shape (v, 3). For a wire, two of them are along the axis, at a distance of 1."""
        from scipy.spatial import HalfspaceIntersection

        normals, distances = self.normals, self.distances
        if self.axis is not None:
            normals = np.vstack([normals, self.axis, -self.axis])
            distances = np.append(distances, [1.0, 1.0])
        found = HalfspaceIntersection(np.column_stack([normals, -distances]), np.zeros(3))
        return np.asarray(found.intersections)

    @property
    def volume(self) -> float:
        """Volume at a scale of 1 in Å³; for a wire, the cross-section in Å²."""
        from scipy.spatial import ConvexHull

        if not len(self.normals):
            return float(np.pi)
        return float(ConvexHull(self._vertices).volume) / (1 if self.axis is None else 2)

    @property
    def radius(self) -> float:
        """Largest distance of the outline from the centre, or from the axis of a wire, at a scale of 1, in Å."""
        if not len(self.normals):
            return 1.0
        vectors = (
            self._vertices if self.axis is None else self._vertices - np.outer(self._vertices @ self.axis, self.axis)
        )
        return float(np.linalg.norm(vectors, axis=1).max())

    def missing_planes(self) -> list[Plane]:
        """Return the planes that the other facets cut off entirely."""
        on_facet = np.abs(self._vertices @ self.normals.T - self.distances) < SHELL_TOLERANCE * self.distances
        present = {plane for plane, corners in zip(self.planes, on_facet.sum(axis=0), strict=True) if corners >= 3}
        return [plane for plane in dict.fromkeys(self.planes) if plane not in present]


def wulff_outline(crystal: Atoms, energies: Mapping[Plane, float], axis: np.ndarray | None = None) -> Outline:
    """Return the Wulff shape of a crystal, or the cross-section of a wire cut from it.

    Planes that are equivalent by the symmetry of the crystal have the same energy, and so do opposite ones.

    Parameters
    ----------
    crystal
        The conventional cell.
    energies
        Surface energy of each plane in J/m²; only their ratios matter.
    axis
        Unit vector along a wire. Planes that do not contain it are omitted.

    Raises
    ------
    AutopipeError
        If two planes are equivalent, or if the planes do not enclose a particle or a wire.
    """
    import spglib

    cell = (crystal.cell.array, crystal.get_scaled_positions(), crystal.numbers)
    rotations = spglib.get_symmetry(cell, symprec=SYMMETRY_TOLERANCE)['rotations']
    reciprocal = np.linalg.inv(crystal.cell.array)
    named: dict[Plane, Plane] = {}
    for plane in energies:
        images = np.array(plane) @ rotations
        for image in sorted({tuple(image) for image in np.concatenate([images, -images]).tolist()}):
            if named.setdefault(image, plane) != plane:
                names = ' and '.join(' '.join(map(str, one)) for one in (named[image], plane))
                raise AutopipeError(
                    Code.VALUES_EXCLUDE, f'surface_energies: {names} are equivalent; remove one of them'
                )
    vectors = {image: reciprocal @ image for image in named}
    normals = {image: vector / np.linalg.norm(vector) for image, vector in vectors.items()}
    kept = [image for image in named if axis is None or abs(normals[image] @ axis) < 1e-6]
    needed = 3 if axis is None else 2
    if np.linalg.matrix_rank([normals[image] for image in kept] or np.zeros((1, 3)), tol=1e-6) < needed:
        shape = 'particle' if axis is None else 'wire along this axis'
        raise AutopipeError(
            Code.VALUES_INCOMPLETE,
            f'the planes {", ".join(" ".join(map(str, plane)) for plane in energies)} and their equivalents do not '
            f'enclose a {shape}; add the surface energy of another plane',
        )
    return Outline(
        np.array([normals[image] for image in kept]),
        np.array([energies[named[image]] for image in kept]),
        tuple(named[image] for image in kept),
        axis,
    )


def cut(
    crystal: Atoms, outline: Outline, n_atoms: int, *, period_A: float = 0.0, charged: bool = False
) -> tuple[Atoms, int]:
    """Return the particle of complete shells whose number of atoms is nearest to the requested one.

    The centre is an atom or a point on a grid of quarters of the cell: the first if several are equally good. If the
    crystal has formal charges, the nearest neutral particle is taken. If none is neutral, outer ions are removed from
    one whose size and charge deviate least.

    Parameters
    ----------
    crystal
        The conventional cell, with its formal charges as initial charges.
    outline
        The shape. A shell contains the atoms at the same scale of this shape.
    n_atoms
        Requested number of atoms; for a wire, in one period.
    period_A
        Length of one period of a wire in Å.
    charged
        Whether a particle may have a net formal charge.

    Returns
    -------
    tuple[Atoms, int]
        The particle, and the number of ions that were removed from it.

    Raises
    ------
    AutopipeError
        If no particle of about this size is neutral.
    """
    density = len(crystal) / crystal.get_volume()
    power = 3 if outline.axis is None else 2
    scale = (n_atoms / density / outline.volume / (period_A or 1.0)) ** (1 / power)
    cell_A = float(np.linalg.norm(crystal.cell.array.sum(axis=0)))
    limit = MAX_DEVIATION ** (1 / power) * scale + cell_A / outline.radius
    around = _repeat_around(crystal, limit * outline.radius + cell_A, period_A)
    charges = around.get_initial_charges()
    shells = [_shells(around, centre, outline, limit, period_A) for centre in _centres(crystal)]
    kept, n_removed = _nearest(shells, n_atoms), 0
    if charges.any() and not charged:
        neutral = [(order, sizes[abs(q) < NEUTRAL], q[abs(q) < NEUTRAL]) for order, sizes, q in shells]
        kept = _nearest(neutral, n_atoms)
        if not n_atoms / MAX_DEVIATION <= len(kept) <= n_atoms * MAX_DEVIATION:
            nearly_neutral = _nearest(shells, n_atoms, weight=1.0)
            kept = _neutralise(around, nearly_neutral)
            n_removed = len(nearly_neutral) - len(kept)
    if not len(kept):
        raise AutopipeError(
            Code.CHARGE_UNBALANCED,
            f'no particle of {crystal.get_chemical_formula(empirical=True)} of about {counted(n_atoms, "atom")} is '
            'neutral; use another size or other surface energies, or set charged: true',
        )
    particle = around[np.sort(kept)]
    if outline.axis is None:
        particle.positions -= particle.positions.mean(axis=0)
    particle.set_cell(None)
    particle.pbc = False
    return particle, n_removed


Shells = tuple[np.ndarray, np.ndarray, np.ndarray]


def _shells(atoms: Atoms, centre: np.ndarray, outline: Outline, limit: float, period_A: float) -> Shells:
    """Return the atoms from a centre outwards, and the numbers of atoms and the charges of complete shells."""
    check_time()
    vectors = atoms.positions - centre
    near = np.ones(len(vectors), dtype=bool)
    if outline.axis is not None:
        heights = vectors @ outline.axis / period_A
        near = (heights > -SHELL_TOLERANCE) & (heights < 1 - SHELL_TOLERANCE)
    indices = np.flatnonzero(near)
    scales = outline.scales(vectors[indices])
    order = np.argsort(scales, kind='stable')
    ends = np.diff(scales[order], append=np.inf) > SHELL_TOLERANCE * limit
    sizes = np.flatnonzero(ends) + 1
    # Rounding determines the order within a shell, so its atoms are sorted by their indices.
    order = order[np.lexsort((order, np.cumsum(ends) - ends))]
    sizes = sizes[scales[order][sizes - 1] <= limit]
    return indices[order], sizes, atoms.get_initial_charges()[indices[order]].cumsum()[sizes - 1]


def _nearest(shells: list[Shells], n_atoms: int, weight: float = 0.0) -> np.ndarray:
    """Return the atoms of the particle with the number of atoms nearest to the requested one; empty if none exists.

    With a weight, the charge in e counts too.
    """
    order, size, _ = min(
        ((order, size, q) for order, sizes, charges in shells for size, q in zip(sizes, charges, strict=True)),
        key=lambda particle: round(abs(particle[1] - n_atoms) + weight * abs(particle[2]), 6),
        default=(np.zeros(0, dtype=int), 0, 0.0),
    )
    return order[:size]


def _neutralise(atoms: Atoms, members: np.ndarray) -> np.ndarray:
    """Remove outer ions of the surplus sign, one after another, until a particle is neutral.

    Of the outermost tenth of these ions, the one whose removal leaves the smallest dipole is removed.

    Parameters
    ----------
    atoms
        The crystal.
    members
        The atoms of the particle, from the centre outwards.

    Returns
    -------
    np.ndarray
        The remaining atoms; none if more than `MAX_REMOVED` of them had to be removed.
    """
    charges = atoms.get_initial_charges()
    left = members
    while len(left) >= (1 - MAX_REMOVED) * len(members):
        total = float(charges[left].sum())
        if abs(total) < NEUTRAL:
            return left
        surplus = np.flatnonzero(charges[left] * total > 0)
        outer = surplus[-max(6, len(surplus) // 10) :]
        vectors = atoms.positions[left] - atoms.positions[left].mean(axis=0)
        dipole = charges[left] @ vectors
        dipoles = np.linalg.norm(dipole - charges[left][outer, None] * vectors[outer], axis=1)
        left = np.delete(left, outer[int(np.argmin(np.round(dipoles, 6)))])
    return left[:0]


def _repeat_around(crystal: Atoms, radius_A: float, length_A: float) -> Atoms:
    """Return all atoms of a crystal within a distance of the origin. They also suffice for a wire of this length."""
    reach = np.hypot(radius_A, length_A)
    widths = 1 / np.linalg.norm(np.linalg.inv(crystal.cell.array), axis=0)
    counts = np.ceil(reach / widths).astype(int) + 1
    atoms = crystal.repeat(2 * counts)
    atoms.positions -= counts @ crystal.cell.array
    return atoms[np.linalg.norm(atoms.positions, axis=1) <= reach]


def _centres(crystal: Atoms) -> np.ndarray:
    """Return the points around which particles are cut: the atoms, then a grid of quarters of the cell, (n, 3) in Å."""
    grid = np.array(list(product(range(4), repeat=3))) / 4
    return np.vstack([crystal.positions, grid @ crystal.cell.array])


def wire_period(crystal: Atoms, axis: tuple[int, int, int]) -> np.ndarray:
    """Return the shortest lattice vector of a crystal along a direction of its conventional cell, (3,) in Å."""
    import spglib

    found = spglib.find_primitive(
        (crystal.cell.array, crystal.get_scaled_positions(), crystal.numbers), symprec=SYMMETRY_TOLERANCE
    )
    vector = np.array(axis) @ crystal.cell.array
    steps = np.rint(vector @ np.linalg.inv(found[0])).astype(int)
    return np.asarray(vector / np.gcd.reduce(steps))


def along_z(wire: Atoms, period: np.ndarray, crystal: Atoms, vacuum_A: float) -> Atoms:
    """Return a wire with its period, a vector (3,) in Å, along z in a periodic cell with vacuum around it."""
    length = np.linalg.norm(period)
    axis = period / length
    # Of the cell vectors, the first that is not along the axis determines the rotation about it.
    across = next(v for v in crystal.cell.array if np.linalg.norm(np.cross(v, axis)) > 0.1 * np.linalg.norm(v))
    first = across - across @ axis * axis
    first /= np.linalg.norm(first)
    turned = wire.copy()
    turned.positions = wire.positions @ np.array([first, np.cross(axis, first), axis]).T
    turned.set_cell([*(np.ptp(turned.positions[:, :2], axis=0) + vacuum_A), length])
    turned.positions[:, :2] -= turned.positions[:, :2].min(axis=0) - vacuum_A / 2
    turned.pbc = True
    return turned
