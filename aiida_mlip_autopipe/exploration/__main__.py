"""Run a job in the folder of its file: python -m aiida_mlip_autopipe.exploration job.json."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from pathlib import Path
from typing import Any

from aiida_mlip_autopipe.jobs.allocated import use_allocated_threads
from aiida_mlip_autopipe.jobs.command import run_and_report


def main() -> int:
    """Run a job or the self-test. Return 0 if ``result.json`` was written or the self-test passed."""
    parser = argparse.ArgumentParser(prog='python -m aiida_mlip_autopipe.exploration', description=__doc__)
    parser.add_argument('job', nargs='?', type=Path, help='the file job.json; the results are written to its folder')
    parser.add_argument(
        '--self-test',
        metavar='CALCULATOR',
        nargs='?',
        const='{"kind": "emt"}',
        help='load a calculator, evaluate one structure, and print a report; CALCULATOR is the settings of '
        'the calculator as JSON, or a file that contains them (default: EMT)',
    )
    parser.add_argument(
        '--environment',
        metavar='CALCULATOR',
        help='print the environment record of a calculator as JSON, without loading it; CALCULATOR as for --self-test, '
        'or {} for a job without a calculator',
    )
    arguments = parser.parse_args()
    if arguments.environment is not None:
        return _print_environment(_read_settings(arguments.environment))
    use_allocated_threads()
    if arguments.self_test is not None:
        from aiida_mlip_autopipe.jobs.self_test import run_self_test

        # Some packages print messages when they are loaded, but stdout must contain only the report.
        with contextlib.redirect_stdout(sys.stderr):
            report = run_self_test(_read_settings(arguments.self_test))
        print(json.dumps(report, indent=1))
        return 0 if report['ok'] else 1
    if arguments.job is None:
        parser.error('a job file, --self-test or --environment is required')
    from aiida_mlip_autopipe.exploration.explore import explore

    return run_and_report(arguments.job, explore)


def _print_environment(calculator: dict[str, Any]) -> int:
    from aiida_mlip_autopipe.core.errors import AutopipeError
    from aiida_mlip_autopipe.jobs.environment import read_environment
    from aiida_mlip_autopipe.jobs.loading import make_loader

    try:
        environment = read_environment(make_loader(calculator) if calculator else None)
    except AutopipeError as error:
        print(error, file=sys.stderr)
        return 1
    print(environment.model_dump_json())
    return 0


def _read_settings(text: str) -> dict[str, Any]:
    settings: dict[str, Any] = json.loads(text if text.lstrip().startswith('{') else Path(text).read_text())
    return settings


if __name__ == '__main__':
    sys.exit(main())
