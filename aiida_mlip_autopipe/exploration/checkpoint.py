"""The complete state of a run between two steps, in one binary file that is written atomically."""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.core.reading.arrays import open_npz, require_array

CHECKPOINT_VERSION = 2

ARRAYS = ('numbers', 'positions', 'momenta', 'cell', 'forces', 'stress', 'last_frame')
# Prefix of the names of the optional arrays in the file.
OPTIONAL = 'optional_'
# The sha256 of the archive follows it in hexadecimal digits. The checksums inside the archive do not cover names, dates
# or offsets.
N_DIGITS = 64


class CheckpointError(AutopipeError):
    """A checkpoint that cannot be read."""


class _Scalars(BaseModel):
    """The values in a file that are not arrays; see `Checkpoint`."""

    model_config = ConfigDict(extra='forbid', strict=True)

    checkpoint_version: int
    job_hash: str
    step: int = Field(ge=0)
    time_fs: float
    energy: float
    cell_momentum: float | list[float]
    rng_state: dict[str, Any]
    recoveries: int = Field(ge=0)
    counters: dict[str, Any]


@dataclass(eq=False)
class Checkpoint:
    """The state from which a run continues exactly.

    Attributes
    ----------
    job_hash
        Identity of the job that wrote the checkpoint.
    step
        Absolute step.
    time_fs
        Time since the start of the first leg, in fs.
    numbers, positions, momenta, cell
        The atoms and the cell, in ASE's units.
    forces, stress, energy
        Results of the calculator for these positions.
    last_frame
        Positions of the last stored frame.
    cell_momentum
        Momentum of the cell, or the momenta of its deformations (k,).
    rng_state
        State of the random number generator.
    recoveries
        Number of recoveries before the checkpoint was written.
    counters
        Counters and averages of the run, as JSON.
    optional
        Arrays that only some runs have.
    """

    job_hash: str
    step: int
    time_fs: float
    numbers: np.ndarray
    positions: np.ndarray
    momenta: np.ndarray
    cell: np.ndarray
    forces: np.ndarray
    stress: np.ndarray
    last_frame: np.ndarray
    energy: float
    cell_momentum: float | np.ndarray
    rng_state: dict[str, Any]
    recoveries: int = 0
    counters: dict[str, Any] = field(default_factory=dict)
    optional: dict[str, np.ndarray] = field(default_factory=dict)

    @property
    def n_frames(self) -> int:
        """Number of frames that the leg had stored before the checkpoint was written."""
        return int(self.counters['leg']['n_frames'])

    def write(self, path: Path) -> None:
        """Write the file atomically."""
        scalars = {key: value for key, value in vars(self).items() if key not in (*ARRAYS, 'optional')}
        scalars['cell_momentum'] = np.asarray(self.cell_momentum).tolist()
        text = json.dumps({'checkpoint_version': CHECKPOINT_VERSION, **scalars})
        archive = io.BytesIO()
        arrays: dict[str, Any] = {key: getattr(self, key) for key in ARRAYS}
        optional: dict[str, Any] = {f'{OPTIONAL}{key}': value for key, value in self.optional.items()}
        np.savez(archive, scalars=np.array(text), **arrays, **optional)
        data = archive.getvalue()
        temporary = path.with_name(path.name + '.new')
        with open(temporary, 'wb') as file:
            file.write(data + hashlib.sha256(data).hexdigest().encode())
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)

    @classmethod
    def read(cls, path: Path) -> Checkpoint:
        """Read a checkpoint.

        Raises
        ------
        CheckpointError
            If the file is damaged or truncated, or has an unsupported version.
        """
        try:
            content = path.read_bytes()
            data, digits = content[:-N_DIGITS], content[-N_DIGITS:]
            if hashlib.sha256(data).hexdigest().encode() != digits:
                raise ValueError('its content does not match its sha256')
            with open_npz(io.BytesIO(data)) as archive:
                scalars = _read_scalars(str(archive['scalars']))
                arrays = _read_arrays(archive)
                optional = {name.removeprefix(OPTIONAL): archive[name] for name in archive if name.startswith(OPTIONAL)}
        except (OSError, ValueError) as error:
            raise CheckpointError(
                Code.CHECKPOINT_UNREADABLE, f'the checkpoint {path.name} cannot be read: {error}'
            ) from error
        return cls(**scalars, **arrays, optional=optional)


def _read_scalars(text: str) -> dict[str, Any]:
    content = json.loads(text)
    version = content.get('checkpoint_version') if isinstance(content, dict) else None
    if version != CHECKPOINT_VERSION:
        raise ValueError(f'it has version {version}, but this package reads version {CHECKPOINT_VERSION}')
    scalars = _Scalars.model_validate(content).model_dump(exclude={'checkpoint_version'})
    n_frames = scalars['counters']['leg']['n_frames']
    if not isinstance(n_frames, int) or n_frames < 0:
        raise ValueError(f'its number of frames is {n_frames!r}')
    if isinstance(scalars['cell_momentum'], list):
        scalars['cell_momentum'] = np.array(scalars['cell_momentum'])
    return scalars


def _read_arrays(archive: Mapping[str, np.ndarray]) -> dict[str, Any]:
    numbers = require_array(archive, 'numbers', 'integer', None)
    shapes = dict.fromkeys(ARRAYS[1:], (len(numbers), 3)) | {'cell': (3, 3), 'stress': (6,)}
    return {'numbers': numbers} | {
        name: require_array(archive, name, 'float', *shape, finite=name in ('positions', 'cell'))
        for name, shape in shapes.items()
    }


def hash_job(identity: dict[str, Any]) -> str:
    """Return a hash of the settings that must match those of a checkpoint to continue from it."""
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
