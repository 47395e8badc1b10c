"""The parser of an evaluation."""

from __future__ import annotations

from pathlib import Path

from aiida.engine import ExitCode

from aiida_mlip_autopipe.data.evaluation import node_from_evaluation
from aiida_mlip_autopipe.data.trajectory import trajectory_from_node
from aiida_mlip_autopipe.exploration.trajectory_file import read_trajectory
from aiida_mlip_autopipe.jobs import contract
from aiida_mlip_autopipe.parsers.job import JobParser, first_line

# Who the second calculator was, kept with its numbers.
ABOUT = ('calculator_name', 'model_name', 'model_sha256', 'device', 'precision', 'environment', 'versions')


class EvaluationParser(JobParser):
    """Attaches what the second calculator says, beside how far it disagrees with the first."""

    def attach(self, result: contract.Result, folder: Path) -> ExitCode | None:
        """Attach the evaluation where there is one."""
        if not result.n_frames:
            return None
        path = folder / contract.EVALUATION_FILE
        if not path.is_file():
            return self.exit_codes.ERROR_TRAJECTORY_MISSING
        first = trajectory_from_node(self.node.inputs.trajectory)
        try:
            second = read_trajectory(path, first.seed_id)
        except Exception as error:  # the reader raises various errors for a truncated file
            return self.exit_codes.ERROR_TRAJECTORY_UNREADABLE.format(reason=first_line(error))
        about = result.model_dump(mode='json', include=set(ABOUT))
        self.out('evaluation', node_from_evaluation(first, second, about))
        return None
