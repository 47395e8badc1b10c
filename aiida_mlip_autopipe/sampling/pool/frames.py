"""The candidates of a selection: all distinct frames with finite values, from all trajectories."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols

from aiida_mlip_autopipe.sampling.pool.features import Features
from aiida_mlip_autopipe.structures.duplicates import content_digest
from aiida_mlip_autopipe.structures.excess_energy import excess_energies
from aiida_mlip_autopipe.structures.trajectory import Trajectory


@dataclass(frozen=True, eq=False)
class FramePool:
    """Candidates in an order that does not depend on the order of the trajectories.

    Attributes
    ----------
    trajectories
        The trajectories, in the order of the caller.
    trajectory_indices, frame_indices
        Index of each candidate's trajectory, and of its frame in this trajectory (m,), sorted by seed and step.
    discarded
        Number of discarded frames, by reason.
    reference
        The structures of the reference dataset, which count as chosen.
    kind_of_seed
        The kind of each seed, by its id.
    label_of_seed
        The label of the entry of each seed, by its id.
    repeated
        For each seed with discarded frames that are in the reference dataset, the indices of the structures there.
    copied
        Pairs of seeds with an identical frame, which is a candidate only of the first one.
    counted
        The frames that count as chosen (c, 2): the index of the trajectory and that of the frame.
    features
        Descriptors of the candidates and of the structures that count as chosen, by the key of the descriptor.
    """

    trajectories: Sequence[Trajectory]
    trajectory_indices: np.ndarray
    frame_indices: np.ndarray
    discarded: dict[str, int]
    reference: tuple[Atoms, ...] = ()
    kind_of_seed: Mapping[str, str] = field(default_factory=dict)
    label_of_seed: Mapping[str, str] = field(default_factory=dict)
    repeated: Mapping[str, Sequence[int]] = field(default_factory=dict)
    copied: Collection[tuple[str, str]] = ()
    counted: np.ndarray = field(default_factory=lambda: np.empty((0, 2), dtype=np.int64))
    features: Mapping[str, Features] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.frame_indices)

    @property
    def species(self) -> list[int]:
        """Atomic numbers of all elements in the trajectories and the reference dataset, in ascending order.

        All subsets of a pool have the same elements, so the descriptors do not depend on the subset.
        """
        explored = {int(z) for trajectory in self.trajectories for z in trajectory.numbers}
        return sorted(explored.union(*(map(int, atoms.numbers) for atoms in self.reference)))

    @property
    def n_frames(self) -> int:
        """Number of frames of all trajectories, including discarded ones."""
        return sum(map(len, self.trajectories))

    @property
    def n_reference(self) -> int:
        """Number of structures and frames that already count as chosen."""
        return len(self.reference) + len(self.counted)

    def temperatures(self) -> np.ndarray:
        """Return the target temperature of each candidate or, without one, its instantaneous temperature, in K (m,)."""
        return np.array(
            [
                self.trajectories[t].extra.get('target_temperature_K', self.trajectories[t].temperatures)[f]
                for t, f in zip(self.trajectory_indices, self.frame_indices, strict=True)
            ]
        )

    def n_atoms(self) -> np.ndarray:
        """Return the number of atoms of each candidate (m,)."""
        return np.array([len(self.trajectories[t].numbers) for t in self.trajectory_indices])

    def energies_per_atom(self) -> np.ndarray:
        """Return the energy of each candidate, in eV per atom (m,)."""
        return np.array(
            [
                self.trajectories[t].energies[f] / len(self.trajectories[t].numbers)
                for t, f in zip(self.trajectory_indices, self.frame_indices, strict=True)
            ]
        )

    def compositions(self) -> list[str]:
        """Return the empirical formula of each candidate, such as ``Au3Cu``."""
        formulas = {t: _empirical_formula(self.trajectories[t].numbers) for t in set(self.trajectory_indices)}
        return [formulas[t] for t in self.trajectory_indices]

    def seed_ids(self) -> list[str]:
        """Return the id of the seed of each candidate."""
        return [self.trajectories[t].seed_id for t in self.trajectory_indices]

    def kinds(self) -> list[str]:
        """Return the kind of the seed of each candidate, or ``unknown``."""
        return [self.kind_of_seed.get(seed_id, 'unknown') for seed_id in self.seed_ids()]

    def labels(self) -> list[str]:
        """Return the label of the entry of each candidate's seed, or ``unlabelled``."""
        return [self.label_of_seed.get(seed_id, 'unlabelled') for seed_id in self.seed_ids()]

    def has_kind(self, kinds: Sequence[str]) -> np.ndarray:
        """Return whether the seed of each candidate has one of the given kinds (m,), bool."""
        return np.isin(self.kinds(), list(kinds))

    def largest_forces(self) -> np.ndarray:
        """Return the magnitude of the largest force in each candidate, in eV/Å (m,)."""
        return np.array(
            [
                np.sqrt((self.trajectories[t].forces[f] ** 2).sum(axis=1).max())
                for t, f in zip(self.trajectory_indices, self.frame_indices, strict=True)
            ]
        )

    def excess_energies(self) -> np.ndarray:
        """Return the energy of each candidate above the lowest energy of its composition, in eV per atom (m,)."""
        return excess_energies(self.energies_per_atom(), self.compositions())

    def extra(self, name: str) -> np.ndarray:
        """Return the values of an extra array of the trajectories for each candidate (m,), or NaN if it is missing."""
        return np.array(
            [
                self.trajectories[t].extra[name][f] if name in self.trajectories[t].extra else np.nan
                for t, f in zip(self.trajectory_indices, self.frame_indices, strict=True)
            ]
        )

    def discard(self, unwanted: np.ndarray, reason: str) -> FramePool:
        """Return the pool without the unwanted candidates (m,), which are counted as discarded for this reason."""
        discarded = self.discarded | {reason: int(unwanted.sum())}
        return replace(self.subset(np.flatnonzero(~unwanted)), discarded=discarded)

    def subset(self, indices: np.ndarray, counted: np.ndarray | None = None) -> FramePool:
        """Return a pool with some of the candidates, by their indices. Those in ``counted`` count as chosen."""
        added = np.empty(0, dtype=np.int64) if counted is None else counted
        pairs = np.stack([self.trajectory_indices[added], self.frame_indices[added]], axis=1)
        return replace(
            self,
            trajectory_indices=self.trajectory_indices[indices],
            frame_indices=self.frame_indices[indices],
            counted=np.concatenate([self.counted, pairs]),
            features={key: features.subset(indices, added) for key, features in self.features.items()},
        )

    def structures(self, start: int = 0, stop: int | None = None) -> Iterator[Atoms]:
        """Yield the structures of the candidates, without results and constraints."""
        return self._plain_structures(
            zip(self.trajectory_indices[start:stop], self.frame_indices[start:stop], strict=True)
        )

    def reference_structures(self) -> Iterator[Atoms]:
        """Yield the structures that count as chosen: the reference dataset, followed by the frames."""
        for atoms in self.reference:
            yield Atoms(numbers=atoms.numbers, positions=atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
        yield from self._plain_structures(self.counted)

    def _plain_structures(self, frames: Iterable[Sequence[int]]) -> Iterator[Atoms]:
        for trajectory_index, frame_index in frames:
            trajectory = self.trajectories[trajectory_index]
            yield Atoms(
                numbers=trajectory.numbers,
                positions=trajectory.positions[frame_index],
                cell=trajectory.cells[frame_index],
                pbc=trajectory.pbc,
            )


def collect_frames(
    trajectories: Sequence[Trajectory],
    reference: Sequence[Atoms] = (),
    kind_of_seed: Mapping[str, str] | None = None,
    label_of_seed: Mapping[str, str] | None = None,
) -> FramePool:
    """Collect the candidates.

    A frame is identified by its seed and its step. A frame that occurs in two legs is used once. A frame is discarded
    if its energy, forces, positions or cell are not finite. It is also discarded if its elements, periodic directions,
    positions and cell are bitwise identical to those of an earlier frame or of a structure of the reference dataset.
    """
    order = sorted(
        (i for i, trajectory in enumerate(trajectories) if len(trajectory)),
        key=lambda i: (trajectories[i].seed_id, int(trajectories[i].steps[0])),
    )
    discarded = Counter({'not_finite': 0, 'in_two_legs': 0, 'duplicate': 0, 'reference_dataset': 0})
    identities: set[tuple[str, int]] = set()
    contents: dict[bytes, str] = {}
    known: dict[bytes, list[int]] = {}
    for index, atoms in enumerate(reference):
        content = content_digest(atoms.numbers, atoms.pbc, atoms.cell.array, atoms.positions)
        known.setdefault(content, []).append(index)
    repeated: dict[str, list[int]] = {}
    copied: dict[tuple[str, str], None] = {}
    chosen: list[tuple[int, int]] = []
    for i in order:
        trajectory = trajectories[i]
        finite = _finite_frames(trajectory)
        for f in range(len(trajectory)):
            identity = (trajectory.seed_id, int(trajectory.steps[f]))
            if identity in identities:
                discarded['in_two_legs'] += 1
                continue
            identities.add(identity)
            if not finite[f]:
                discarded['not_finite'] += 1
                continue
            content = content_digest(trajectory.numbers, trajectory.pbc, trajectory.cells[f], trajectory.positions[f])
            if content in contents or content in known:
                discarded['reference_dataset' if content in known else 'duplicate'] += 1
                if content in known:
                    repeated.setdefault(trajectory.seed_id, []).extend(known[content])
                elif contents[content] != trajectory.seed_id:
                    copied[contents[content], trajectory.seed_id] = None
                continue
            contents[content] = trajectory.seed_id
            chosen.append((i, f))
    pairs = np.array(chosen, dtype=np.int64).reshape(-1, 2)
    return FramePool(
        trajectories,
        pairs[:, 0],
        pairs[:, 1],
        dict(discarded),
        tuple(reference),
        kind_of_seed or {},
        label_of_seed or {},
        repeated,
        tuple(copied),
    )


def _empirical_formula(numbers: np.ndarray) -> str:
    species, counts = np.unique(numbers, return_counts=True)
    parts = zip((chemical_symbols[z] for z in species), counts // np.gcd.reduce(counts), strict=True)
    return ''.join(f'{symbol}{count if count > 1 else ""}' for symbol, count in sorted(parts))


def _finite_frames(trajectory: Trajectory) -> np.ndarray:
    finite: np.ndarray = np.isfinite(trajectory.energies)
    for array in (trajectory.forces, trajectory.positions, trajectory.cells):
        finite = finite & np.isfinite(array).all(axis=(1, 2))
    return finite
