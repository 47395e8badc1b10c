"""``python -m aiida_mlip_autopipe.exploration job.json``: run one job in the folder of its file."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from pathlib import Path
from typing import Any

from aiida_mlip_autopipe.jobs.command import run_and_report
from aiida_mlip_autopipe.jobs.granted import take_granted_threads


def main() -> int:
    """Run a job, or the self-test; 0 whenever ``result.json`` was written."""
    parser = argparse.ArgumentParser(prog='python -m aiida_mlip_autopipe.exploration', description=__doc__)
    parser.add_argument('job', nargs='?', type=Path, help='job.json; results are written beside it')
    parser.add_argument(
        '--evaluate', action='store_true', help='the job is to evaluate the frames of a trajectory, not to explore'
    )
    parser.add_argument(
        '--self-test',
        metavar='CALCULATOR',
        nargs='?',
        const='{"kind": "emt"}',
        help='print versions, device and one force call of a calculator; its settings as JSON, or a file with them '
        '(default: EMT)',
    )
    parser.add_argument(
        '--environment',
        metavar='CALCULATOR',
        help='print the environment record of a calculator, as JSON, without loading it; settings as for --self-test, '
        '{} for a job without a calculator',
    )
    arguments = parser.parse_args()
    if arguments.environment is not None:
        return _print_environment(_read_settings(arguments.environment))
    take_granted_threads()
    if arguments.self_test is not None:
        from aiida_mlip_autopipe.jobs.self_test import run_self_test

        # Some packages print when they load; the answer alone goes to stdout.
        with contextlib.redirect_stdout(sys.stderr):
            report = run_self_test(_read_settings(arguments.self_test))
        print(json.dumps(report, indent=1))
        return 0 if report['ok'] else 1
    if arguments.job is None:
        parser.error('a job file, or --self-test')
    from aiida_mlip_autopipe.exploration.evaluate import evaluate_frames
    from aiida_mlip_autopipe.exploration.explore import explore

    return run_and_report(arguments.job, evaluate_frames if arguments.evaluate else explore)


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
