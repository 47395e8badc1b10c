"""Labelling job: a calculator labels structures and computes isolated atoms, one after another.

Each label is written to a file before the next structure is computed, so a job that is killed loses only the structure
that it was computing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from ase import Atoms
from ase.data import atomic_numbers

from aiida_mlip_autopipe.calculators.base import CalculatorLoader, Loaded
from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.jobs.contract import RESULT_FILE, Event
from aiida_mlip_autopipe.jobs.interruptions import Interrupted, Interruptions
from aiida_mlip_autopipe.jobs.job_file import JobRefusedError, read_job_as
from aiida_mlip_autopipe.jobs.loading import check_elements, check_environment, describe_loaded, load_model, make_loader
from aiida_mlip_autopipe.jobs.runner import make_result, write_result
from aiida_mlip_autopipe.jobs.version import LABELLING_VERSION
from aiida_mlip_autopipe.labelling.contract import LABELS_FILE, LabellingJob, isolated_atom_message
from aiida_mlip_autopipe.labelling.keys import isolated_atom_key, label_key
from aiida_mlip_autopipe.labelling.label import Failure, Label
from aiida_mlip_autopipe.labelling.labels_file import LabelsFile
from aiida_mlip_autopipe.labelling.single_point import SinglePoints
from aiida_mlip_autopipe.structures.structures_file import Structures

# Maximum number of failures that are reported individually. All of them are counted.
MAX_EVENTS = 10
# A fast calculator labels many structures in this time.
RESULT_INTERVAL_S = 1.0

Compute = Callable[[], Label | Failure]


def label_structures(job_file: Path, facts: dict[str, Any], interruptions: Interruptions) -> None:
    """Label the structures of a job, and compute its isolated atoms.

    If a structure cannot be labelled, the failure is recorded, and the job continues with the next one. A job that is
    restarted in its folder computes only what has neither a label nor a failure yet.

    Raises
    ------
    JobRefusedError, CalculatorRefusedError
        If the job cannot be run.
    """
    folder = job_file.parent
    with interruptions.raising():
        job = read_job_as(LabellingJob, job_file, 'labelling', LABELLING_VERSION)
        facts.update(image_sha256=job.image_sha256, calculator_name=str(job.calculator.get('kind', '')))
        loader = make_loader(job.calculator, job.environment.device)
        interruptions.set_limit(job.max_wallclock_s, None)
        facts.update(model_name=loader.model_name(), model_sha256=loader.check())
        check_environment(job.environment, loader, may_differ=job.environment_may_differ)
        structures = read_structures(folder / job.structures)
        loaded = _load(job, loader, structures, facts)
    points = SinglePoints(loaded.calculator, job, facts['threads'], interruptions)
    of_structures: dict[str, Compute] = {
        label_key(atoms, job.level_hash): partial(points.label, atoms) for atoms in structures
    }
    of_atoms: dict[str, Compute] = {
        isolated_atom_key(symbol): partial(points.isolated_atom, symbol) for symbol in job.isolated_atoms
    }
    labels = LabelsFile(folder / LABELS_FILE)
    started = written = time.monotonic()

    def describe(outcome: str, message: str) -> None:
        facts.update(_describe(labels.outcomes, list(of_structures), job.isolated_atoms))
        facts.update(force_calls=points.calls, loop_s=time.monotonic() - started)
        if outcome == 'completed' and len(facts['events']) and not labels.any_label:
            outcome, message = 'no_frame', facts['events'][0].message
        facts.update(outcome=outcome, message=message)

    def save() -> None:
        # A process that is killed can no longer write a result. The first missing label is the one that it was
        # computing.
        describe('killed', 'the process was killed')
        write_result(make_result(facts), folder / RESULT_FILE)

    save()
    interruptions.restart_stopwatch()
    for key, compute in (of_structures | of_atoms).items():
        if key in labels.outcomes:
            continue
        try:
            labels.append(key, compute_label(compute, points, interruptions))
        except Interrupted:
            describe(interruptions.reason or 'stopped', interruptions.message)
            return
        if time.monotonic() - written > RESULT_INTERVAL_S:
            save()
            written = time.monotonic()
    describe('completed', '')


def compute_label(compute: Compute, points: SinglePoints, interruptions: Interruptions) -> Label | Failure:
    """Compute one label.

    Raises
    ------
    Interrupted
        If the job must end. It also ends if the longest calculation so far would not fit into the remaining time.
    """
    interruptions.reason = interruptions.check(points.longest_s)
    if interruptions.reason is not None:
        raise Interrupted
    try:
        return compute()
    except Interrupted:
        if interruptions.reason != 'out_of_walltime' or points.n_done:
            raise
        # This structure had the whole time limit of the job, so another job would not finish it either.
        return points.fail('time_limit', 'the calculation takes longer than the wall time of the job')


def read_structures(path: Path) -> Structures:
    """Read the structures of a job.

    Raises
    ------
    JobRefusedError
        If the file cannot be read.
    """
    try:
        return Structures(path)
    except (OSError, ValueError) as error:
        raise JobRefusedError(Code.FILE_UNREADABLE, f'the structures in {path.name} cannot be read: {error}') from error


def _load(job: LabellingJob, loader: CalculatorLoader, structures: Structures, facts: dict[str, Any]) -> Loaded:
    started = time.monotonic()
    loaded = load_model(loader)
    environment = check_environment(job.environment, loader, loaded.device, may_differ=job.environment_may_differ)
    # All elements are checked now, because a refusal after hours would waste them.
    check_elements(
        loader, loaded, Atoms(sorted(structures.numbers | {atomic_numbers[one] for one in job.isolated_atoms}))
    )
    if job.variant:
        if not hasattr(loaded.calculator, 'vary'):
            raise JobRefusedError(
                Code.SETTINGS_REFUSED, f'variant: the calculator {loader.settings.kind!r} cannot change {job.variant!r}'
            )
        loaded.calculator.vary(job.variant)
    facts.update(describe_loaded(environment, loader, loaded, time.monotonic() - started))
    return loaded


def _describe(
    outcomes: Mapping[str, Label | Failure], keys: list[str], isolated_atoms: tuple[str, ...]
) -> dict[str, Any]:
    """Return the fields of the result that describe what was computed."""
    done = [outcomes[key] for key in keys if key in outcomes]
    failed = [(number, one) for number, one in enumerate(done) if isinstance(one, Failure)]
    atoms = {one: outcomes[key] for one in isolated_atoms if (key := isolated_atom_key(one)) in outcomes}
    events = [Event(step=number, rule=one.rule, message=one.reason) for number, one in failed[:MAX_EVENTS]]
    events += [
        Event(step=len(done), rule=one.rule, message=isolated_atom_message(symbol, one.reason))
        for symbol, one in atoms.items()
        if isinstance(one, Failure)
    ]
    return {
        'events': tuple(events),
        'n_frames': len(done),
        'isolated_atom_energies_eV': {one: atom.energy_eV for one, atom in atoms.items() if isinstance(atom, Label)},
        'statistics': {'n_failed': len(failed)},
    }
