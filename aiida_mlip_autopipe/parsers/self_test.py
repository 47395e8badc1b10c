"""The parser of a code's self-test."""

from __future__ import annotations

from typing import Any

from aiida import orm
from aiida.engine import ExitCode
from aiida.parsers import Parser
from pydantic import BaseModel, ConfigDict

from aiida_mlip_autopipe.core.reading.json_text import parse_json
from aiida_mlip_autopipe.jobs.failures import find_failure
from aiida_mlip_autopipe.parsers.job import read_text

REPORT_FILE, LOG_FILE = 'self_test.json', 'self_test.log'


class _Report(BaseModel):
    """A report. Only the fields that are read here are declared; others are allowed."""

    model_config = ConfigDict(extra='allow', strict=True)

    ok: bool
    message: str = ''


class SelfTestParser(Parser):
    """Reads the report of the self-test, or the reason why it is missing."""

    def parse(self, **kwargs: Any) -> ExitCode | None:
        """Attach the report; return an exit code unless the test passed."""
        log = read_text(self.retrieved, LOG_FILE)
        try:
            report = _Report.model_validate(parse_json(read_text(self.retrieved, REPORT_FILE))).model_dump()
        except ValueError:
            failure = find_failure(log, self.node.get_scheduler_stderr())
            if failure is not None:
                return getattr(self.exit_codes, failure.label).format(reason=failure.reason)
            last = (log.strip().splitlines() or ['no output'])[-1]
            return None if self.node.exit_status else self.exit_codes.ERROR_REPORT_UNREADABLE.format(reason=last)
        self.out('report', orm.Dict(report))
        return None if report['ok'] else self.exit_codes.ERROR_SELF_TEST_FAILED.format(reason=report['message'])
