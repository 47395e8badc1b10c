"""Binary files of trajectories, and of the descriptors that jobs have computed for them, at full precision."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from aiida_mlip_autopipe.descriptors.describe import Descriptors
from aiida_mlip_autopipe.structures.trajectory import Trajectory

ARRAYS = ('numbers', 'pbc', 'steps', 'positions', 'cells', 'energies', 'forces', 'stresses', 'temperatures')
REFERENCE = 'given'


def write_trajectories(path: Path, trajectories: Sequence[Trajectory]) -> None:
    """Write all arrays of all trajectories, but not the ids of their seeds."""
    arrays: dict[str, np.ndarray] = {}
    for number, one in enumerate(trajectories):
        arrays |= {f'{number} {name}': getattr(one, name) for name in ARRAYS}
        arrays |= {f'{number} extra {name}': array for name, array in one.extra.items()}
    np.savez(path, **arrays)  # type: ignore[arg-type]


def read_trajectories(path: Path, seed_ids: Sequence[str]) -> list[Trajectory]:
    """Read the trajectories of a file. The ids of their seeds must be in the order of the trajectories."""
    with np.load(path) as arrays:
        extra: list[dict[str, np.ndarray]] = [{} for _ in seed_ids]
        for key in arrays.files:
            number, kind, *name = key.split(' ', 2)
            if kind == 'extra':
                extra[int(number)][name[0]] = arrays[key]
        return [
            Trajectory(seed_id, **{name: arrays[f'{number} {name}'] for name in ARRAYS}, extra=extra[number])
            for number, seed_id in enumerate(seed_ids)
        ]


def write_features(path: Path, described: Mapping[str, Descriptors]) -> None:
    """Write the vectors of all descriptors."""
    arrays: dict[str, np.ndarray] = {}
    for key, one in described.items():
        arrays |= {f'{key} {number}': features for number, features in enumerate(one.features)}
        if one.reference is not None:
            arrays[f'{key} {REFERENCE}'] = one.reference
    np.savez(path, **arrays)  # type: ignore[arg-type]


def read_features(path: Path, key: str, n_trajectories: int) -> tuple[list[np.ndarray], np.ndarray | None]:
    """Read the vectors of a descriptor: those of each trajectory and, if present, those of the reference dataset."""
    with np.load(path) as arrays:
        reference = arrays[f'{key} {REFERENCE}'] if f'{key} {REFERENCE}' in arrays.files else None
        return [arrays[f'{key} {number}'] for number in range(n_trajectories)], reference
