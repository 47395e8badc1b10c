"""The parser of an exploration."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import ClassVar

from aiida import orm
from aiida.engine import ExitCode
from ase import Atoms

from aiida_mlip_autopipe.data.trajectory import node_from_trajectory
from aiida_mlip_autopipe.exploration import contract
from aiida_mlip_autopipe.exploration.checkpoint import Checkpoint, CheckpointError
from aiida_mlip_autopipe.exploration.trajectory_file import TrajectoryFile, read_trajectory
from aiida_mlip_autopipe.parsers.job import JobParser, first_line

# What the frames' origin is, beside the seed and the step: kept with the trajectory, so that each row can tell it.
ABOUT = (
    'ensemble',
    'timestep_fs',
    'calculator_name',
    'model_name',
    'model_sha256',
    'device',
    'precision',
    'versions',
    'isolated_atom_energies_eV',
)


class ExplorationParser(JobParser):
    """Attaches frames, checkpoint and crash frames of an exploration."""

    OUTCOMES: ClassVar = {**JobParser.OUTCOMES, 'unstable': 'ERROR_UNSTABLE'}

    def attach(self, result: contract.Result, folder: Path) -> ExitCode | None:
        """Attach what there is; a checkpoint and crash frames may be missing."""
        if result.outcome in ('killed', 'failed'):
            result = _keep_whole_frames(result, folder)
        for label, name in (('checkpoint', contract.CHECKPOINT_FILE), ('crash', contract.CRASH_FILE)):
            if (folder / name).is_file():
                self.out(label, orm.SinglefileData(folder / name, filename=Path(name).name))
        if not result.n_frames:
            return None
        path = folder / contract.TRAJECTORY_FILE
        if not path.is_file():
            return self.exit_codes.ERROR_TRAJECTORY_MISSING
        try:
            trajectory = read_trajectory(path, self.node.inputs.seed.seed_id)
        except Exception as error:  # whatever a torn binary file makes the reader raise
            return self.exit_codes.ERROR_TRAJECTORY_UNREADABLE.format(reason=first_line(error))
        if result.outcome == 'unstable' and result.timestep_fs:
            trajectory.extra['time_to_crash_fs'] = (result.last_step - trajectory.steps) * result.timestep_fs
        about = result.model_dump(mode='json', include=set(ABOUT))
        self.out('trajectory', node_from_trajectory(trajectory, result.timestep_fs or 0.0, about))
        return None


def _keep_whole_frames(result: contract.Result, folder: Path) -> contract.Result:
    """Leave out what was half written, and after a kill the frames after the checkpoint, which are made again."""
    step = result.last_step
    if result.outcome == 'killed':
        with suppress(CheckpointError):
            step = Checkpoint.read(folder / contract.CHECKPOINT_FILE).step
    n_frames = TrajectoryFile(folder / contract.TRAJECTORY_FILE, Atoms()).keep_until(step)
    return result.model_copy(update={'n_frames': n_frames})
