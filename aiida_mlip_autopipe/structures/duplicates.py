"""Criteria for two structures to be the same, from the strictest to the most tolerant.

- Identical (`are_identical`): everything that defines them is equal, including tags, moments, charges and constraints.
  Merging and comparing datasets use it for two rows with the same seed and step.
- Exact copies (`content_digest`): elements, periodic directions, positions and cell are equal, the numbers bit for bit.
  The pool of a selection uses it to discard copies of frames and of structures in the reference dataset.
- The same crystal (`fingerprint`): equal up to rotation, reflection, origin and supercell, with distances compared in
  steps of `DISTANCE_STEP_A`. It distinguishes seeds and the terminations of a surface.
- The same labels (`join_alike`): composition, energy, volume without vacuum and the distribution of the forces agree
  within `ENERGY_TOLERANCE`, `VOLUME_TOLERANCE` and `FORCE_TOLERANCE`. Held-out sets, splits of a dataset and its
  metadata use it to find copies that were rotated, renumbered or repeated, or have a different vacuum.
- Close descriptors (`DESCRIPTOR_TOLERANCE`): the default ``duplicate_tolerance`` of the samplers, which choose only
  one of two frames within this distance. Structures that a descriptor cannot distinguish also count as the same.

No criterion can replace another. Seeds have no labels. Frames that were rotated or computed on another machine differ
by rounding errors. These move some distances across the boundary between two steps, so a fingerprint would miss such
copies, while labels have tolerances. How different two selected frames must be is a user setting.

The identities of seeds and trajectories (`Seed.seed_id`, `Trajectory.trajectory_id`) answer another question: whether
the data are the same, including how a seed was made.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from math import gcd

import numpy as np
from ase import Atoms
from ase.data import covalent_radii

from aiida_mlip_autopipe.structures.cells import complete_cell
from aiida_mlip_autopipe.structures.rows.row import Row
from aiida_mlip_autopipe.structures.seed import fixed_mask, structure_arrays
from aiida_mlip_autopipe.structures.vacuum import MIN_LAYER_OF_SLAB_A, empty_layers

DISTANCE_STEP_A = 0.01
"""Å; distances are compared in steps of this size for a fingerprint."""
ENERGY_TOLERANCE = 1e-5
"""eV per atom. Frames that are one femtosecond apart differ by more than this tolerance and the next two."""
VOLUME_TOLERANCE = 1e-4
"""Relative."""
FORCE_TOLERANCE = 1e-3
"""eV/Å, for each of the 17 quantiles of the norms of the forces."""
DESCRIPTOR_TOLERANCE = 1e-4
"""Distance between descriptors, which are unit vectors."""

REACH = 1.6  # range of an atom in units of the sum of the covalent radii; each refinement extends it
MIN_REACH_A = 4.5  # reaches across the gap between unbonded layers
# In units of the nearest-neighbour distance. fcc and hcp first differ at 1.63 and 1.73, beyond the 18 neighbours that
# they have in common. The next shells are at 1.91 and 2.
NEIGHBOUR_REACH = 1.8
N_REFINEMENTS = 3
# Å; shifts the round distances of ideal lattices away from the boundaries between two steps.
OFFSET = 0.0031415926


def are_identical(first: Atoms, second: Atoms) -> bool:
    """Return whether two structures are equal in all parts of a seed and in all constraints."""
    from ase.constraints import constrained_indices

    one, other = ({**structure_arrays(atoms), 'constrained': constrained_indices(atoms)} for atoms in (first, second))
    return all(np.array_equal(one[name], other[name]) for name in one)


def content_digest(numbers: np.ndarray, pbc: np.ndarray, cell: np.ndarray, positions: np.ndarray) -> bytes:
    """Return a digest of the elements, periodic directions, cell and positions."""
    # Adding zero turns -0.0 into 0.0, which is equal but has different bits.
    arrays = (np.asarray(array, dtype='<f8') + 0.0 for array in (cell, positions))
    header = numbers.astype('<i8').tobytes() + np.asarray(pbc, dtype=bool).tobytes()
    return hashlib.sha256(header + b''.join(array.tobytes() for array in arrays)).digest()


@dataclass
class Fingerprints:
    """The fingerprints for the comparison with the next seed.

    Attributes
    ----------
    own
        Fingerprints of the current entry.
    known
        Fingerprints of earlier entries whose seeds are compared with those of other entries.
    """

    own: set[str] = field(default_factory=set)
    known: set[str] = field(default_factory=set)

    def end_entry(self, *, is_compared: bool) -> None:
        """End the current entry. Its fingerprints are kept only if it is compared with other entries."""
        if is_compared:
            self.known |= self.own
        self.own = set()

    def as_dict(self) -> dict[str, list[str]]:
        """Return the fingerprints as JSON, identical for equal sets."""
        return {'own': sorted(self.own), 'known': sorted(self.known)}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Sequence[str]]) -> Fingerprints:
        """Return fingerprints from the output of `as_dict`."""
        return cls(set(stored['own']), set(stored['known']))


def fingerprint(atoms: Atoms) -> str:
    """Return a hash that is equal for structures that are the same up to rotation, reflection, origin and supercell.

    Each atom gets a colour from its element, charge, moment and whether it is fixed. Three times, it gets a new colour
    from its own colour and from the colours and distances of its neighbours (colour refinement, Weisfeiler and Lehman
    1968). The fingerprint consists of the fraction of each colour, and of the thickness of a vacuum that is wider than
    the range of the atoms. The range is the largest of three values: 1.6 times the largest sum of covalent
    radii, 1.8 times the largest distance of an atom to its nearest neighbour, and 4.5 Å.
    """
    from matscipy.neighbours import neighbour_list

    def neighbours(cutoff: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        found = neighbour_list(
            'ijd', positions=atoms.positions, cell=complete_cell(atoms), pbc=atoms.pbc, cutoff=cutoff
        )
        return found[0], found[1], found[2]

    reach = max(MIN_REACH_A, REACH * 2 * float(covalent_radii[atoms.numbers].max()))
    first, second, distances = neighbours(reach)
    nearest = np.full(len(atoms), np.inf)
    np.minimum.at(nearest, first, distances)
    widest = NEIGHBOUR_REACH * float(nearest[np.isfinite(nearest)].max(initial=0.0))
    if widest > reach:
        reach = widest
        first, second, distances = neighbours(reach)
    columns = np.column_stack(
        [
            atoms.numbers,
            np.round(atoms.get_initial_charges() * 1000),
            np.round(atoms.get_initial_magnetic_moments() * 1000),
            fixed_mask(atoms),
        ]
    ).astype(np.int64)
    colours = np.array([_hash(row.tobytes()) for row in columns], dtype=np.uint64)
    shells = np.floor((distances + OFFSET) / DISTANCE_STEP_A).astype(np.uint64)
    for _ in range(N_REFINEMENTS):
        # The contribution of each neighbour is mixed before the sum, so that the sum identifies the set of neighbours.
        mixed = _mix(colours[second] ^ _mix(shells))
        sums = np.zeros(len(atoms), dtype=np.uint64)
        np.add.at(sums, first, mixed)
        colours = _mix(_mix(colours) ^ sums)
    counts = Counter(colours.tolist())
    divisor = gcd(*counts.values()) if atoms.pbc.any() else 1
    text = ','.join(f'{colour}:{count // divisor}' for colour, count in sorted(counts.items()))
    if atoms.pbc.all() and (gap := float(empty_layers(atoms).max())) > reach:
        text += f';{np.floor((gap + OFFSET) / DISTANCE_STEP_A):.0f}'
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _hash(content: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), 'little')


def _mix(values: np.ndarray) -> np.ndarray:
    """Scramble 64-bit integers with the finaliser of splitmix64 (Steele, Lea, Flood 2014)."""
    with np.errstate(over='ignore'):
        values = values + np.uint64(0x9E3779B97F4A7C15)
        values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return np.asarray(values ^ (values >> np.uint64(31)))


@dataclass(frozen=True, eq=False)
class LabelledStructures:
    """Quantities of n labelled structures that are invariant under rotation, permutation and supercells.

    Attributes
    ----------
    formulas
        Empirical formulas (n).
    energies, volumes
        eV per atom, and `filled_extent` per atom (n,).
    forces
        Quantiles of the norms of the forces (n, 17), from `force_quantiles`.
    """

    formulas: Sequence[str]
    energies: np.ndarray
    volumes: np.ndarray
    forces: np.ndarray

    @classmethod
    def from_rows(cls, rows: Sequence[Row]) -> LabelledStructures:
        """Return these quantities for rows with energy and forces."""
        labels = [row.labels for row in rows]
        return cls(
            formulas=[row.empirical_formula for row in rows],
            energies=np.array([one['energy'] / len(row.atoms) for one, row in zip(labels, rows, strict=True)]),
            volumes=np.array(
                [
                    filled_extent(row.atoms.positions, row.atoms.cell.array, row.atoms.pbc) / len(row.atoms)
                    for row in rows
                ]
            ),
            forces=np.array([force_quantiles(one['forces']) for one in labels]),
        )

    @classmethod
    def concatenate(cls, parts: Sequence[LabelledStructures]) -> LabelledStructures:
        """Return the quantities of several collections, one after another."""
        parts = [part for part in parts if len(part.formulas)] or parts[:1]
        return cls(
            formulas=[formula for part in parts for formula in part.formulas],
            energies=np.concatenate([part.energies for part in parts]),
            volumes=np.concatenate([part.volumes for part in parts]),
            forces=np.concatenate([part.forces for part in parts]),
        )


def filled_extent(positions: np.ndarray, cell: np.ndarray, pbc: np.ndarray) -> float:
    """Return the volume of a crystal (Å³), the area of a slab (Å²), the length of a wire (Å), or 1 for a cluster.

    Directions that are not periodic or have vacuum do not count, because the thickness of the vacuum is arbitrary.

    Parameters
    ----------
    positions, cell
        In Å, (n, 3) and (3, 3).
    pbc
        Periodic directions (3,).
    """
    filled = np.asarray(pbc, dtype=bool).copy()
    if np.abs(np.linalg.det(cell)) > 0:
        inverse = np.linalg.inv(cell)
        fractions = np.sort(positions @ inverse % 1.0, axis=0)
        gaps = np.vstack([np.diff(fractions, axis=0), fractions[:1] + 1 - fractions[-1:]]).max(axis=0)
        filled &= gaps <= MIN_LAYER_OF_SLAB_A * np.linalg.norm(inverse, axis=0)
    vectors = cell[filled]
    return float(np.sqrt(max(np.linalg.det(vectors @ vectors.T), 0.0)))


def force_quantiles(forces: np.ndarray) -> np.ndarray:
    """Return the quantiles 0, 1/16, 2/16, …, 1 of the norms of forces (n, 3), in the same unit (17,).

    Each quantile is one of the norms and not interpolated, so a supercell has the quantiles of its primitive cell.
    """
    norms = np.sort(np.sqrt((forces**2).sum(axis=1)))
    places = -(-len(norms) * np.arange(17) // 16) - 1
    quantiles: np.ndarray = norms[np.maximum(places, 0)]
    return quantiles


def join_alike(
    structures: LabelledStructures, groups: Sequence[str], *, also: Iterable[tuple[str, str]] = ()
) -> list[str]:
    """Join the groups that share a structure.

    Two structures are copies if their composition, energy, volume without vacuum and the distribution of the norms of
    their forces agree within tolerances. Different structures hardly ever agree in all of these.

    Parameters
    ----------
    structures
        The quantities to compare.
    groups
        The group of each structure.
    also
        Further pairs of groups to join.

    Returns
    -------
    list of str
        The group of each structure; joined groups get the first of their names in alphabetical order.
    """
    parents = {group: group for group in groups}

    def root(group: str) -> str:
        while parents.setdefault(group, group) != group:
            group = parents[group]
        return group

    alike = ((groups[first], groups[second]) for first, second in _alike_pairs(structures))
    for pair in chain(alike, also):
        names = sorted(map(root, pair))
        parents[names[1]] = names[0]
    return [root(group) for group in groups]


def _alike_pairs(found: LabelledStructures) -> Iterator[tuple[int, int]]:
    order = np.argsort(found.energies, kind='stable')
    ends = np.searchsorted(found.energies[order], found.energies[order] + ENERGY_TOLERANCE, side='right')
    for place, first in enumerate(order):
        for second in order[place + 1 : ends[place]]:
            if (
                found.formulas[first] == found.formulas[second]
                and abs(found.volumes[first] - found.volumes[second]) <= VOLUME_TOLERANCE * found.volumes[first]
                and np.abs(found.forces[first] - found.forces[second]).max() <= FORCE_TOLERANCE
            ):
                yield int(first), int(second)
