"""Molecules on slabs: the atom through which a molecule binds, its orientation, and its position above a site.

A molecule binds through its lone pair (O, N, S, P and Cl), through the open shell of a radical, or, as CO does, through
carbon. Molecules that bind through several atoms or through a bond, or in a way that is not established, such as C2H4,
NO2 and HF, are not listed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from ase import Atoms

from aiida_mlip_autopipe.generation.surfaces.adsorption_sites import Site

if TYPE_CHECKING:
    from scipy.spatial.transform import Rotation

MOLECULE_FACTOR = 1.6  # minimum distance between atoms of two molecules, in units of the sum of the covalent radii
# The element that binds. Of several atoms of this element, the one with the fewest neighbours binds.
BINDING_ELEMENTS = {
    'C': ('CO CN CS CH CH2_s1A1d CH2_s3B1d CH3 CCH C2H3 C2H5 C3H7 C3H9C HCO CH3CO H2COH'),
    'N': ('NO N2O NH NH2 NH3 N2H4 ClNO HCN CH3CN CF3CN H2CCHCN H3CNH2 CH3CH2NH2 C2H6NH C3H9N CH2NHCH2 C5H5N'),
    'O': (
        'OH H2O CH3O CH3OH CH3CH2O CH3CH2OH C2H6CHOH CH3OCH3 CH3CH2OCH3 CH2OCH2 H2CO CH3CHO CH3COCH3 HCOOH CH3COOH '
        'HCOOCH3 CH3CONH2'
    ),
    'S': 'SH SH2 SO SO2 CH3S CH3SH CH3CH2SH CH3SCH3 CH2SCH2',
    'P': 'PH2 PH3 PF3',
    'Si': 'SiH2_s1A1d SiH2_s3B1d SiH3',
    'Cl': 'CH3Cl CH3CH2Cl C3H7Cl',
}
BOND_FACTOR = 1.25  # maximum length of a bond, in units of the sum of the covalent radii


def binding_atom(name: str, molecule: Atoms) -> int | None:
    """Return the index of the atom through which a molecule of the G2 collection binds, or None if it is not listed."""
    element = next((symbol for symbol, names in BINDING_ELEMENTS.items() if name in names.split()), None)
    if element is None:
        return None
    bonds = _bonds(molecule)
    return min(np.flatnonzero(molecule.symbols == element).tolist(), key=lambda atom: len(bonds[atom]))


def set_upright(name: str, molecule: Atoms) -> Atoms:
    """Return a molecule rotated so that its other atoms are as high above its binding atom as possible.

    If they cannot all be higher, only the atoms that are bonded to it count. A molecule without a known binding atom
    keeps its orientation, and so does one whose binding atom lies between its neighbours, such as planar CH3.
    """
    atom = binding_atom(name, molecule)
    if atom is None:
        return molecule
    vectors = molecule.positions - molecule.positions[atom]
    up = _most_open(np.delete(vectors, atom, axis=0))
    if up is None:
        up = _most_open(vectors[_bonds(molecule)[atom]])
    if up is None or up[2] > 1 - 1e-9:
        return molecule
    upright = molecule.copy()
    upright.positions = rotation_onto_z(up).apply(molecule.positions)
    return upright


def rotation_onto_z(direction: np.ndarray) -> Rotation:
    """Return the rotation by the smallest angle that turns a unit vector (3,) onto z."""
    from scipy.spatial.transform import Rotation

    axis = np.cross(direction, [0, 0, 1])
    sine = np.linalg.norm(axis)
    # Opposite directions have no unique common normal; a rotation by 180° about any axis normal to them exchanges them.
    axis = axis / sine if sine > 1e-9 else np.array([1.0, 0.0, 0.0])
    return Rotation.from_rotvec(np.arctan2(sine, direction[2]) * axis)


def _most_open(vectors: np.ndarray) -> np.ndarray | None:
    """Return the unit vector u that maximises the smallest u · v, or None if no u has only positive products.

    This is the least distance problem, min |x| for v · x >= 1 with u = x / |x|, solved by non-negative least
    squares (C. L. Lawson, R. J. Hanson, Solving Least Squares Problems, SIAM 1995, ch. 23).
    """
    from scipy.optimize import nnls

    matrix, target = np.vstack([vectors.T, np.ones(len(vectors))]), np.array([0.0, 0.0, 0.0, 1.0])
    weights, distance = nnls(matrix, target)
    if distance < 1e-3:
        return None
    residual = matrix @ weights - target
    return np.asarray(-residual[:3] / residual[3] / np.linalg.norm(residual[:3] / residual[3]))


def rotate(molecule: Atoms, orientation: str, rng: np.random.Generator) -> Atoms:
    """Return the molecule in its orientation; random orientations are uniform over all rotations."""
    from scipy.spatial.transform import Rotation

    rotated = Atoms(molecule.symbols, molecule.positions - molecule.positions.mean(axis=0))
    if orientation == 'flipped':
        rotated.positions *= [1, -1, -1]
    elif orientation == 'random':
        rotated.positions = Rotation.random(rng=rng).apply(rotated.positions)
    return rotated


def lower_onto(molecule: Atoms, anchor: int | None, slab: Atoms, site: Site, factor: float) -> None:
    """Move an atom of the molecule, by default the lowest, above the site, and lower the molecule onto the slab."""
    from ase.data import covalent_radii

    lowest = molecule.positions[int(molecule.positions[:, 2].argmin())]
    above = lowest if anchor is None else molecule.positions[anchor]
    molecule.positions[:, :2] += site.position[:2] - above[:2]
    sums = factor * (covalent_radii[molecule.numbers][:, None] + covalent_radii[slab.numbers])
    vectors = molecule.positions[:, None, :2] - slab.positions[None, :, :2]
    shifts = [i * slab.cell.array[0, :2] + j * slab.cell.array[1, :2] for i in (-1, 0, 1) for j in (-1, 0, 1)]
    lateral = np.min([np.linalg.norm(_wrapped(vectors, slab) + shift, axis=2) for shift in shifts], axis=0)
    touching = (
        slab.positions[None, :, 2] + np.sqrt(np.maximum(sums**2 - lateral**2, 0)) - molecule.positions[:, None, 2]
    )
    molecule.positions[:, 2] += touching[lateral < sums].max(initial=slab.positions[:, 2].max() - lowest[2])


def _wrapped(vectors: np.ndarray, slab: Atoms) -> np.ndarray:
    """Return in-plane vectors, wrapped into the cell centred on the origin."""
    plane = slab.cell.array[:2, :2]
    return np.asarray(vectors - np.round(vectors @ np.linalg.inv(plane)) @ plane)


def are_apart(one: Atoms, other: Atoms, slab: Atoms) -> bool:
    """Return whether two molecules on a slab are far enough apart."""
    from ase.data import covalent_radii

    sums = covalent_radii[one.numbers][:, None] + covalent_radii[other.numbers]
    vectors = one.positions[:, None] - other.positions[None]
    lateral = _wrapped(vectors[..., :2], slab)
    distances = np.sqrt((lateral**2).sum(axis=2) + vectors[..., 2] ** 2)
    return bool((distances > MOLECULE_FACTOR * sums).all())


def _bonds(molecule: Atoms) -> list[np.ndarray]:
    """Return the atoms to which each atom is bonded."""
    from ase.data import covalent_radii

    radii = covalent_radii[molecule.numbers]
    distances = molecule.get_all_distances()
    np.fill_diagonal(distances, np.inf)
    return [np.flatnonzero(row) for row in distances < BOND_FACTOR * (radii[:, None] + radii)]
