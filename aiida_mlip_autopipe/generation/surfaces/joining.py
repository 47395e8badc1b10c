"""Two slabs, one on top of the other: the gap at which their faces touch, the shift that fits best, and the stack."""

from __future__ import annotations

import numpy as np
from ase import Atoms

from aiida_mlip_autopipe.generation.surfaces.slabs import atomic_planes
from aiida_mlip_autopipe.structures.vacuum import count_connected_directions

# Distance in Å between the covalent spheres of two atoms: bonds are shorter (Cs metal 0.4, Sb across its puckered
# layers 0.6), and the distances between the layers of graphite (1.8), MoS2 (1.4) and GaSe (1.4) are longer.
MAX_BOND_GAP_A = 1.0
# The grid of shifts has six steps for each 1.5 Å or part of it, so it contains the halves and thirds of the cell.
GRID_STEP_A = 1.5
UNKNOWN_RADIUS_A = 2.0  # most metals whose van der Waals radius is known have 1.4 to 2.3
TIE = 1e-6  # shifts that differ by less are equally good; the first is taken


def is_layered(crystal: Atoms, slab: Atoms) -> bool:
    """Return whether a crystal has layers without bonds between them, and the slab is cut parallel to the layers."""
    return all(_n_bonded_directions(atoms) == 2 for atoms in (crystal, slab))


def _n_bonded_directions(atoms: Atoms) -> int:
    from ase.data import covalent_radii

    return count_connected_directions(atoms, np.array(covalent_radii)[atoms.numbers], MAX_BOND_GAP_A)


def contact_distances(lower: Atoms, upper: Atoms, *, bonded: bool) -> np.ndarray:
    """Return the distance in Å at which two atoms touch, for each atom of the lower and the upper slab (n, m).

    It is the sum of the covalent radii (Cordero 2008, in ASE). For two anions, and for all atoms if the slabs are not
    bonded, it is the sum of the van der Waals radii (Bondi 1964 and later ones, in ASE; 2 Å if unknown).
    """
    from ase.data import covalent_radii, vdw_radii

    covalent = np.array(covalent_radii)
    wide = np.where(np.isfinite(vdw_radii), vdw_radii, UNKNOWN_RADIUS_A)
    small, large = (radii[lower.numbers][:, None] + radii[upper.numbers] for radii in (covalent, wide))
    anions = np.outer(lower.get_initial_charges() < 0, upper.get_initial_charges() < 0)
    return np.asarray(np.where(anions, large, small) if bonded else large)


class Contact:
    """The upper face of a slab and the lower face of a slab above it, which have the same cell in their plane.

    Parameters
    ----------
    lower, upper
        The slabs, with their normal along z.
    bonded
        Whether covalent radii apply.
    """

    def __init__(self, lower: Atoms, upper: Atoms, *, bonded: bool):
        reach = contact_distances(lower, upper, bonded=bonded)
        depths = lower.positions[:, 2].max() - lower.positions[:, 2]
        heights = upper.positions[:, 2] - upper.positions[:, 2].min()
        near_lower, near_upper = depths < reach.max(), heights < reach.max()
        self.cell = lower.cell.array[:2, :2]
        self.squares = reach[near_lower][:, near_upper] ** 2
        self.offsets = depths[near_lower][:, None] + heights[near_upper]
        self.vectors = upper.positions[near_upper, :2] - lower.positions[near_lower, None, :2]
        charges = [slab.get_initial_charges() for slab in (lower[near_lower], upper[near_upper])]
        self.attracted = np.outer(*charges) <= 0
        steps = np.array([[i, j] for i in (0, 1, -1) for j in (0, 1, -1)])
        self.images = steps @ self.cell

    def _lateral_squares(self, shift: np.ndarray) -> np.ndarray:
        """Return the squared distances in the plane between atoms and nine images of others (n, m, 9)."""
        fractions = (self.vectors + shift) @ np.linalg.inv(self.cell)
        nearest = (fractions - np.round(fractions)) @ self.cell
        return np.asarray(np.sum((nearest[..., None, :] + self.images) ** 2, axis=-1))

    def gap_A(self, shift: np.ndarray) -> float:
        """Return the smallest distance from the highest to the lowest atom at which no two atoms are too close.

        Parameters
        ----------
        shift
            Shift of the upper slab in Å, shape (2,).
        """
        lateral = self._lateral_squares(shift).min(axis=-1)
        touching = self.squares > lateral
        return float(np.max(np.sqrt((self.squares - lateral)[touching]) - self.offsets[touching], initial=0.0))

    def attraction(self, shift: np.ndarray, gap_A: float) -> float:
        """Return the sum over pairs of 2x⁻⁶ - x⁻¹², where x is their distance divided by that at which they touch.

        Ions of like charge are left out. This Lennard-Jones sum with one depth for all pairs counts how many atoms
        touch.
        """
        heights = self.offsets + gap_A
        ratios = (self._lateral_squares(shift) + heights[..., None] ** 2) / self.squares[..., None]
        inverse = ratios[self.attracted] ** -3
        return float(np.sum(2 * inverse - inverse**2))

    def best_shift(self, origin: np.ndarray, cell: np.ndarray, spacing_A: float) -> np.ndarray:
        """Return the shift (2,) in Å, on a grid over a cell (2, 2), at which the most atoms of the two slabs touch.

        Parameters
        ----------
        origin
            The shift (2,) at the first point of the grid.
        cell
            The cell of the distinct shifts, as rows.
        spacing_A
            The smallest gap.
        """
        counts = 6 * np.ceil(np.linalg.norm(cell, axis=1) / GRID_STEP_A).astype(int)
        points = [np.array([i, j]) / counts @ cell for i in range(counts[0]) for j in range(counts[1])]
        shifts = [origin + point for point in points]
        found = np.array([self.attraction(shift, max(self.gap_A(shift), spacing_A)) for shift in shifts])
        return np.asarray(points[int(np.argmax(found > found.max() - TIE))])


def strained_supercell(slab: Atoms, steps: np.ndarray, cell: np.ndarray) -> Atoms:
    """Return a supercell of a slab in its plane, strained and rotated to fit a cell. Heights do not change.

    Parameters
    ----------
    slab
        The slab, with its normal along z.
    steps
        The supercell in units of the cell vectors of the slab, as rows of integers (2, 2).
    cell
        Its cell in Å (2, 2) after the strain.
    """
    from ase.build import make_supercell

    full_steps, full_cell = np.eye(3, dtype=int), np.diag([0.0, 0.0, float(slab.cell[2, 2])])
    full_steps[:2, :2], full_cell[:2, :2] = steps, cell
    found = make_supercell(slab, full_steps)
    found.set_cell(full_cell, scale_atoms=True)
    return found


def face(slab: Atoms, *, upper: bool) -> Atoms:
    """Return the plane of atoms at the upper or the lower face of a slab, sorted by element and position."""
    planes = atomic_planes(slab)
    atoms = slab[planes == (planes.max() if upper else 0)]
    return atoms[np.lexsort([*np.round(atoms.positions[:, :2], 4).T, atoms.numbers])]


def stack(lower: Atoms, upper: Atoms, shift: np.ndarray, gap_A: float, space_A: float) -> Atoms:
    """Return two slabs in one cell, with their normal along z.

    Parameters
    ----------
    lower, upper
        Slabs with the same cell in their plane.
    shift
        Shift of the upper slab in Å, shape (2,).
    gap_A
        Distance between the highest atom of the lower slab and the lowest atom of the upper slab.
    space_A
        The same distance above the upper slab, up to the periodic image of the lower slab.
    """
    above = upper.copy()
    above.positions[:, :2] += shift
    above.positions[:, 2] += lower.positions[:, 2].max() + gap_A - upper.positions[:, 2].min()
    joined = lower + above
    joined.set_cell([*lower.cell.array[:2], [0, 0, float(np.ptp(joined.positions[:, 2])) + space_A]])
    joined.positions[:, 2] -= lower.positions[:, 2].min()
    joined.wrap(pbc=(True, True, False))
    return joined
