"""The base class of the parsers of all jobs. It attaches the outputs and then determines the exit code."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import Any, ClassVar

from aiida import orm
from aiida.engine import ExitCode
from aiida.parsers import Parser

from aiida_mlip_autopipe.core.errors import AutopipeError, first_line
from aiida_mlip_autopipe.jobs import contract
from aiida_mlip_autopipe.jobs.environment import self_test_command
from aiida_mlip_autopipe.jobs.failures import accounting_state, find_failure
from aiida_mlip_autopipe.labelling.contract import LABELS_FILE
from aiida_mlip_autopipe.labelling.label import Failure, Label
from aiida_mlip_autopipe.labelling.labels_file import read_labels

LOG_FILE = 'exploration.log'


class JobParser(Parser):
    """Reads the retrieved files of a job, but never the remote folder."""

    OUTCOMES: ClassVar[dict[str, str]] = {
        'failed': 'ERROR_RUNNER_RAISED',
        'out_of_walltime': 'ERROR_OUT_OF_WALLTIME',
        'stopped': 'ERROR_OUT_OF_WALLTIME',
        'no_frame': 'ERROR_NO_FRAME',
    }
    """The exit code of each outcome except ``completed`` and ``refused``."""

    def parse(self, **kwargs: Any) -> ExitCode | None:
        """Attach the outputs, and return an exit code if the job failed."""
        try:
            data = self.retrieved.base.repository.get_object_content(contract.RESULT_FILE, mode='rb')
        except FileNotFoundError:
            return self._find_cause(self.exit_codes.ERROR_RESULT_MISSING)
        try:
            result = contract.read_result(data)
        except ValueError as error:
            return self.exit_codes.ERROR_RESULT_UNREADABLE.format(reason=first_line(error))
        self.out('result', orm.Dict(result.model_dump(mode='json')))
        return self.attach(result, Path(kwargs['retrieved_temporary_folder'])) or self._find_exit_code(result)

    @abstractmethod
    def attach(self, result: contract.Result, folder: Path) -> ExitCode | None:
        """Attach the other outputs, and return an exit code if one of them is missing or unreadable."""

    def read_labels(self, folder: Path) -> dict[str, Label | Failure] | ExitCode:
        """Return the labels and failures that the job has written, by key; an exit code if they cannot be read."""
        path = folder / LABELS_FILE
        if not path.is_file():
            return self.exit_codes.ERROR_TRAJECTORY_MISSING
        try:
            return read_labels(path)
        except AutopipeError as error:
            return self.exit_codes.ERROR_TRAJECTORY_UNREADABLE.format(reason=first_line(error))

    def _find_exit_code(self, result: contract.Result) -> ExitCode | None:
        if result.outcome == 'completed':
            # Not ExitCode(0), which would hide the exit code of the scheduler.
            return None
        if result.outcome == 'killed':
            label = 'ERROR_KILLED' if 'ERROR_KILLED' in self.exit_codes else 'ERROR_RESULT_MISSING'
            return self._find_cause(getattr(self.exit_codes, label), started=True)
        if result.outcome == 'failed' and (failure := find_failure(result.message)):
            return getattr(self.exit_codes, failure.label).format(reason=result.message)
        label = f'ERROR_{result.code.name}' if result.code else self.OUTCOMES[result.outcome]
        if label not in self.exit_codes:
            label = 'ERROR_SETTINGS_REFUSED'
        return getattr(self.exit_codes, label).format(reason=result.message, remedy=self._remedy())

    def _remedy(self) -> str:
        """Return the command that records a changed environment."""
        return (
            f"'{self_test_command(self.node.inputs.code.full_label)}'"
            if 'code' in self.node.inputs
            else 'the self-test'
        )

    def _find_cause(self, fallback: ExitCode, started: bool = False) -> ExitCode | None:
        """Return the exit code of a job that did not record why it ended.

        The fallback is returned if the output shows no known failure, or if the job was cancelled after it had started.
        """
        if self.node.exit_status:
            # The exit code of the scheduler is more precise (memory, wall time, node failure), and AiiDA keeps it.
            return None
        state = accounting_state(self.node.get_detailed_job_info())
        failure = find_failure(self.node.get_scheduler_stderr(), read_text(self.retrieved, LOG_FILE), state)
        if failure is None or (started and failure.label == 'ERROR_CANCELLED'):
            return fallback
        return getattr(self.exit_codes, failure.label).format(reason=failure.reason)


def read_text(retrieved: orm.FolderData, name: str) -> str:
    """Return the text of a retrieved file, with bytes that are not text replaced; empty if the file does not exist."""
    try:
        content: bytes = retrieved.base.repository.get_object_content(name, mode='rb')
    except FileNotFoundError:
        return ''
    return content.decode(errors='replace')
