"""Binary files of trajectories, and of the descriptors that jobs have computed for them, at full precision."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from aiida_mlip_autopipe.core.reading.arrays import open_npz, require_array
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
    """Read the trajectories of a file. The ids of their seeds must be in the order of the trajectories.

    Raises
    ------
    OSError, ValueError
        If the file cannot be read or is damaged, or its arrays do not describe the trajectories.
    """
    found = []
    with open_npz(path) as arrays:
        for number, seed_id in enumerate(seed_ids):
            start = f'{number} extra '
            extra = {key.removeprefix(start): arrays[key] for key in arrays if key.startswith(start)}
            found.append(Trajectory(seed_id, **{name: arrays[f'{number} {name}'] for name in ARRAYS}, extra=extra))
            found[-1].check()
    return found


def write_features(path: Path, described: Mapping[str, Descriptors]) -> None:
    """Write the vectors of all descriptors."""
    arrays: dict[str, np.ndarray] = {}
    for key, one in described.items():
        arrays |= {f'{key} {number}': features for number, features in enumerate(one.features)}
        if one.reference is not None:
            arrays[f'{key} {REFERENCE}'] = one.reference
    np.savez(path, **arrays)  # type: ignore[arg-type]


def read_features(path: Path, key: str, n_trajectories: int) -> tuple[list[np.ndarray], np.ndarray | None]:
    """Read the vectors of a descriptor: those of each trajectory and, if present, those of the reference dataset.

    Raises
    ------
    OSError, ValueError
        If the file cannot be read or is damaged, or its arrays are not vectors of one length.
    """
    with open_npz(path) as arrays:
        features: list[np.ndarray] = []
        for number in range(n_trajectories):
            length = features[0].shape[1] if features else None
            features.append(require_array(arrays, f'{key} {number}', 'float', None, length, finite=True))
        name = f'{key} {REFERENCE}'
        length = features[0].shape[1] if features else None
        return features, require_array(arrays, name, 'float', None, length, finite=True) if name in arrays else None
