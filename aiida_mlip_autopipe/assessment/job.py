"""Assessment job: evaluate frames and dimers with a model, and run dynamics at a high temperature.

Whatever is finished is written to a file before the next part begins, so a job that is killed loses only what it was
computing, and another job continues from these files.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers

from aiida_mlip_autopipe.assessment.contract import PROGRESS_FILE, AssessmentJob, Dimer, Progress, hot_run_folder
from aiida_mlip_autopipe.assessment.hot_runs import prepare_hot_runs, run_hot
from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.exploration.phase_space import EvaluationError
from aiida_mlip_autopipe.exploration.preparation import PreparedJob
from aiida_mlip_autopipe.exploration.stepping import reporting_errors
from aiida_mlip_autopipe.jobs.contract import RESULT_FILE, Event
from aiida_mlip_autopipe.jobs.interruptions import Interrupted, Interruptions
from aiida_mlip_autopipe.jobs.job_file import JobRefusedError, read_job_as
from aiida_mlip_autopipe.jobs.loading import check_elements, check_environment, describe_loaded, load_model, make_loader
from aiida_mlip_autopipe.jobs.runner import make_result, write_result
from aiida_mlip_autopipe.jobs.version import ASSESSMENT_VERSION
from aiida_mlip_autopipe.labelling.contract import LABELS_FILE, LabellingRequest
from aiida_mlip_autopipe.labelling.job import MAX_EVENTS, RESULT_INTERVAL_S, compute_label, read_structures
from aiida_mlip_autopipe.labelling.keys import label_key
from aiida_mlip_autopipe.labelling.label import Failure
from aiida_mlip_autopipe.labelling.labels_file import LabelsFile
from aiida_mlip_autopipe.labelling.single_point import SinglePoints
from aiida_mlip_autopipe.rounds.dimers import dimer_distances, evaluate_dimer, pairs_of
from aiida_mlip_autopipe.structures.structures_file import Structures


def assess(job_file: Path, facts: dict[str, Any], interruptions: Interruptions) -> None:
    """Evaluate structures and dimers with a model, and run hot dynamics.

    If a structure cannot be evaluated, the failure is recorded. A hot run that a guard stops is also a result.

    Raises
    ------
    JobRefusedError, CalculatorRefusedError
        If the job cannot be run.
    """
    folder = job_file.parent
    with interruptions.raising():
        job = read_job_as(AssessmentJob, job_file, 'assessment', ASSESSMENT_VERSION)
        facts.update(image_sha256=job.image_sha256, calculator_name=str(job.calculator.get('kind', '')))
        loader = make_loader(job.calculator, job.environment.device)
        interruptions.set_limit(job.max_wallclock_s, None)
        facts.update(model_name=loader.model_name(), model_sha256=loader.check())
        check_environment(job.environment, loader, may_differ=job.environment_may_differ)
        structures = read_structures(folder / job.structures)
        labels, progress = _read_progress(folder)
        prepared = prepare_hot_runs(job, folder, len(progress.hot_runs))
        started = time.monotonic()
        loaded = load_model(loader)
        environment = check_environment(job.environment, loader, loaded.device, may_differ=job.environment_may_differ)
        of_seeds = (set(one.atoms.numbers.tolist()) for one in prepared)
        numbers = structures.numbers.union({atomic_numbers[one] for one in job.elements}, *of_seeds)
        check_elements(loader, loaded, Atoms(sorted(numbers)))
        facts.update(describe_loaded(environment, loader, loaded, time.monotonic() - started))
    assessment = _Assessment(
        job, folder, loaded.calculator, structures, prepared, labels, progress, facts, interruptions
    )
    try:
        assessment.run()
    except Interrupted:
        assessment.describe(interruptions.reason or 'stopped', interruptions.message)
    else:
        assessment.describe('completed', '')


def _read_progress(folder: Path) -> tuple[LabelsFile, Progress]:
    """Return what this job, or an earlier one, has finished."""
    try:
        return LabelsFile(folder / LABELS_FILE), Progress.read(folder / PROGRESS_FILE)
    except AutopipeError as error:
        raise JobRefusedError(error.code, str(error)) from error
    except ValueError as error:
        raise JobRefusedError(Code.FILE_UNREADABLE, f'{PROGRESS_FILE} cannot be read: {error}') from error


@dataclass
class _Assessment:
    """An assessment in this process."""

    job: AssessmentJob
    folder: Path
    calculator: Any
    structures: Structures
    prepared: list[PreparedJob]
    labels: LabelsFile
    progress: Progress
    facts: dict[str, Any]
    interruptions: Interruptions

    def __post_init__(self) -> None:
        self._points = SinglePoints(self.calculator, LabellingRequest(), self.facts['threads'], self.interruptions)
        self._started = self._written = time.monotonic()
        self._calls = 0
        self._keys = [label_key(atoms, '') for atoms in self.structures]

    def run(self) -> None:
        """Compute what is not finished yet.

        Raises
        ------
        Interrupted
            If the job must end.
        """
        self.save()
        self.interruptions.restart_stopwatch()
        for _ in self._steps():
            if time.monotonic() - self._written > RESULT_INTERVAL_S:
                self.save()

    def _steps(self) -> Iterator[None]:
        for key, atoms in zip(self._keys, self.structures, strict=True):
            if key not in self.labels.outcomes:
                compute = partial(self._points.label, atoms)
                self.labels.append(key, compute_label(compute, self._points, self.interruptions))
                yield
        for pair in pairs_of(self.job.elements):
            if '-'.join(pair) not in self.progress.dimers:
                self._update(dimers={**self.progress.dimers, '-'.join(pair): self._evaluate_dimer(pair)})
                yield
        for prepared in self.prepared:
            folder = self.folder / hot_run_folder(len(self.progress.hot_runs))
            run, calls = run_hot(prepared, self.calculator, folder, self.interruptions, self.save)
            self._calls += calls
            self._update(hot_runs=(*self.progress.hot_runs, run))
            yield

    def _evaluate_dimer(self, pair: tuple[str, str]) -> Dimer:
        distances = dimer_distances(pair)
        try:
            with self.interruptions.watching():
                energies = reporting_errors(evaluate_dimer)(self.calculator, pair).energies_eV
        except EvaluationError:
            energies = np.full(len(distances), np.nan)
        self._calls += len(distances)
        known = tuple(float(one) if np.isfinite(one) else None for one in energies)
        return Dimer(distances_A=tuple(distances.tolist()), energies_eV=known)

    def _update(self, **fields: Any) -> None:
        self.progress = self.progress.model_copy(update=fields)
        self.progress.write(self.folder / PROGRESS_FILE)

    def save(self) -> None:
        """Write the current result, since a process that is killed can no longer write it."""
        self.describe('killed', 'the process was killed')
        write_result(make_result(self.facts), self.folder / RESULT_FILE)
        self._written = time.monotonic()

    def describe(self, outcome: str, message: str) -> None:
        """Update the fields of the result."""
        done = [self.labels.outcomes[key] for key in self._keys if key in self.labels.outcomes]
        failed = [(number, one) for number, one in enumerate(done) if isinstance(one, Failure)]
        events = [Event(step=number, rule=one.rule, message=one.reason) for number, one in failed[:MAX_EVENTS]]
        events += [
            Event(step=len(done), rule='not_finite', message=f'the energy of {pair} is unknown at some distances')
            for pair, dimer in self.progress.dimers.items()
            if None in dimer.energies_eV
        ]
        self.facts.update(
            outcome=outcome,
            message=message,
            events=tuple(events),
            n_frames=len(done),
            force_calls=self._points.calls + self._calls,
            loop_s=time.monotonic() - self._started,
            statistics={
                'n_failed': len(failed),
                'n_dimers': len(self.progress.dimers),
                'n_hot_runs': len(self.progress.hot_runs),
                'n_survived': sum(one.survived for one in self.progress.hot_runs),
            },
        )
