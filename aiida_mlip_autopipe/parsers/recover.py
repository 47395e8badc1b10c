"""The parser of the files of a killed exploration job."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from aiida.engine import ExitCode

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.exploration.checkpoint import Checkpoint, CheckpointError
from aiida_mlip_autopipe.exploration.files.trajectory_file import TrajectoryFileError
from aiida_mlip_autopipe.exploration.preparation import expected_hash
from aiida_mlip_autopipe.jobs import contract
from aiida_mlip_autopipe.parsers.explore import CONTINUED, ExplorationParser
from aiida_mlip_autopipe.structures.trajectory import Trajectory


class RecoverParser(ExplorationParser):
    """Attaches the files of a killed job as an `ExplorationParser` does, if they belong to a run with the same inputs.

    The parser of a job that was not killed need not check this, because its files were written by the job itself.
    """

    def attach(self, result: contract.Result, folder: Path) -> ExitCode | None:
        """Attach the outputs, unless they belong to another seed."""
        seed_id = self.node.inputs.seed.seed_id
        if result.seed_id != seed_id:
            return self.exit_codes.ERROR_RESULT_UNREADABLE.format(
                reason=f'it belongs to seed {result.seed_id}, not to {seed_id}'
            )
        return super().attach(result, folder)

    def _read_checkpoint(self, result: contract.Result, folder: Path) -> Checkpoint | None:
        """Return the checkpoint, without which nothing shows that the files belong to a run with the same inputs."""
        checkpoint = super()._read_checkpoint(result, folder)
        if checkpoint is None:
            raise CheckpointError(Code.CHECKPOINT_UNREADABLE, f'{contract.CHECKPOINT_FILE} is missing')
        job = contract.Job.model_validate_json(self.node.base.repository.get_object_content(contract.JOB_FILE))
        if checkpoint.job_hash != expected_hash(job, checkpoint.step):
            raise CheckpointError(
                Code.CHECKPOINT_MISMATCH,
                f'{contract.CHECKPOINT_FILE} belongs to a job with a different seed, calculator or settings',
            )
        return checkpoint

    def _check_frames(self, trajectory: Trajectory, result: contract.Result, checkpoint: Checkpoint | None) -> None:
        """Refuse frames that do not end where the checkpoint does.

        Raises
        ------
        TrajectoryFileError
            If the last frame is not the one that the checkpoint records.
        """
        ends_there = checkpoint is None or np.array_equal(trajectory.positions[-1], checkpoint.last_frame)
        if result.outcome in CONTINUED and not ends_there:
            raise TrajectoryFileError(Code.FILE_UNREADABLE, 'its last frame is not the one that the checkpoint records')
