"""The trajectory file. Frames are written one by one and read as arrays."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io.trajectory import TrajectoryReader, TrajectoryWriter

from aiida_mlip_autopipe.calculators.evaluation import Evaluation
from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.structures.trajectory import Trajectory

TRAJECTORY_FILE_VERSION = 1
"""Version of the content of a frame in a trajectory file."""

# Numbers in the info of a frame, besides the step.
FRAME_FIELDS = (
    'time_fs',
    'temperature_K',
    'target_temperature_K',
    'target_pressure_GPa',
    'accepted_swaps',
    'force_deviation_eV_A',
    'environment_distance',
    'bias_eV',
)


class TrajectoryFileError(AutopipeError):
    """A trajectory file that is damaged."""


class TrajectoryFile:
    """A file to which frames are appended one by one. They are not kept in memory.

    Parameters
    ----------
    path
        The file, in ASE's binary format. It is created with the first frame if it does not exist.
    template
        The atoms, with tags, magnetic moments and constraints.
    """

    def __init__(self, path: Path, template: Atoms):
        self.path = path
        self._template = template.copy()
        self._template.info = {}
        self._template.arrays.pop('momenta', None)
        self._writer: TrajectoryWriter | None = None

    def keep_until(self, step: int) -> int:
        """Remove a truncated last frame and all frames after a step. Return the number of frames that are left."""
        if not self.path.exists():
            return 0
        temporary = self.path.with_name(self.path.name + '.new')
        kept = 0
        with _open_writer(temporary, 'w') as writer:
            for frame in _readable_frames(self.path):
                if not frame.info.get('step', step + 1) <= step:
                    break
                writer.write(frame)
                kept += 1
        if kept:
            os.replace(temporary, self.path)
        else:
            temporary.unlink()
            self.path.unlink()
        return kept

    def append(self, positions: np.ndarray, cell: np.ndarray, evaluation: Evaluation, info: dict[str, Any]) -> None:
        """Append one frame. ``info`` must contain its ``step``."""
        if self._writer is None:
            self._writer = _open_writer(self.path, 'a')
        self._writer.write(make_frame(self._template, positions, cell, evaluation, info))

    def flush(self) -> None:
        """Write the frames to disk, so that a checkpoint can rely on them."""
        if self._writer is not None:
            os.fsync(self._writer.backend.fd.fileno())

    def close(self) -> None:
        """Close the file."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None


def make_frame(
    template: Atoms, positions: np.ndarray, cell: np.ndarray, evaluation: Evaluation, info: dict[str, Any]
) -> Atoms:
    """Return a structure with the evaluation as calculator results. Only fully periodic structures have a stress."""
    atoms = template.copy()
    atoms.set_cell(cell)
    atoms.set_positions(positions, apply_constraint=False)
    atoms.info = dict(info)
    results: dict[str, Any] = {'energy': evaluation.energy, 'forces': evaluation.forces}
    if atoms.pbc.all() and not np.isnan(evaluation.stress).all():
        results['stress'] = evaluation.stress
    atoms.calc = SinglePointCalculator(atoms, **results)
    return atoms


def read_trajectory(path: str | Path, seed_id: str) -> Trajectory:
    """Read a trajectory file.

    Parameters
    ----------
    path
        The file.
    seed_id
        Identity of the seed.

    Raises
    ------
    TrajectoryFileError
        If the file is not a trajectory file, is damaged, has an unsupported version, has no frames, or has steps that
        do not increase.
    """
    try:
        with TrajectoryReader(path) as reader:
            version = reader.description.get('trajectory_version')
            if version != TRAJECTORY_FILE_VERSION:
                raise ValueError(f'it has version {version}, but this package reads version {TRAJECTORY_FILE_VERSION}')
            frames = list(reader)
        if not frames:
            raise ValueError('it has no frames')
        trajectory = _join(frames, seed_id)
        trajectory.check()
    except Exception as error:  # ASE's reader raises various errors for damaged files
        reason = f'the frames have no {error}' if isinstance(error, KeyError) else str(error) or type(error).__name__
        raise TrajectoryFileError(
            Code.FILE_UNREADABLE, f'the trajectory {Path(path).name} cannot be read: {reason}'
        ) from error
    return trajectory


def _join(frames: Sequence[Atoms], seed_id: str) -> Trajectory:
    if any(not np.array_equal(one.numbers, frames[0].numbers) for one in frames):
        raise ValueError('the atoms change from frame to frame')
    if any(not np.array_equal(one.pbc, frames[0].pbc) for one in frames):
        raise ValueError('the periodic directions change from frame to frame')
    no_stress = np.full(6, np.nan)
    return Trajectory(
        seed_id=seed_id,
        numbers=frames[0].numbers,
        pbc=frames[0].pbc,
        steps=np.array([frame.info['step'] for frame in frames]),
        positions=np.array([frame.positions for frame in frames]),
        cells=np.array([frame.cell.array for frame in frames]),
        energies=np.array([frame.calc.results['energy'] for frame in frames]),
        forces=np.array([frame.calc.results['forces'] for frame in frames]),
        stresses=np.array([frame.calc.results.get('stress', no_stress) for frame in frames]),
        temperatures=np.array([frame.info['temperature_K'] for frame in frames]),
        extra={
            name: np.array([frame.info[name] for frame in frames])
            for name in FRAME_FIELDS
            if name != 'temperature_K' and name in frames[0].info
        },
    )


def _open_writer(path: Path, mode: str) -> TrajectoryWriter:
    writer = TrajectoryWriter(path, mode)
    writer.set_description({'trajectory_version': TRAJECTORY_FILE_VERSION})
    return writer


def _readable_frames(path: Path) -> Iterator[Atoms]:
    # If the writer was killed, the last frame is truncated. The checkpoint contains the number of complete frames.
    try:
        with TrajectoryReader(path) as reader:
            for index in range(len(reader)):
                yield reader[index]
    except Exception:
        return
