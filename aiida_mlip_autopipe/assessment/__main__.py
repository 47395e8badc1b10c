"""``python -m aiida_mlip_autopipe.assessment job.json``: assess a model in the folder of ``job.json``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from aiida_mlip_autopipe.jobs.command import run_command

if TYPE_CHECKING:
    from aiida_mlip_autopipe.jobs.runner import Work


def _load() -> Work:
    from aiida_mlip_autopipe.assessment.job import assess

    return assess


if __name__ == '__main__':
    sys.exit(run_command('aiida_mlip_autopipe.assessment', _load))
