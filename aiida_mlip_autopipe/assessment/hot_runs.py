"""Hot runs: dynamics at a high temperature, with the guards of explorations, to see whether a model is stable."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from aiida_mlip_autopipe.assessment.contract import HOT_RUN_CHECKPOINT, AssessmentJob, HotRun, hot_run_folder
from aiida_mlip_autopipe.exploration import RUNNER_VERSION
from aiida_mlip_autopipe.exploration.dynamics.ensembles import EnsembleRefusedError, choose_for
from aiida_mlip_autopipe.exploration.phase_space import EvaluationError
from aiida_mlip_autopipe.exploration.preparation import PreparedJob, prepare
from aiida_mlip_autopipe.exploration.simulation import Simulation
from aiida_mlip_autopipe.exploration.stepping import reporting_errors
from aiida_mlip_autopipe.jobs.contract import CHECKPOINT_FILE, START_FILE, Job
from aiida_mlip_autopipe.jobs.interruptions import Interrupted, Interruptions
from aiida_mlip_autopipe.jobs.job_file import JobRefusedError


def prepare_hot_runs(job: AssessmentJob, folder: Path, n_done: int) -> list[PreparedJob]:
    """Check the hot runs that remain, without importing the calculator.

    Parameters
    ----------
    job
        The assessment.
    folder
        Its folder. The first of the remaining runs continues from a checkpoint there.
    n_done
        Number of finished runs.

    Raises
    ------
    JobRefusedError, CalculatorRefusedError
        If a run is impossible.
    """
    checkpoint = folder / HOT_RUN_CHECKPOINT
    prepared = []
    for number, seed in list(enumerate(job.seeds))[n_done:]:
        run_folder = folder / hot_run_folder(number)
        # A job that is requeued in its folder has a checkpoint there.
        if number == n_done and checkpoint.is_file() and not (run_folder / CHECKPOINT_FILE).is_file():
            shutil.copyfile(checkpoint, run_folder / START_FILE)
        run = Job(
            environment=job.environment,
            environment_may_differ=job.environment_may_differ,
            max_wallclock_s=job.max_wallclock_s,
            runner_version=RUNNER_VERSION,
            seeds=(seed,),
            calculator=job.calculator,
            exploration=job.hot_runs,
        )
        prepared.append(prepare(run, run_folder))
    return prepared


def run_hot(
    prepared: PreparedJob,
    calculator: Any,
    folder: Path,
    interruptions: Interruptions,
    on_checkpoint: Callable[[], None],
) -> tuple[HotRun, int]:
    """Return the outcome of a hot run and its number of evaluations.

    Parameters
    ----------
    prepared
        The run.
    calculator
        The loaded ASE calculator.
    folder
        The folder of the run. A checkpoint of the run in progress is also kept in its parent folder.
    interruptions
        Checks for reasons to end early.
    on_checkpoint
        Called after each checkpoint.

    Raises
    ------
    Interrupted
        If the job must end.
    JobRefusedError
        If the calculator cannot run the dynamics of this seed.
    """
    seed, kept = prepared.job.seeds[0], folder.parent / HOT_RUN_CHECKPOINT
    has_stress = 'stress' in calculator.implemented_properties
    try:
        choice = choose_for(prepared.settings, prepared.atoms, has_stress, seed.form, seed.molecular, seed.amorphous)
    except EnsembleRefusedError as error:
        raise JobRefusedError(error.code, f'hot_runs: {error}') from error
    simulation = Simulation(prepared, calculator, choice.ensemble, folder, interruptions)

    def keep_checkpoint() -> None:
        temporary = kept.with_name(kept.name + '.new')
        shutil.copyfile(folder / CHECKPOINT_FILE, temporary)
        os.replace(temporary, kept)
        on_checkpoint()

    simulation.on_checkpoint = keep_checkpoint
    try:
        outcome = reporting_errors(simulation.run)()
    except EvaluationError as error:
        # The calculator cannot evaluate the seed itself.
        outcome, simulation.message = 'no_frame', f'the calculator raised {error}'
    if outcome in ('stopped', 'out_of_walltime'):
        interruptions.reason = outcome
        raise Interrupted
    kept.unlink(missing_ok=True)
    run = HotRun(seed_id=seed.seed_id, outcome=outcome, n_steps=simulation.step, message=simulation.message)
    return run, simulation.leg.force_calls
