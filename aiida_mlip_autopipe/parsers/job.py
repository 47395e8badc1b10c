"""What the parsers of all jobs do: attach the result first and judge then, from the retrieved files alone."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import Any, ClassVar

from aiida import orm
from aiida.engine import ExitCode
from aiida.parsers import Parser
from pydantic import ValidationError

from aiida_mlip_autopipe.jobs import contract
from aiida_mlip_autopipe.jobs.environment import self_test_command
from aiida_mlip_autopipe.jobs.failures import accounting_state, find_failure

LOG_FILE = 'exploration.log'


class JobParser(Parser):
    """Reads what a job left in the retrieved files, never in the remote folder."""

    OUTCOMES: ClassVar[dict[str, str]] = {
        'failed': 'ERROR_RUNNER_RAISED',
        'out_of_walltime': 'ERROR_OUT_OF_WALLTIME',
        'stopped': 'ERROR_OUT_OF_WALLTIME',
        'no_frame': 'ERROR_NO_FRAME',
    }
    """The exit code of each outcome but ``completed`` and ``refused``."""

    def parse(self, **kwargs: Any) -> ExitCode | None:
        """Attach what the job left; return an exit code unless all is well."""
        try:
            text = self.retrieved.base.repository.get_object_content(contract.RESULT_FILE)
        except FileNotFoundError:
            return self._find_cause(self.exit_codes.ERROR_RESULT_MISSING)
        try:
            result = contract.Result.model_validate_json(text)
        except ValidationError as error:
            return self.exit_codes.ERROR_RESULT_UNREADABLE.format(reason=first_line(error))
        self.out('result', orm.Dict(result.model_dump(mode='json')))
        return self.attach(result, Path(kwargs['retrieved_temporary_folder'])) or self._judge(result)

    @abstractmethod
    def attach(self, result: contract.Result, folder: Path) -> ExitCode | None:
        """Attach the other outputs; return an exit code if one of them is missing or cannot be read."""

    def _judge(self, result: contract.Result) -> ExitCode | None:
        if result.outcome == 'completed':
            # Not ExitCode(0), which would hide what the scheduler reported.
            return None
        if result.outcome == 'killed':
            return self._find_cause(self.exit_codes.ERROR_KILLED, began=True)
        if result.outcome == 'failed' and (failure := find_failure(result.message)):
            return getattr(self.exit_codes, failure.label).format(reason=result.message)
        label = f'ERROR_{result.code.name}' if result.code else self.OUTCOMES[result.outcome]
        if label not in self.exit_codes:
            label = 'ERROR_SETTINGS_REFUSED'
        return getattr(self.exit_codes, label).format(reason=result.message, remedy=self._remedy())

    def _remedy(self) -> str:
        """Return the command that records a changed environment again."""
        return (
            f"'{self_test_command(self.node.inputs.code.full_label)}'"
            if 'code' in self.node.inputs
            else 'the self-test'
        )

    def _find_cause(self, otherwise: ExitCode, began: bool = False) -> ExitCode | None:
        """Return why a job ended that could not say so itself; a cancelled one that began has not failed to begin."""
        if self.node.exit_status:
            # The scheduler knows best (out of memory, wall time, node failure), and AiiDA keeps its code.
            return None
        state = accounting_state(self.node.get_detailed_job_info())
        failure = find_failure(self.node.get_scheduler_stderr(), read_text(self.retrieved, LOG_FILE), state)
        if failure is None or (began and failure.label == 'ERROR_CANCELLED'):
            return otherwise
        return getattr(self.exit_codes, failure.label).format(reason=failure.reason)


def read_text(retrieved: orm.FolderData, name: str) -> str:
    """Return the text of a retrieved file; empty if there is no such file."""
    try:
        content: str = retrieved.base.repository.get_object_content(name)
    except FileNotFoundError:
        return ''
    return content


def first_line(error: Exception) -> str:
    """Return the first line of what an error says, or else its class."""
    return (str(error) or type(error).__name__).splitlines()[0]
