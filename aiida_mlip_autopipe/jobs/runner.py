"""Run any job, from ``job.json`` to ``result.json``, which is written even if the job fails."""

from __future__ import annotations

import json
import math
import os
import platform
import traceback
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from aiida_mlip_autopipe import __version__
from aiida_mlip_autopipe.calculators.base import CalculatorRefusedError
from aiida_mlip_autopipe.jobs.allocated import allocated_threads
from aiida_mlip_autopipe.jobs.contract import RESULT_FILE, STOP_FILE, Event, Result, Versions
from aiida_mlip_autopipe.jobs.interruptions import Interrupted, Interruptions
from aiida_mlip_autopipe.jobs.job_file import JobRefusedError
from aiida_mlip_autopipe.jobs.processor import read_processor
from aiida_mlip_autopipe.jobs.reserve import space_reserved

Work = Callable[[Path, dict[str, Any], Interruptions], None]
"""Runs a job from its file, adds fields of the result to the dictionary, and ends when it is interrupted."""


def run_job(job_file: Path, work: Work) -> Result:
    """Run a job in the folder of its file and write ``result.json`` there.

    If the folder has a checkpoint of the same job, the job continues from it. The job writes a checkpoint and ends if
    it receives a signal, finds a stop file or nears the wall-time limit.

    Parameters
    ----------
    job_file
        The file ``job.json``.
    work
        Runs the job.
    """
    folder = job_file.parent
    # If the job was requeued, the result of its earlier process is out of date, and this process may be killed.
    (folder / RESULT_FILE).unlink(missing_ok=True)
    facts: dict[str, Any] = {
        'outcome': 'failed',
        'threads': allocated_threads(os.environ),
        'processor': read_processor(),
    }
    interruptions = Interruptions(folder / STOP_FILE)
    with interruptions.listening():
        try:
            with space_reserved(folder):
                work(job_file, facts, interruptions)
        except (JobRefusedError, CalculatorRefusedError) as error:
            facts.update(outcome='refused', code=error.code, message=str(error))
        except Interrupted:
            facts.update(outcome='stopped', message='stopped by a signal before the first step')
        except Exception as error:
            facts.update(
                outcome='failed',
                message=f'{type(error).__name__}: {error}',
                traceback=traceback.format_exc(),
            )
        result = make_result(facts)
        write_result(result, folder / RESULT_FILE)
    return result


def software_versions(calculator: str | None) -> Versions:
    """Return the versions of the software of this process, including the provided version of the calculator."""
    try:
        torch: str | None = version('torch')
    except PackageNotFoundError:
        torch = None
    return Versions(
        package=__version__, python=platform.python_version(), ase=version('ase'), calculator=calculator, torch=torch
    )


def make_result(facts: dict[str, Any]) -> Result:
    """Return the result. A number that is not finite becomes null and is reported as an event."""
    omitted: list[str] = []

    def finite(value: Any, path: str) -> Any:
        if isinstance(value, dict):
            return {key: finite(item, f'{path}.{key}' if path else key) for key, item in value.items()}
        if isinstance(value, float) and not math.isfinite(value):
            omitted.append(path)
            return None
        return value

    clean = finite(facts, '')
    step = int(clean.get('last_step') or 0)
    events = tuple(
        Event(step=step, rule='not_finite', message=f'{path} in the result is not finite and was omitted')
        for path in omitted
    )
    return Result(**{**clean, 'events': (*clean.get('events', ()), *events)})


def write_result(result: Result, path: Path) -> None:
    """Write a result atomically."""
    temporary = path.with_name(path.name + '.new')
    temporary.write_text(json.dumps(result.model_dump(mode='json'), indent=1, allow_nan=False) + '\n')
    os.replace(temporary, path)
