"""``python -m aiida_mlip_autopipe.descriptors job.json``: run one job in the folder of its file."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from aiida_mlip_autopipe.jobs.granted import take_granted_threads


def main() -> int:
    """Run a job; 0 whenever ``result.json`` was written."""
    take_granted_threads()
    parser = argparse.ArgumentParser(prog='python -m aiida_mlip_autopipe.descriptors', description=__doc__)
    parser.add_argument('job', type=Path, help='job.json; results are written beside it')
    arguments = parser.parse_args()
    from aiida_mlip_autopipe.descriptors.job import describe_frames
    from aiida_mlip_autopipe.jobs.runner import run_job

    result = run_job(arguments.job.resolve(), describe_frames)
    print(f'{result.outcome}: {result.message}' if result.message else result.outcome, file=sys.stderr)
    return 0


if __name__ == '__main__':
    sys.exit(main())
