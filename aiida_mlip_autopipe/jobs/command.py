"""The command that runs a job: ``python -m PACKAGE job.json``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from aiida_mlip_autopipe.jobs.allocated import use_allocated_threads

if TYPE_CHECKING:
    from aiida_mlip_autopipe.jobs.runner import Work


def run_command(package: str, load_work: Callable[[], Work]) -> int:
    """Run the job named on the command line, in the folder of its file. Return 0 if ``result.json`` was written.

    Parameters
    ----------
    package
        Name of the package, for the help text.
    load_work
        A function that imports and returns the function that runs the job. It is called after the number of threads has
        been set, because numerical libraries read this number when they are imported.
    """
    use_allocated_threads()
    description = f'Run a job in the folder of its file: python -m {package} job.json'
    parser = argparse.ArgumentParser(prog=f'python -m {package}', description=description)
    parser.add_argument('job', type=Path, help='the file job.json; the results are written to its folder')
    return run_and_report(parser.parse_args().job, load_work())


def run_and_report(job_file: Path, work: Work) -> int:
    """Run a job and print its outcome to stderr. Return 0 if ``result.json`` was written."""
    from aiida_mlip_autopipe.jobs.runner import run_job

    result = run_job(job_file.resolve(), work)
    print(f'{result.outcome}: {result.message}' if result.message else result.outcome, file=sys.stderr)
    return 0
