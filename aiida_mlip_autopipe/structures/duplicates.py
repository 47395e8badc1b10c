"""When two structures are the same: all levels of comparison, from the strictest to the most tolerant.

- Identical (`are_identical`): everything that defines them is equal, including tags, moments, charges and constraints.
  Merging and comparing datasets uses it for two rows with the same seed and step.
- Exact copies (`content_digest`): elements, periodic directions, positions and cell are equal, the numbers bit by bit.
  The pool of a selection uses it to leave out copies of frames and of given structures.
- The same crystal (`fingerprint`): equal up to rotation, reflection, origin and supercell, with distances compared in
  steps of `DISTANCE_STEP_A`. It distinguishes seeds and the terminations of a surface.
- The same labels (`join_alike`): composition, energy, volume and the distribution of the forces agree within
  `ENERGY_TOLERANCE`, `VOLUME_TOLERANCE` and `FORCE_TOLERANCE`. Held-out sets, splits of a dataset and its card use it
  to find copies that were rotated, renumbered or repeated.
- Close descriptors (`DESCRIPTOR_TOLERANCE`): the default ``duplicate_tolerance`` of the samplers, which choose one of
  two frames that are not farther apart. Structures that a descriptor cannot tell apart count as the same, too.

No level can replace another. Seeds have no labels. Frames that were rotated or computed on another machine differ by
rounding, which moves some distances across the boundary between two steps, so a fingerprint would miss them; labels
have tolerances. How close two frames may be and still both be worth a row is a user setting.

The identities of seeds and trajectories (`Seed.seed_id`, `Trajectory.trajectory_id`) answer another question: whether
they are the same data, which includes how a seed was made.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import gcd

import numpy as np
from ase import Atoms
from ase.data import covalent_radii

from aiida_mlip_autopipe.structures.cells import complete_cell
from aiida_mlip_autopipe.structures.row import Row
from aiida_mlip_autopipe.structures.seed import fixed_mask, structure_arrays
from aiida_mlip_autopipe.structures.vacuum import empty_layers

DISTANCE_STEP_A = 0.01
"""Å; distances are compared in steps of this size for a fingerprint."""
ENERGY_TOLERANCE = 1e-5
"""eV per atom. A frame of the next femtosecond differs by more than this and the next two tolerances."""
VOLUME_TOLERANCE = 1e-4
"""Relative."""
FORCE_TOLERANCE = 1e-3
"""eV/Å, of every sixteenth of the sorted norms of the forces."""
DESCRIPTOR_TOLERANCE = 1e-4
"""Distance between descriptors, which have length one."""

REACH = 1.6  # sums of covalent radii that an atom sees; refinement adds what lies beyond
LEAST_REACH = 4.5  # Å, so that layers without bonds between them see one another
N_REFINEMENTS = 3
# Å; keeps ideal lattices, whose distances are round numbers, away from the edges between two steps.
OFFSET = 0.0031415926


def are_identical(first: Atoms, second: Atoms) -> bool:
    """Return whether two structures are equal in everything that a seed consists of and in all constraints."""
    from ase.constraints import constrained_indices

    one, other = ({**structure_arrays(atoms), 'constrained': constrained_indices(atoms)} for atoms in (first, second))
    return all(np.array_equal(one[name], other[name]) for name in one)


def content_digest(numbers: np.ndarray, pbc: np.ndarray, cell: np.ndarray, positions: np.ndarray) -> bytes:
    """Return a digest that is the same if the elements, periodic directions, cells and positions are equal."""
    # Adding zero turns -0.0 into 0.0, which is the same number with other bits.
    arrays = (np.asarray(array, dtype='<f8') + 0.0 for array in (cell, positions))
    kind = numbers.astype('<i8').tobytes() + np.asarray(pbc, dtype=bool).tobytes()
    return hashlib.sha256(kind + b''.join(array.tobytes() for array in arrays)).digest()


@dataclass
class Fingerprints:
    """The fingerprints that the next seed is compared with.

    Attributes
    ----------
    own
        Fingerprints of the entry that is being made.
    known
        Fingerprints of previous entries whose seeds are compared with the seeds of other entries.
    """

    own: set[str] = field(default_factory=set)
    known: set[str] = field(default_factory=set)

    def end_entry(self, *, is_compared: bool) -> None:
        """Proceed to the next entry, which is compared with this one if comparison is enabled for both."""
        if is_compared:
            self.known |= self.own
        self.own = set()

    def as_dict(self) -> dict[str, list[str]]:
        """Return the fingerprints as JSON, the same for equal sets."""
        return {'own': sorted(self.own), 'known': sorted(self.known)}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Sequence[str]]) -> Fingerprints:
        """Return fingerprints from the output of `as_dict`."""
        return cls(set(stored['own']), set(stored['known']))


def fingerprint(atoms: Atoms) -> str:
    """Return a hash that two structures share if they are the same up to rotation, reflection, origin and supercell.

    Every atom is coloured by its element, charge, moment and whether it is fixed; then, three times, anew by its colour
    and those of its neighbours with their distances (colour refinement, Weisfeiler and Lehman 1968). The fingerprint is
    the share of each colour, and the thickness of a vacuum, which no atom sees. Neighbours are those within 1.6 times
    the largest sum of covalent radii, and at least those within 4.5 Å.
    """
    from matscipy.neighbours import neighbour_list

    reach = max(LEAST_REACH, REACH * 2 * float(covalent_radii[atoms.numbers].max()))
    first, second, distances = neighbour_list(
        'ijd', positions=atoms.positions, cell=complete_cell(atoms), pbc=atoms.pbc, cutoff=reach
    )
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
        # A neighbour's contribution is mixed before it is summed, so that the sum stands for the set of neighbours.
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
    """Return 64-bit integers scrambled by the finaliser of splitmix64 (Steele, Lea, Flood 2014)."""
    with np.errstate(over='ignore'):
        values = values + np.uint64(0x9E3779B97F4A7C15)
        values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return np.asarray(values ^ (values >> np.uint64(31)))


@dataclass(frozen=True, eq=False)
class LabelledStructures:
    """Quantities of n labelled structures that rotation, permutation and supercells leave unchanged.

    Attributes
    ----------
    formulas
        Empirical formulas (n).
    energies, volumes
        eV and Å³, per atom (n,).
    forces
        Quantiles of the norms of the forces, as `force_quantiles` gives them (n, 17).
    """

    formulas: Sequence[str]
    energies: np.ndarray
    volumes: np.ndarray
    forces: np.ndarray

    @classmethod
    def from_rows(cls, rows: Sequence[Row]) -> LabelledStructures:
        """Return the compared quantities of rows with energy and forces."""
        return cls(
            formulas=[row.empirical_formula for row in rows],
            energies=np.array([row.labels['energy'] / len(row.atoms) for row in rows]),
            volumes=np.array([row.atoms.cell.volume / len(row.atoms) for row in rows]),
            forces=np.array([force_quantiles(row.labels['forces']) for row in rows]),
        )


def force_quantiles(forces: np.ndarray) -> np.ndarray:
    """Return every sixteenth of the sorted norms of forces (n, 3), in their unit (17,).

    A supercell has those of its primitive cell: each is one of the norms, by the inverse of their distribution.
    """
    norms = np.sort(np.sqrt((forces**2).sum(axis=1)))
    places = -(-len(norms) * np.arange(17) // 16) - 1
    quantiles: np.ndarray = norms[np.maximum(places, 0)]
    return quantiles


def join_alike(structures: LabelledStructures, groups: Sequence[str]) -> list[str]:
    """Join the groups that share a structure.

    Where composition, energy, volume and the distribution of the forces' norms agree within tolerances, two structures
    are copies: they hardly ever do by accident.

    Parameters
    ----------
    structures
        The quantities to compare.
    groups
        The group of each structure.

    Returns
    -------
    list of str
        The group of each structure; joined groups have the name of the first of them by alphabet.
    """
    parents = {group: group for group in groups}

    def root(group: str) -> str:
        while parents[group] != group:
            group = parents[group]
        return group

    for first, second in _alike_pairs(structures):
        names = sorted((root(groups[first]), root(groups[second])))
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
