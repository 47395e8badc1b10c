"""The parser of an exploration."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import numpy as np
from aiida import orm
from aiida.engine import ExitCode
from ase import Atoms

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import first_line
from aiida_mlip_autopipe.data.trajectory import node_from_trajectory
from aiida_mlip_autopipe.exploration.checkpoint import Checkpoint, CheckpointError
from aiida_mlip_autopipe.exploration.files.trajectory_file import TrajectoryFile, TrajectoryFileError, read_trajectory
from aiida_mlip_autopipe.jobs import contract
from aiida_mlip_autopipe.parsers.job import JobParser
from aiida_mlip_autopipe.structures.trajectory import Trajectory

# Fields of the result that each row of the dataset records; stored with the trajectory.
ABOUT = (
    'ensemble',
    'timestep_fs',
    'calculator_name',
    'model_name',
    'model_sha256',
    'device',
    'precision',
    'environment',
    'versions',
    'isolated_atom_energies_eV',
)
# Outcomes after which another leg continues from the checkpoint.
CONTINUED = ('killed', 'out_of_walltime', 'stopped')


class ExplorationParser(JobParser):
    """Attaches frames, checkpoint and crash frames of an exploration."""

    OUTCOMES: ClassVar = {**JobParser.OUTCOMES, 'unstable': 'ERROR_UNSTABLE'}

    def attach(self, result: contract.Result, folder: Path) -> ExitCode | None:
        """Attach the outputs once all of them have been read; crash frames may be missing."""
        try:
            checkpoint = self._read_checkpoint(result, folder)
        except CheckpointError as error:
            return self.exit_codes.ERROR_CHECKPOINT_UNREADABLE.format(reason=first_line(error))
        path = folder / contract.TRAJECTORY_FILE
        n_frames = result.n_frames
        if result.outcome == 'killed' and checkpoint is not None:
            # Frames after the checkpoint are discarded, because the next leg computes them again.
            n_frames, known = TrajectoryFile(path, Atoms()).keep_until(checkpoint.step), checkpoint.n_frames
            if n_frames < known:
                reason = f'number of complete frames: {n_frames}; number that the checkpoint records: {known}'
                return self.exit_codes.ERROR_TRAJECTORY_UNREADABLE.format(reason=reason)
        elif result.outcome == 'failed':
            n_frames = TrajectoryFile(path, Atoms()).keep_until(result.last_step)
        if n_frames:
            if not path.is_file():
                return self.exit_codes.ERROR_TRAJECTORY_MISSING
            try:
                trajectory = read_trajectory(path, self.node.inputs.seed.seed_id)
                self._check_frames(trajectory, result, checkpoint)
            except TrajectoryFileError as error:
                return self.exit_codes.ERROR_TRAJECTORY_UNREADABLE.format(reason=first_line(error))
            if result.outcome == 'unstable' and result.timestep_fs:
                trajectory.extra['time_to_crash_fs'] = (result.last_step - trajectory.steps) * result.timestep_fs
            about = result.model_dump(mode='json', include=set(ABOUT))
            about['recoveries'] = self.node.inputs.recoveries.value if 'recoveries' in self.node.inputs else 0
            self.out('trajectory', node_from_trajectory(trajectory, about))
        for label, name in (('checkpoint', contract.CHECKPOINT_FILE), ('crash', contract.CRASH_FILE)):
            if (folder / name).is_file():
                self.out(label, orm.SinglefileData(folder / name, filename=Path(name).name))
        return None

    def _check_frames(self, trajectory: Trajectory, result: contract.Result, checkpoint: Checkpoint | None) -> None:
        """Do nothing, because the job itself wrote the frames.

        Subclasses raise an error if the frames do not belong to the job.
        """

    def _read_checkpoint(self, result: contract.Result, folder: Path) -> Checkpoint | None:
        """Return the checkpoint of the job; None if it is missing and the next leg does not need it.

        Raises
        ------
        CheckpointError
            If it is damaged, its atoms are not those of the seed, or it is missing although the next leg needs it.
        """
        path = folder / contract.CHECKPOINT_FILE
        if not path.is_file():
            if result.outcome in CONTINUED and contract.has_progressed(result.model_dump()):
                raise CheckpointError(Code.CHECKPOINT_UNREADABLE, f'{path.name} is missing')
            return None
        checkpoint = Checkpoint.read(path)
        if not np.array_equal(checkpoint.numbers, self.node.inputs.seed.to_seed().atoms.numbers):
            raise CheckpointError(Code.CHECKPOINT_UNREADABLE, f'the atoms in {path.name} are not those of the seed')
        return checkpoint
