"""What a job does from ``job.json`` to ``result.json``, which it writes whatever happens."""

from __future__ import annotations

import json
import math
import os
import platform
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from ase import Atoms

from aiida_mlip_autopipe import __version__
from aiida_mlip_autopipe.exploration.calculators.base import (
    CalculatorLoader,
    CalculatorRefusedError,
    Loaded,
    random_streams_kept,
)
from aiida_mlip_autopipe.exploration.contract import RESULT_FILE, STOP_FILE, Event, Result, Versions
from aiida_mlip_autopipe.exploration.ensembles import EnsembleRefusedError, choose_ensemble
from aiida_mlip_autopipe.exploration.granted import granted_threads
from aiida_mlip_autopipe.exploration.interruptions import Interrupted, Interruptions
from aiida_mlip_autopipe.exploration.isolated_atoms import evaluate_isolated_atoms
from aiida_mlip_autopipe.exploration.preparation import (
    JobRefusedError,
    PreparedJob,
    check_environment,
    prepare,
    read_job,
)
from aiida_mlip_autopipe.exploration.reserve import space_reserved
from aiida_mlip_autopipe.exploration.simulation import Simulation

Work = Callable[[Path, dict[str, Any], Interruptions], None]
"""Does a job from its file, notes in a dictionary what the result shall say, and ends when it is interrupted."""


def run_job(job_file: Path, work: Work) -> Result:
    """Run a job in the folder of its file and write ``result.json`` there.

    A folder with a checkpoint of the same job is continued. Signals, the stop file and the end of the wall time make
    the run write a checkpoint and end.

    Parameters
    ----------
    job_file
        The file ``job.json``.
    work
        What the job does.
    """
    folder = job_file.parent
    # What an earlier process of a requeued job said is no longer true, and this one may die without a word.
    (folder / RESULT_FILE).unlink(missing_ok=True)
    facts: dict[str, Any] = {'outcome': 'failed', 'threads': granted_threads(os.environ)}
    interruptions = Interruptions(folder / STOP_FILE)
    with interruptions.listening():
        try:
            with space_reserved(folder):
                work(job_file, facts, interruptions)
        except (JobRefusedError, CalculatorRefusedError) as error:
            facts.update(outcome='refused', refusal=error.refusal, message=str(error))
        except Interrupted:
            facts.update(outcome='stopped', message='stopped by a signal before the first step')
        except Exception as error:
            facts.update(
                outcome='failed',
                message=f'{type(error).__name__}: {error}',
                traceback=traceback.format_exc(),
            )
        result = _make_result(facts)
        _write_result(result, folder / RESULT_FILE)
    return result


def load_calculator(prepared: PreparedJob) -> Loaded:
    """Import and load the calculator of a job, and check that it knows the elements.

    Raises
    ------
    CalculatorRefusedError
        If it cannot be imported, the model cannot be loaded, or an element is not known to it.
    """
    loader = prepared.loader
    loaded = load_model(loader)
    declared = loader.settings.cutoff_A
    if loaded.cutoff_A is not None and loaded.cutoff_A > declared + 1e-6:
        raise CalculatorRefusedError(
            'settings',
            f'calculator.cutoff_A is {declared:g} Å, but the range of the model is {loaded.cutoff_A:g} Å; '
            'the seeds were made for the smaller one',
        )
    check_elements(loader, loaded, prepared.atoms)
    return loaded


def load_model(loader: CalculatorLoader) -> Loaded:
    """Import and load a calculator.

    Raises
    ------
    CalculatorRefusedError
        If it cannot be imported, or the model cannot be loaded.
    """
    with refusing_to_load(loader):
        return loader.load()


@contextmanager
def refusing_to_load(loader: CalculatorLoader) -> Iterator[None]:
    """Tell an error while a calculator is loaded as a refusal, and keep the global random streams.

    Raises
    ------
    CalculatorRefusedError
        If it cannot be imported, or the model cannot be loaded.
    """
    try:
        with random_streams_kept():
            yield
    except CalculatorRefusedError:
        raise
    except ImportError as error:
        raise CalculatorRefusedError(
            'calculator_missing', f'the calculator {loader.settings.kind!r} cannot be imported: {error}'
        ) from error
    except Exception as error:
        model = loader.model_name() or loader.settings.kind
        raise CalculatorRefusedError(
            'model_not_loaded', f'the model {model!r} cannot be loaded: {type(error).__name__}: {error}'
        ) from error


def check_elements(loader: CalculatorLoader, loaded: Loaded, atoms: Atoms) -> None:
    """Refuse a structure with an element that the calculator does not know.

    Raises
    ------
    CalculatorRefusedError
        If there is one.
    """
    if loaded.elements is not None:
        unknown = {
            symbol for symbol, number in zip(atoms.symbols, atoms.numbers, strict=True) if number not in loaded.elements
        }
        loader.refuse_elements(unknown)


def explore(job_file: Path, facts: dict[str, Any], interruptions: Interruptions) -> None:
    """Explore a seed by molecular dynamics and Monte Carlo.

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
        facts.update(model_name=loader.model_name(), model_sha256=prepared.model_sha256)
        started = time.monotonic()
        loaded = load_calculator(prepared)
        check_environment(job.environment, loader, loaded.device)
        facts.update(
            load_s=time.monotonic() - started,
            device=loaded.device,
            precision=loaded.precision,
            environment=job.environment,
            versions=software_versions(loader.version()),
        )
    has_stress = 'stress' in loaded.calculator.implemented_properties
    try:
        choice = choose_ensemble(prepared.atoms, settings.ensemble, settings.vacuum_A, has_stress)
    except EnsembleRefusedError as error:
        raise JobRefusedError('settings', str(error)) from error
    facts.update(ensemble=choice.ensemble, ensemble_reason=choice.reason, timestep_fs=prepared.timestep_fs)

    simulation = Simulation(prepared, loaded.calculator, choice.ensemble, job_file.parent, interruptions)

    def tell_in_advance() -> None:
        """Write what is true if the process is killed from now on: nobody can write it then."""
        message = f'killed after its checkpoint at step {simulation.step} of {simulation.schedule.n_steps}'
        result = _make_result(facts | _describe(simulation) | {'outcome': 'killed', 'message': message})
        _write_result(result, job_file.with_name(RESULT_FILE))

    simulation.on_checkpoint = tell_in_advance
    if choice.ensemble != 'npt' and any(any(segment.pressures_GPa) for segment in prepared.schedule.segments):
        simulation.events.append(
            Event(step=0, rule='pressure', message=f'the pressure is not applied in {choice.ensemble.upper()}')
        )
    try:
        facts['outcome'] = simulation.run()
    finally:
        facts.update(_describe(simulation))
    if facts['outcome'] == 'completed':
        # Last, so that the dynamics are those of a job without it; not when time is up, or the calculator in trouble.
        energies, faults = evaluate_isolated_atoms(prepared.atoms.symbols, loaded.calculator)
        facts['isolated_atom_energies_eV'] = energies
        facts['events'] += tuple(Event(step=simulation.step, rule='isolated_atom', message=fault) for fault in faults)


def _describe(simulation: Simulation) -> dict[str, Any]:
    """Return what can be said of a run at any time."""
    leg, full_trajectory = simulation.leg, simulation.recorder.full_trajectory
    return {
        'message': simulation.message,
        'events': tuple(simulation.events),
        'first_step': leg.first_step,
        'last_step': simulation.step,
        'n_frames': leg.n_frames,
        'full_trajectory': full_trajectory and full_trajectory.describe(),
        'force_calls': leg.force_calls,
        'loop_s': leg.loop_s,
        'mean_temperature_K': leg.temperature_sum / leg.n_frames if leg.n_frames else None,
        'statistics': simulation.statistics(),
    }


def software_versions(calculator: str | None) -> Versions:
    """Return what this process runs with; the version of the calculator's package is given."""
    try:
        torch: str | None = version('torch')
    except PackageNotFoundError:
        torch = None
    return Versions(
        package=__version__, python=platform.python_version(), ase=version('ase'), calculator=calculator, torch=torch
    )


def _make_result(facts: dict[str, Any]) -> Result:
    """Return the result with null for every number that is not finite, and an event for each."""
    lost: list[str] = []

    def finite(value: Any, path: str) -> Any:
        if isinstance(value, dict):
            return {key: finite(item, f'{path}.{key}' if path else key) for key, item in value.items()}
        if isinstance(value, float) and not math.isfinite(value):
            lost.append(path)
            return None
        return value

    clean = finite(facts, '')
    step = int(clean.get('last_step') or 0)
    events = tuple(
        Event(step=step, rule='not_finite', message=f'{path} of the result is not finite and was left out')
        for path in lost
    )
    return Result(**{**clean, 'events': (*clean.get('events', ()), *events)})


def _write_result(result: Result, path: Path) -> None:
    temporary = path.with_name(path.name + '.new')
    temporary.write_text(json.dumps(result.model_dump(mode='json'), indent=1, allow_nan=False) + '\n')
    os.replace(temporary, path)
