"""Evaluation job: a second calculator evaluates the frames of a trajectory."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ase import Atoms
from ase.io.trajectory import TrajectoryReader

from aiida_mlip_autopipe.calculators.evaluation import Evaluation, Evaluator
from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.exploration.files.trajectory_file import TrajectoryFile
from aiida_mlip_autopipe.jobs.contract import EVALUATION_FILE, EvaluationJob, Event
from aiida_mlip_autopipe.jobs.interruptions import Interruptions
from aiida_mlip_autopipe.jobs.job_file import JobRefusedError, read_job_as
from aiida_mlip_autopipe.jobs.loading import check_elements, check_environment, describe_loaded, load_model, make_loader
from aiida_mlip_autopipe.jobs.version import EVALUATION_VERSION

# Maximum number of failed evaluations that are reported individually. All of them are counted.
MAX_EVENTS = 10


def read_evaluation_job(path: Path) -> EvaluationJob:
    """Read the ``job.json`` of an evaluation, as `read_job_as` does."""
    return read_job_as(EvaluationJob, path, 'evaluation', EVALUATION_VERSION)


def evaluate_frames(job_file: Path, facts: dict[str, Any], interruptions: Interruptions) -> None:
    """Evaluate the frames of a job, and write the results of each frame before the next one is evaluated.

    If the calculator cannot evaluate a frame, this frame has no results and the job continues with the next one. A job
    that is restarted in its folder continues after the last complete frame.

    Raises
    ------
    JobRefusedError, CalculatorRefusedError
        If the job cannot be run.
    """
    folder = job_file.parent
    with interruptions.raising():
        job = read_evaluation_job(job_file)
        facts.update(
            image_sha256=job.image_sha256, seed_id=job.seed_id, calculator_name=str(job.calculator.get('kind', ''))
        )
        loader = make_loader(job.calculator, job.environment.device)
        interruptions.set_limit(job.max_wallclock_s, None)
        facts.update(model_name=loader.model_name(), model_sha256=loader.check())
        check_environment(job.environment, loader)
        with _open_frames(folder / job.trajectory) as frames:
            template = frames[0]
        started = time.monotonic()
        loaded = load_model(loader)
        check_environment(job.environment, loader, loaded.device)
        check_elements(loader, loaded, template)
        facts.update(describe_loaded(job.environment, loader, loaded, time.monotonic() - started))
    with _open_frames(folder / job.trajectory) as frames:
        _evaluate(frames, loaded.calculator, TrajectoryFile(folder / EVALUATION_FILE, template), facts, interruptions)


def _evaluate(
    frames: TrajectoryReader,
    calculator: Any,
    output: TrajectoryFile,
    facts: dict[str, Any],
    interruptions: Interruptions,
) -> None:
    template = frames[0]
    template.calc = None
    evaluator = Evaluator(template, calculator, with_stress=False)
    steps = (frames[0].info['step'], frames[-1].info['step'])
    n_done = output.keep_until(steps[1])
    events: list[Event] = []
    started, outcome, n_failed = time.monotonic(), 'completed', 0
    interruptions.restart_stopwatch()
    for index in range(n_done, len(frames)):
        if (reason := interruptions.check()) is not None:
            outcome = reason
            break
        frame = frames[index]
        evaluation, problem = _evaluate_frame(evaluator, frame)
        output.append(frame.positions, frame.cell.array, evaluation, frame.info)
        n_done += 1
        if problem:
            n_failed += 1
            if n_failed <= MAX_EVENTS:
                events.append(Event(step=frame.info['step'], rule='not_evaluated', message=problem))
    output.close()
    message = interruptions.message
    if n_failed and n_failed == n_done == len(frames):
        outcome, message = 'no_frame', events[0].message
    facts.update(
        outcome=outcome,
        message=message if outcome != 'completed' else '',
        events=tuple(events),
        first_step=steps[0],
        last_step=steps[1],
        n_frames=n_done,
        force_calls=evaluator.calls,
        loop_s=time.monotonic() - started,
        statistics={'n_not_evaluated': n_failed},
    )


def _evaluate_frame(evaluator: Evaluator, frame: Atoms) -> tuple[Evaluation, str]:
    """Return the results of the calculator for a frame; if it cannot be evaluated, also return the reason."""
    try:
        evaluation = evaluator.evaluate(frame.positions, frame.cell.array)
        problem = '' if evaluation.finite else 'the energy or the forces are not finite'
    except Exception as error:
        # Calculators raise various errors for structures that they do not support.
        problem = f'{type(error).__name__}: {error}'
    if problem:
        evaluation = Evaluation.unknown(len(frame))
    return evaluation, problem


@contextmanager
def _open_frames(path: Path) -> Iterator[TrajectoryReader]:
    """Open a trajectory, which is then read frame by frame.

    Raises
    ------
    JobRefusedError
        If the trajectory cannot be read or has no frames.
    """
    try:
        reader = TrajectoryReader(path)
        n_frames = len(reader)
    except Exception as error:
        raise JobRefusedError(Code.FILE_UNREADABLE, f'the trajectory {path.name} cannot be read: {error}') from error
    if not n_frames:
        raise JobRefusedError(Code.FILE_UNREADABLE, f'the trajectory {path.name} has no frames')
    with reader:
        yield reader
