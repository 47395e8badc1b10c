"""The records of a leg: frames on disk, averages, and counters for the result."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from aiida_mlip_autopipe.calculators.evaluation import Evaluation
from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.exploration.checkpoint import Checkpoint
from aiida_mlip_autopipe.exploration.dynamics.averages import Blocking
from aiida_mlip_autopipe.exploration.files.trajectory_file import TrajectoryFile
from aiida_mlip_autopipe.exploration.full_trajectory import FullTrajectoryFile
from aiida_mlip_autopipe.exploration.phase_space import PhaseSpace


class LostFramesError(AutopipeError):
    """A trajectory with fewer frames than its checkpoint records."""


@dataclass
class LegCounters:
    """Counters of one leg. A job that is requeued in its folder continues these counts."""

    first_step: int = 0
    n_earlier_frames: int = 0
    n_frames: int = 0
    n_full_frames: int = 0
    force_calls: int = 0
    temperature_sum: float = 0.0
    loop_s: float = 0.0


class Recorder:
    """Writes frames to the trajectory file, and computes averages over the sampled steps.

    Parameters
    ----------
    path
        The trajectory file.
    atoms
        The seed.
    min_change_A
        A frame is stored only if an atom has moved by at least this distance in Å since the previous frame.
    full_trajectory
        The file of the full trajectory; None if none is written.
    """

    def __init__(
        self, path: Path, atoms: Atoms, min_change_A: float, full_trajectory: FullTrajectoryFile | None = None
    ):
        self.leg = LegCounters()
        self.last_frame = atoms.positions.copy()
        self.full_trajectory = full_trajectory
        self._trajectory = TrajectoryFile(path, atoms)
        self._min_change_A = min_change_A
        self._averages = {'energy_eV': Blocking(), 'temperature_K': Blocking(), 'volume_A3': Blocking()}

    def begin(self, start: Checkpoint | None) -> None:
        """Begin a leg at the seed or at the end of the previous leg, and remove the frames of an earlier attempt."""
        self._trajectory.keep_until(-1)
        if self.full_trajectory is not None:
            self.full_trajectory.keep_first(0)
        if start is not None:
            self._take_over(start)
            earlier = start.counters['leg']
            n_frames = earlier.get('n_earlier_frames', 0) + earlier['n_frames']
            self.leg = LegCounters(first_step=start.step, n_earlier_frames=n_frames)

    def restore(self, own: Checkpoint) -> None:
        """Continue the leg that wrote a checkpoint in this folder.

        Raises
        ------
        LostFramesError
            If a trajectory has fewer frames than the checkpoint records.
        """
        leg = LegCounters(**own.counters['leg'])
        _check_kept('trajectory', self._trajectory.keep_until(own.step), leg.n_frames, own.step)
        full = self.full_trajectory
        if full is not None:
            _check_kept('full trajectory', full.keep_first(leg.n_full_frames), leg.n_full_frames, own.step)
        self._take_over(own)
        self.leg = leg

    def _take_over(self, checkpoint: Checkpoint) -> None:
        self.last_frame = checkpoint.last_frame
        self._averages = {name: Blocking(levels) for name, levels in checkpoint.counters['averages'].items()}

    def average(self, system: PhaseSpace, evaluation: Evaluation, with_volume: bool) -> None:
        """Add a sampled step to the averages."""
        self._averages['energy_eV'].add(evaluation.energy)
        self._averages['temperature_K'].add(system.temperature_K)
        if with_volume:
            self._averages['volume_A3'].add(system.volume)

    def store_frame(self, system: PhaseSpace, evaluation: Evaluation, info: dict[str, Any]) -> bool:
        """Store a frame if an atom has moved far enough, and return whether it was stored."""
        if self._min_change_A > 0.0:
            moved = np.sqrt(((system.positions - self.last_frame) ** 2).sum(axis=1).max())
            if moved < self._min_change_A:
                return False
        temperature = system.temperature_K
        self._trajectory.append(system.positions, system.cell, evaluation, {**info, 'temperature_K': temperature})
        self.last_frame = system.positions
        self.leg.n_frames += 1
        self.leg.temperature_sum += temperature
        return True

    def store_full_frame(self, step: int, time_fs: float, system: PhaseSpace, evaluation: Evaluation) -> None:
        """Store a frame of the full trajectory."""
        if self.full_trajectory is not None:
            self.full_trajectory.append(step, time_fs, system, evaluation)
            self.leg.n_full_frames += 1

    def flush(self) -> None:
        """Write the frames to disk, so that a checkpoint can rely on them."""
        self._trajectory.flush()
        if self.full_trajectory is not None:
            self.full_trajectory.flush()

    def close(self) -> None:
        """Close the files."""
        self._trajectory.close()
        if self.full_trajectory is not None:
            self.full_trajectory.close()

    def dump_averages(self) -> dict[str, list[list[float]]]:
        """Return the state of the averages for a checkpoint."""
        return {name: average.dump() for name, average in self._averages.items()}

    def statistics(self) -> dict[str, Any]:
        """Return averages over the steps sampled so far, as JSON."""
        statistics: dict[str, Any] = {
            name: average.summary() for name, average in self._averages.items() if average.count
        }
        independent = statistics.get('energy_eV', {}).get('n_independent')
        if independent is not None:
            statistics['n_independent_frames'] = min(float(self.leg.n_frames), independent)
        return statistics


def _check_kept(what: str, kept: int, expected: int, step: int) -> None:
    if kept != expected:
        raise LostFramesError(
            Code.FILE_UNREADABLE,
            f'the number of frames in the {what} up to step {step} is {kept}, but the checkpoint records {expected}',
        )
