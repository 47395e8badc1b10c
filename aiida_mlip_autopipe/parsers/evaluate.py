"""The parser of a committee's evaluation."""

from __future__ import annotations

from pathlib import Path

from aiida.engine import ExitCode

from aiida_mlip_autopipe.data.evaluation import node_from_evaluation
from aiida_mlip_autopipe.data.trajectory import trajectory_from_node
from aiida_mlip_autopipe.exploration.files.trajectory_file import read_trajectory
from aiida_mlip_autopipe.jobs import contract
from aiida_mlip_autopipe.parsers.job import JobParser, first_line

# Fields of the result that identify the second calculator; stored with its values.
ABOUT = ('calculator_name', 'model_name', 'model_sha256', 'device', 'precision', 'environment', 'versions')


class EvaluationParser(JobParser):
    """Attaches the energies and forces of the second calculator, and its disagreement with the first."""

    def attach(self, result: contract.Result, folder: Path) -> ExitCode | None:
        """Attach the evaluation, if any frame was evaluated."""
        if not result.n_frames:
            return None
        path = folder / contract.EVALUATION_FILE
        if not path.is_file():
            return self.exit_codes.ERROR_TRAJECTORY_MISSING
        first = trajectory_from_node(self.node.inputs.trajectory)
        try:
            second = read_trajectory(path, first.seed_id)
        except Exception as error:  # the reader raises various errors for truncated files
            return self.exit_codes.ERROR_TRAJECTORY_UNREADABLE.format(reason=first_line(error))
        about = result.model_dump(mode='json', include=set(ABOUT))
        self.out('evaluation', node_from_evaluation(first, second, about))
        return None
