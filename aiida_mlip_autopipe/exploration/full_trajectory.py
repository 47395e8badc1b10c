"""The file of a full trajectory: one line that describes the records, followed by records of equal size.

Records are only appended. The length and sha256 at a checkpoint are therefore known without reading the file, and a run
that continues from a checkpoint truncates the file there. Records that a killed job wrote after its last checkpoint are
ignored.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.data import chemical_symbols

from aiida_mlip_autopipe.calculators.evaluation import Evaluation
from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.core.reading.arrays import require_array
from aiida_mlip_autopipe.core.reading.json_text import parse_json
from aiida_mlip_autopipe.exploration.phase_space import PhaseSpace
from aiida_mlip_autopipe.jobs.contract import FullTrajectory

FULL_TRAJECTORY_VERSION = 2
"""Version of the header and the records of the file."""

FORMAT = f'mlip-autopipe full trajectory {FULL_TRAJECTORY_VERSION}'
READ_BYTES = 2**20
MAX_HEADER_BYTES = 2**26


class FullTrajectoryError(AutopipeError):
    """A file that is not a full trajectory, or a step that the file does not contain."""


def _record_of(n_atoms: int) -> np.dtype[Any]:
    return np.dtype(
        [
            ('step', '<i8'),
            ('time_fs', '<f8'),
            ('energy_eV', '<f8'),
            ('temperature_K', '<f8'),
            ('cell_A', '<f8', (3, 3)),
            ('stress_eV_A3', '<f8', (6,)),
            ('positions_A', '<f8', (n_atoms, 3)),
            ('momenta', '<f8', (n_atoms, 3)),
            ('forces_eV_A', '<f8', (n_atoms, 3)),
        ]
    )


class FullTrajectoryFile:
    """A file to which frames are appended one by one.

    Parameters
    ----------
    path
        The file. It is created with the first frame if it does not exist.
    seed_id
        Identity of the seed.
    atoms
        The structure of the seed.
    """

    def __init__(self, path: Path, seed_id: str, atoms: Atoms):
        self.path = path
        self.n_frames = 0
        self._record = _record_of(len(atoms))
        about = {
            'format': FORMAT,
            'seed_id': seed_id,
            'numbers': atoms.numbers.tolist(),
            'pbc': atoms.pbc.tolist(),
            'record': self._record.descr,
        }
        self._header = json.dumps(about).encode() + b'\n'
        self._file: IO[bytes] | None = None
        self._steps: list[int] = []
        self._hash = hashlib.sha256()

    def keep_first(self, n_frames: int) -> int:
        """Keep at most the first ``n_frames`` complete frames, and return the number of frames that are left."""
        n_found = max(0, self._size_on_disk() - len(self._header)) // self._record.itemsize
        self.n_frames = min(n_frames, n_found)
        self._hash = hashlib.sha256()
        if not self.n_frames:
            self.path.unlink(missing_ok=True)
            return 0
        os.truncate(self.path, self._size)
        with open(self.path, 'rb') as file:
            while block := file.read(READ_BYTES):
                self._hash.update(block)
        steps = np.memmap(self.path, self._record, 'r', len(self._header), (self.n_frames,))['step']
        self._steps = [int(steps[0]), int(steps[-1])]
        return self.n_frames

    def append(self, step: int, time_fs: float, system: PhaseSpace, evaluation: Evaluation) -> None:
        """Append a frame."""
        record = np.empty((), self._record)
        record['step'], record['time_fs'] = step, time_fs
        record['energy_eV'], record['stress_eV_A3'] = evaluation.energy, evaluation.stress
        record['temperature_K'], record['cell_A'] = system.temperature_K, system.cell
        record['positions_A'], record['momenta'] = system.positions, system.momenta
        record['forces_eV_A'] = evaluation.forces
        data = record.tobytes()
        if self._file is None:
            # Unbuffered, so that closing the file does not repeat a write that failed on a full disk.
            self._file = open(self.path, 'ab', buffering=0)  # noqa: SIM115
        if not self.n_frames:
            data = self._header + data
        rest = memoryview(data)
        while rest:
            rest = rest[self._file.write(rest) :]
        self._hash.update(data)
        self._steps = [*self._steps[:1], step]
        self.n_frames += 1

    def flush(self) -> None:
        """Write the frames to disk, so that a checkpoint can rely on them."""
        if self._file is not None:
            os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def describe(self) -> FullTrajectory | None:
        """Return the metadata of the file; None if it has no frames."""
        if not self.n_frames:
            return None
        return FullTrajectory(
            file=self.path.name,
            n_frames=self.n_frames,
            first_step=self._steps[0],
            last_step=self._steps[-1],
            size_bytes=self._size,
            sha256=self._hash.hexdigest(),
        )

    @property
    def _size(self) -> int:
        return len(self._header) + self.n_frames * self._record.itemsize

    def _size_on_disk(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0


class FullTrajectoryReader:
    """The frames of a file. A frame is read only when it is accessed.

    Parameters
    ----------
    path
        The file.

    Attributes
    ----------
    seed_id
        Identity of the seed.
    numbers, pbc
        Atomic numbers (n,) and periodic directions (3,).
    records
        The frames as a memory-mapped NumPy array of records, (f,): ``step``, ``time_fs``, ``energy_eV``,
        ``temperature_K``, ``cell_A`` (3, 3), ``stress_eV_A3`` (6,) with ASE's sign convention and Voigt order,
        ``positions_A``, ``momenta`` in ASE's unit and ``forces_eV_A`` (n, 3). A stress that is not defined is NaN.

    Raises
    ------
    FullTrajectoryError
        If the file is not a full trajectory.
    """

    def __init__(self, path: str | Path):
        try:
            with open(path, 'rb') as file:
                about = parse_json(file.readline(MAX_HEADER_BYTES))
                start = file.tell()
            if about['format'] != FORMAT:
                raise ValueError(f'its format is {about["format"]!r}')
            self.seed_id: str = str(about['seed_id'])
            structure = {name: np.array(about[name]) for name in ('numbers', 'pbc')}
            self.numbers = require_array(structure, 'numbers', 'integer', None)
            self.pbc = require_array(structure, 'pbc', 'Boolean', 3)
            record = _record_of(len(self.numbers))
            if not np.isin(self.numbers, np.arange(len(chemical_symbols))).all():
                raise ValueError('an atomic number is invalid')
            if json.dumps(about['record']) != json.dumps(record.descr):
                raise ValueError('its records have unexpected fields')
            # A truncated last frame is ignored.
            n_frames = (os.path.getsize(path) - start) // record.itemsize
            self.records: np.ndarray = np.memmap(path, record, 'r', start, (n_frames,))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise FullTrajectoryError(
                Code.FILE_UNREADABLE, f'{path} cannot be read as a full trajectory: {error}'
            ) from error

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> Atoms:
        """Return a frame with momenta, and with energy, forces and stress as calculator results."""
        record = self.records[index]
        atoms = Atoms(self.numbers, record['positions_A'], cell=record['cell_A'], pbc=self.pbc)
        atoms.set_momenta(record['momenta'])
        atoms.info = {
            'seed_id': self.seed_id,
            'step': int(record['step']),
            'time_fs': float(record['time_fs']),
            'temperature_K': float(record['temperature_K']),
        }
        results: dict[str, Any] = {'energy': float(record['energy_eV']), 'forces': np.array(record['forces_eV_A'])}
        if np.isfinite(record['stress_eV_A3']).all():
            results['stress'] = np.array(record['stress_eV_A3'])
        atoms.calc = SinglePointCalculator(atoms, **results)
        return atoms

    def at_step(self, step: int) -> Atoms:
        """Return the frame of an absolute step.

        Raises
        ------
        FullTrajectoryError
            If the file has no frame of this step.
        """
        steps = self.records['step']
        index = int(np.searchsorted(steps, step))
        if index == len(steps) or steps[index] != step:
            content = f'steps {steps[0]} to {steps[-1]}' if len(steps) else 'no frames'
            raise FullTrajectoryError(Code.STEP_MISSING, f'step {step} is not in the file, which contains {content}')
        return self[index]


def read_mlip_autopipe_full(file: IO[bytes], index: slice) -> Iterator[Atoms]:
    """Yield frames for `ase.io`, which derives the name of this function from the name of the format."""
    reader = FullTrajectoryReader(file.name)
    for number in range(*index.indices(len(reader))):
        yield reader[number]
