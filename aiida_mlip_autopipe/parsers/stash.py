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

# The word before the reason, as the script writes it.
LABELS = {'original': 'ERROR_ORIGINAL', 'folder': 'ERROR_FOLDER', 'copy': 'ERROR_COPY'}


class StashParser(Parser):
    """Attaches where the copy is if its sha256 is the one that the exploration told."""

    def parse(self, **kwargs: Any) -> ExitCode | None:
        """Attach where the copy is; return an exit code unless it is right."""
        inputs = self.node.inputs
        told = inputs.result['full_trajectory']
        log = read_text(self.retrieved, LOG_FILE)
        if read_text(self.retrieved, REPORT_FILE).strip() == told['sha256']:
            folder = stash_folder(inputs.folder.value, inputs.source, inputs.result)
            stashed = orm.RemoteStashFolderData(StashMode.COPY, folder, [told['file']], computer=self.node.computer)
            self.out('stashed', stashed)
            return None
        *before, last = log.strip().splitlines() or ['no output']
        word, _, reason = last.partition(': ')
        failure = find_failure(log, self.node.get_scheduler_stderr())
        if word in LABELS and (failure is None or failure.label != 'ERROR_DISK_FULL'):
            # What the shell said of it comes before.
            return getattr(self.exit_codes, LABELS[word]).format(reason='; '.join([reason, *before[-1:]]))
        if failure is not None:
            return getattr(self.exit_codes, failure.label).format(reason=failure.reason)
        return None if self.node.exit_status else self.exit_codes.ERROR_REPORT_MISSING.format(reason=last)
