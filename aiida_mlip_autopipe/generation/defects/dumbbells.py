"""Dumbbells: two atoms that share a lattice site, along a direction of the crystal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.structures.vacuum import MAX_LAYER_OF_CRYSTAL_A, empty_layers

SYMMETRY_TOLERANCE = 0.01  # Å
NEIGHBOUR_RANGE_A = 8.0  # atoms within this distance limit the length of a dumbbell
# The directions that are stable in most metals with this lattice, by the number of the space group and the number of
# atoms in the primitive cell: fcc, bcc, hcp and diamond. P. Ehrhart et al., Landolt-Börnstein III/25 (1991), ch. 2; for
# <111> in bcc: D. Nguyen-Manh, A. P. Horsfield, S. L. Dudarev, Phys. Rev. B 73, 020101 (2006); for silicon: W.-K. Leung
# et al., Phys. Rev. Lett. 83, 2351 (1999).
DEFAULT_DIRECTIONS: dict[tuple[int, int], tuple[tuple[int, int, int], ...]] = {
    (225, 1): ((1, 0, 0),),
    (229, 1): ((1, 1, 0), (1, 1, 1)),
    (194, 2): ((0, 0, 1), (1, 0, 0)),
    (227, 2): ((1, 1, 0),),
}

Direction = tuple[int, int, int]


@dataclass(frozen=True)
class Axis:
    """A direction of a crystal.

    Attributes
    ----------
    family
        Its indices, or those of an equivalent direction, in the conventional cell.
    vector
        Unit vector (3,) in the frame of the structure.
    """

    family: Direction
    vector: np.ndarray


@dataclass(frozen=True)
class Dumbbell:
    """Two atoms around a site.

    Attributes
    ----------
    pair
        Elements of its first and of its second atom.
    site
        Index of the atom at its centre, which becomes its first atom.
    axis
        Its direction, from the second to the first atom.
    length_A
        Distance between the two atoms in Å.
    """

    pair: str
    site: int
    axis: Axis
    length_A: float

    @property
    def second(self) -> str:
        """The element of the added atom."""
        return self.pair.split('-')[1]

    def as_record(self) -> dict[str, Any]:
        """Return what the record of a seed contains."""
        return {'pair': self.pair, 'direction': list(self.axis.family), 'length_A': self.length_A}


def split_sites(atoms: Atoms, dumbbells: list[Dumbbell]) -> np.ndarray:
    """Move the first atom of each dumbbell away from its site, and return the positions of the second atoms (k, 3)."""
    positions = np.zeros((len(dumbbells), 3))
    for number, dumbbell in enumerate(dumbbells):
        half = dumbbell.axis.vector * dumbbell.length_A / 2
        positions[number] = atoms.positions[dumbbell.site] - half
        atoms.positions[dumbbell.site] += half
    return positions


def dumbbell_axes(crystal: Atoms, families: tuple[Direction, ...] = ()) -> list[Axis]:
    """Return all directions of some families, one for each pair of opposite directions.

    The conventional cell and the equivalent directions are those of the lattice of sites, regardless of the elements on
    them, so a solid solution on an fcc lattice has the directions of fcc (spglib).

    Parameters
    ----------
    crystal
        The structure.
    families
        Indices in the conventional cell; by default, those in `DEFAULT_DIRECTIONS`.

    Raises
    ------
    AutopipeError
        If the structure is not a crystal, or if its lattice has no default.
    """
    import spglib

    formula = crystal.get_chemical_formula()
    if not crystal.pbc.all() or empty_layers(crystal).max() > MAX_LAYER_OF_CRYSTAL_A:
        raise AutopipeError(
            Code.HOST_UNSUITABLE,
            f'dumbbells need a crystal, to which their directions refer; {formula} is not periodic or has vacuum',
        )
    sites = (crystal.cell.array, crystal.get_scaled_positions(), np.ones(len(crystal)))
    primitive = spglib.standardize_cell(sites, to_primitive=True, no_idealize=True, symprec=SYMMETRY_TOLERANCE)
    found = spglib.get_symmetry_dataset(primitive, symprec=SYMMETRY_TOLERANCE)
    families = families or DEFAULT_DIRECTIONS.get((found.number, len(primitive[1])), ())
    if not families:
        raise AutopipeError(
            Code.VALUE_MISSING,
            f'set dumbbell_directions; only fcc, bcc, hcp and diamond have defaults, and {formula} is not one of them',
        )
    cell = primitive[0].T  # columns are cell vectors
    conventional = cell @ np.linalg.inv(found.transformation_matrix)
    rotations = cell @ found.rotations @ np.linalg.inv(cell)
    axes: list[Axis] = []
    for family in families:
        vector = conventional @ family
        images = rotations @ (vector / np.linalg.norm(vector))
        for image in images[np.lexsort(-np.round(images, 6).T[::-1])]:
            if not any(abs(image @ axis.vector) > 1 - 1e-6 for axis in axes):
                axes.append(Axis(family, image))
    return axes


def dumbbell_length(host: Atoms, site: int, axis: np.ndarray, pair: str) -> float:
    """Return the distance in Å between the atoms of a dumbbell that leaves the most space for all atoms.

    All distances are divided by the sum of the covalent radii. At the length that maximises the shortest of them, the
    distance in the dumbbell equals the shortest one to another atom.

    Parameters
    ----------
    host
        The structure without the dumbbell.
    site
        Index of the atom at its centre.
    axis
        Unit vector (3,) from the second to the first atom of the dumbbell.
    pair
        Elements of its first and of its second atom, such as ``Fe-Cr``.
    """
    from ase.data import atomic_numbers, covalent_radii
    from matscipy.neighbours import neighbour_list

    first, other, vectors = neighbour_list('ijD', host, cutoff=NEIGHBOUR_RANGE_A)
    neighbours, vectors = other[first == site], vectors[first == site]
    radii = covalent_radii[[atomic_numbers[symbol] for symbol in pair.split('-')]]
    roots = []
    for side, radius in zip((1, -1), radii, strict=True):
        # d / (r1 + r2) = |v - side d/2 axis| / (radius + r), a quadratic equation in d.
        ratio = (radius + covalent_radii[host.numbers[neighbours]]) / radii.sum()
        squared = ratio**2 - 0.25
        linear, constant = side * (vectors @ axis), (vectors**2).sum(axis=1)
        with np.errstate(invalid='ignore', divide='ignore'):
            solution = (np.sqrt(linear**2 + 4 * squared * constant) - linear) / (2 * squared)
        roots.append(solution[np.isfinite(solution) & (solution > 0)])
    return float(np.concatenate(roots).min())
