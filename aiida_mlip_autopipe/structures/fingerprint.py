"""Fingerprints of structures, which do not see symmetry, the choice of cell, or supercells."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import gcd

import numpy as np
from ase import Atoms

from aiida_mlip_autopipe.structures.cells import complete_cell
from aiida_mlip_autopipe.structures.vacuum import empty_layers

REACH = 1.6  # sums of covalent radii seen from an atom; refinement carries what lies beyond
LEAST_REACH = 4.5  # Å, so that layers without bonds between them see one another
N_REFINEMENTS = 3
# Distances are compared in steps of 0.01 Å. The offset keeps ideal lattices, whose distances are round numbers, away
# from the edges between two steps.
STEP, OFFSET = 0.01, 0.0031415926


@dataclass
class Fingerprints:
    """The fingerprints that the next seed is compared with.

    Attributes
    ----------
    own
        Those of the entry that is being made.
    known
        Those of the entries before it whose seeds are compared with the seeds of other entries.
    """

    own: set[str] = field(default_factory=set)
    known: set[str] = field(default_factory=set)

    def end_entry(self, *, is_compared: bool) -> None:
        """Go on to the next entry, which is compared with this one where both are of that kind."""
        if is_compared:
            self.known |= self.own
        self.own = set()

    def as_dict(self) -> dict[str, list[str]]:
        """Return them as JSON, the same for equal sets."""
        return {'own': sorted(self.own), 'known': sorted(self.known)}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Sequence[str]]) -> Fingerprints:
        """Return what `as_dict` wrote."""
        return cls(set(stored['own']), set(stored['known']))


def fingerprint(atoms: Atoms) -> str:
    """Return a hash that two structures share if they are the same up to rotation, reflection, origin and supercell.

    Every atom is coloured by its element, charge, moment and whether it is fixed; then, three times, anew by its colour
    and those of its neighbours with their distances (colour refinement, Weisfeiler and Lehman 1968). The fingerprint is
    the share of each colour, and the thickness of a vacuum, which no atom sees. Neighbours are those within 1.6 times
    the largest sum of covalent radii, and at least those within 4.5 Å.
    """
    from ase.data import covalent_radii
    from matscipy.neighbours import neighbour_list

    from aiida_mlip_autopipe.structures.seed import fixed_mask

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
    shells = np.floor((distances + OFFSET) / STEP).astype(np.uint64)
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
        text += f';{np.floor((gap + OFFSET) / STEP):.0f}'
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
