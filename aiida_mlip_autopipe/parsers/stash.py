"""The parser of the copy of a full trajectory."""

from __future__ import annotations

from typing import Any

from aiida import orm
from aiida.common.datastructures import StashMode
from aiida.engine import ExitCode
from aiida.parsers import Parser

from aiida_mlip_autopipe.data.stash import LOG_FILE, REPORT_FILE, stash_folder
from aiida_mlip_autopipe.jobs.failures import find_failure
from aiida_mlip_autopipe.parsers.job import read_text

# The script writes one of these words before the reason.
LABELS = {'original': 'ERROR_ORIGINAL', 'folder': 'ERROR_FOLDER', 'copy': 'ERROR_COPY'}


class StashParser(Parser):
    """Attaches the folder of the copy if the sha256 of the copy is the one that the exploration reported."""

    def parse(self, **kwargs: Any) -> ExitCode | None:
        """Attach the folder of the copy; return an exit code unless the copy is verified."""
        inputs = self.node.inputs
        recorded = inputs.result['full_trajectory']
        log = read_text(self.retrieved, LOG_FILE)
        if read_text(self.retrieved, REPORT_FILE).strip() == recorded['sha256']:
            folder = stash_folder(inputs.folder.value, inputs.source, inputs.result)
            stashed = orm.RemoteStashFolderData(StashMode.COPY, folder, [recorded['file']], computer=self.node.computer)
            self.out('stashed', stashed)
            return None
        *before, last = log.strip().splitlines() or ['no output']
        word, _, reason = last.partition(': ')
        failure = find_failure(log, self.node.get_scheduler_stderr())
        if word in LABELS and (failure is None or failure.label != 'ERROR_DISK_FULL'):
            # The shell prints a message before that line.
            return getattr(self.exit_codes, LABELS[word]).format(reason='; '.join([reason, *before[-1:]]))
        if failure is not None:
            return getattr(self.exit_codes, failure.label).format(reason=failure.reason)
        return None if self.node.exit_status else self.exit_codes.ERROR_REPORT_MISSING.format(reason=last)
