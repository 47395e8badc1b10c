"""Exploration job: load the calculator, run the simulation and collect the data for the result."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from aiida_mlip_autopipe.calculators.base import (
    CalculatorRefusedError,
    Loaded,
)
from aiida_mlip_autopipe.calculators.isolated_atoms import evaluate_isolated_atoms
from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.exploration.dynamics.ensembles import EnsembleRefusedError, choose_for
from aiida_mlip_autopipe.exploration.preparation import PreparedJob, prepare, read_job
from aiida_mlip_autopipe.exploration.simulation import Simulation
from aiida_mlip_autopipe.exploration.unused import describe_unused
from aiida_mlip_autopipe.jobs.contract import RESULT_FILE, Event
from aiida_mlip_autopipe.jobs.interruptions import Interruptions
from aiida_mlip_autopipe.jobs.job_file import JobRefusedError
from aiida_mlip_autopipe.jobs.loading import check_elements, check_environment, describe_loaded, load_model
from aiida_mlip_autopipe.jobs.runner import make_result, write_result


def load_calculator(prepared: PreparedJob) -> Loaded:
    """Import and load the calculator of a job, and check that it supports the elements.

    Raises
    ------
    CalculatorRefusedError
        If the calculator cannot be imported, its model cannot be loaded, its cutoff is too large, or it does not
        support an element.
    """
    loader = prepared.loader
    loaded = load_model(loader)
    declared = loader.settings.cutoff_A
    if loaded.cutoff_A is not None and loaded.cutoff_A > declared + 1e-6:
        raise CalculatorRefusedError(
            Code.SETTINGS_REFUSED,
            f'calculator.cutoff_A is {declared:g} Å, but the cutoff of the model is {loaded.cutoff_A:g} Å, so the '
            'seeds may be too small for it',
        )
    check_elements(loader, loaded, prepared.atoms)
    return loaded


def explore(job_file: Path, facts: dict[str, Any], interruptions: Interruptions) -> None:
    """Explore a seed by molecular dynamics and Monte Carlo, relax it, or only evaluate it.

    Raises
    ------
    JobRefusedError, CalculatorRefusedError
        If the job cannot be run.
    """
    with interruptions.raising():
        job = read_job(job_file)
        facts.update(
            image_sha256=job.image_sha256,
            seed_id=job.seeds[0].seed_id,
            calculator_name=str(job.calculator.get('kind', '')),
        )
        prepared = prepare(job, job_file.parent)
        settings, loader = prepared.settings, prepared.loader
        interruptions.set_limit(job.max_wallclock_s, settings.walltime_margin_s)
        labelling = loader.labelling
        facts.update(
            calculator_name=labelling.settings.kind,
            model_name=labelling.model_name(),
            model_sha256=prepared.model_sha256,
        )
        started = time.monotonic()
        loaded = load_calculator(prepared)
        environment = check_environment(job.environment, loader, loaded.device, may_differ=job.environment_may_differ)
        facts.update(describe_loaded(environment, loader, loaded, time.monotonic() - started))
    has_stress = 'stress' in loaded.calculator.implemented_properties
    try:
        seed = job.seeds[0]
        choice = choose_for(settings, prepared.atoms, has_stress, seed.form, seed.molecular, seed.amorphous)
    except EnsembleRefusedError as error:
        raise JobRefusedError(error.code, str(error)) from error
    facts.update(ensemble=choice.ensemble, ensemble_reason=choice.reason, timestep_fs=prepared.timestep_fs or None)

    simulation = Simulation(prepared, loaded.calculator, choice.ensemble, job_file.parent, interruptions)

    def write_result_in_advance() -> None:
        """Write the result that will be valid if the process is killed, because a killed process cannot write one."""
        message = f'killed after the checkpoint at step {simulation.step} of {simulation.schedule.n_steps}'
        result = make_result(facts | _describe(simulation) | {'outcome': 'killed', 'message': message})
        write_result(result, job_file.with_name(RESULT_FILE))

    simulation.on_checkpoint = write_result_in_advance
    for message in describe_unused(settings, choice.ensemble, choice.reason):
        simulation.state.events.append(Event(step=0, rule='unused', message=message))
    if prepared.reference is not None and (lacking := ', '.join(prepared.reference.lacking(prepared.atoms.numbers))):
        message = (
            f'elements that the reference dataset lacks: {lacking}; at the start, none of their environments is known'
        )
        simulation.state.events.append(Event(step=0, rule='novelty', message=message))
    try:
        facts['outcome'] = simulation.run()
    finally:
        facts.update(_describe(simulation))
    if facts['outcome'] == 'completed':
        # Isolated atoms come last, so that they do not affect the dynamics. They are skipped if the run failed or its
        # wall time has run out.
        energies, faults = evaluate_isolated_atoms(prepared.atoms.symbols, loaded.calculator)
        facts['isolated_atom_energies_eV'] = energies
        facts['events'] += tuple(Event(step=simulation.step, rule='isolated_atom', message=fault) for fault in faults)


def _describe(simulation: Simulation) -> dict[str, Any]:
    """Return the fields of the result that are known at any point in a run."""
    leg, full_trajectory = simulation.leg, simulation.recorder.full_trajectory
    return {
        'message': simulation.message,
        'events': tuple(simulation.state.events),
        'first_step': leg.first_step,
        'last_step': simulation.step,
        'n_frames': leg.n_frames,
        'full_trajectory': full_trajectory and full_trajectory.describe(),
        'force_calls': leg.force_calls,
        'loop_s': leg.loop_s,
        'mean_temperature_K': leg.temperature_sum / leg.n_frames if leg.n_frames else None,
        'statistics': simulation.state.statistics(),
    }
