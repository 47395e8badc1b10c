"""Binary files of trajectories with all their labels, and of their descriptors from jobs: exact to the bit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from aiida_mlip_autopipe.descriptors.describe import Description
from aiida_mlip_autopipe.structures.trajectory import Trajectory

ARRAYS = ('numbers', 'pbc', 'steps', 'positions', 'cells', 'energies', 'forces', 'stresses', 'temperatures')
GIVEN = 'given'


def write_trajectories(path: Path, trajectories: Sequence[Trajectory]) -> None:
    """Write all arrays of all trajectories; their seeds are not in the file."""
    arrays: dict[str, np.ndarray] = {}
    for place, one in enumerate(trajectories):
        arrays |= {f'{place} {name}': getattr(one, name) for name in ARRAYS}
        arrays |= {f'{place} extra {name}': array for name, array in one.extra.items()}
    np.savez(path, **arrays)  # type: ignore[arg-type]


def read_trajectories(path: Path, seed_ids: Sequence[str]) -> list[Trajectory]:
    """Return the trajectories of a file; the seeds are given in their order."""
    with np.load(path) as arrays:
        extra: list[dict[str, np.ndarray]] = [{} for _ in seed_ids]
        for key in arrays.files:
            place, kind, *name = key.split(' ', 2)
            if kind == 'extra':
                extra[int(place)][name[0]] = arrays[key]
        return [
            Trajectory(seed_id, **{name: arrays[f'{place} {name}'] for name in ARRAYS}, extra=extra[place])
            for place, seed_id in enumerate(seed_ids)
        ]


def write_features(path: Path, described: Mapping[str, Description]) -> None:
    """Write the vectors of all descriptions."""
    arrays: dict[str, np.ndarray] = {}
    for key, one in described.items():
        arrays |= {f'{key} {place}': features for place, features in enumerate(one.features)}
        if one.given is not None:
            arrays[f'{key} {GIVEN}'] = one.given
    np.savez(path, **arrays)  # type: ignore[arg-type]


def read_features(path: Path, key: str, n_trajectories: int) -> tuple[list[np.ndarray], np.ndarray | None]:
    """Return the vectors of a description: those of each trajectory, and those of the reference dataset, if any."""
    with np.load(path) as arrays:
        given = arrays[f'{key} {GIVEN}'] if f'{key} {GIVEN}' in arrays.files else None
        return [arrays[f'{key} {place}'] for place in range(n_trajectories)], given
