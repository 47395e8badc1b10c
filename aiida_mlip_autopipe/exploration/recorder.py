"""What a leg keeps of its steps: frames on disk, averages, and figures for the result."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from aiida_mlip_autopipe.exploration.averages import Blocking
from aiida_mlip_autopipe.exploration.checkpoint import Checkpoint
from aiida_mlip_autopipe.exploration.dynamics import PhaseSpace
from aiida_mlip_autopipe.exploration.evaluation import Evaluation
from aiida_mlip_autopipe.exploration.preparation import JobRefusedError
from aiida_mlip_autopipe.exploration.trajectory_file import TrajectoryFile


@dataclass
class LegCounters:
    """Figures of one leg; a job that is requeued into its folder goes on with the leg."""

    first_step: int = 0
    n_frames: int = 0
    force_calls: int = 0
    temperature_sum: float = 0.0
    loop_s: float = 0.0


class Recorder:
    """Streams frames into the trajectory file and averages the sampled steps.

    Parameters
    ----------
    path
        The trajectory file.
    atoms
        The seed.
    min_change_A
        A frame is stored only if an atom has moved by at least this since the one before, in Å.
    """

    def __init__(self, path: Path, atoms: Atoms, min_change_A: float):
        self.leg = LegCounters()
        self.last_frame = atoms.positions.copy()
        self._trajectory = TrajectoryFile(path, atoms)
        self._min_change_A = min_change_A
        self._averages = {'energy_eV': Blocking(), 'temperature_K': Blocking(), 'volume_A3': Blocking()}

    def begin(self) -> None:
        """Start from the seed: no frame of an earlier attempt stays."""
        self._trajectory.keep_until(-1)

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go on from a checkpoint, in its folder or in a new one.

        Raises
        ------
        JobRefusedError
            If the trajectory has lost frames that the checkpoint knows of.
        """
        self.last_frame = checkpoint.last_frame
        self._averages = {name: Blocking(levels) for name, levels in checkpoint.counters['averages'].items()}
        kept = self._trajectory.keep_until(checkpoint.step)
        self.leg = LegCounters(**checkpoint.counters['leg']) if kept else LegCounters(first_step=checkpoint.step)
        if kept != self.leg.n_frames:
            raise JobRefusedError(
                'checkpoint',
                f'the trajectory has {kept} frames up to step {checkpoint.step}, the checkpoint knows of '
                f'{self.leg.n_frames}; remove both to start from the seed',
            )

    def average(self, system: PhaseSpace, evaluation: Evaluation, with_volume: bool) -> None:
        """Add a sampled step to the averages."""
        self._averages['energy_eV'].add(evaluation.energy)
        self._averages['temperature_K'].add(system.temperature_K)
        if with_volume:
            self._averages['volume_A3'].add(system.volume)

    def store_frame(self, system: PhaseSpace, evaluation: Evaluation, info: dict[str, Any]) -> bool:
        """Store a frame, if enough has changed; return whether it was."""
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

    def flush(self) -> None:
        """Have the frames on the disk, so that a checkpoint can rely on them."""
        self._trajectory.flush()

    def close(self) -> None:
        """Close the file."""
        self._trajectory.close()

    def dump_averages(self) -> dict[str, list[list[float]]]:
        """Return the state of the averages for a checkpoint."""
        return {name: average.dump() for name, average in self._averages.items()}

    def statistics(self) -> dict[str, Any]:
        """Return averages over the sampled steps of the run so far; JSON only."""
        figures: dict[str, Any] = {name: average.summary() for name, average in self._averages.items() if average.count}
        independent = figures.get('energy_eV', {}).get('n_independent')
        if independent is not None:
            figures['n_independent_frames'] = min(float(self.leg.n_frames), independent)
        return figures
