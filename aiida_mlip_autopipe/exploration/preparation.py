"""The checks of a job that need no expensive imports."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from aiida_mlip_autopipe.calculators.base import CalculatorLoader
from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.hashing import file_sha256
from aiida_mlip_autopipe.exploration.checkpoint import Checkpoint, CheckpointError, hash_job
from aiida_mlip_autopipe.exploration.dynamics.ensembles import EnsembleChoice, EnsembleRefusedError, choose_for
from aiida_mlip_autopipe.exploration.dynamics.schedule import Schedule
from aiida_mlip_autopipe.exploration.dynamics.timestep import automatic_timestep
from aiida_mlip_autopipe.exploration.novelty.reference import ReferenceEnvironments
from aiida_mlip_autopipe.exploration.novelty.setup import COMMITTEE_KIND, committee_settings
from aiida_mlip_autopipe.exploration.settings.identity import identify
from aiida_mlip_autopipe.exploration.settings.kinds import AnyExploration, read_exploration
from aiida_mlip_autopipe.exploration.settings.novelty import reference_of
from aiida_mlip_autopipe.jobs.contract import (
    CHECKPOINT_FILE,
    REFERENCE_FILE,
    START_FILE,
    Job,
)
from aiida_mlip_autopipe.jobs.job_file import JobRefusedError, read_job_as, refusing_settings
from aiida_mlip_autopipe.jobs.loading import check_environment, make_loader
from aiida_mlip_autopipe.jobs.version import RUNNER_VERSION
from aiida_mlip_autopipe.structures.seed import fixed_mask


@dataclass(frozen=True, eq=False)
class PreparedJob:
    """A job with valid settings, files and structure.

    ``start`` is the checkpoint of the previous leg. ``own`` is the checkpoint that this leg wrote before it was
    requeued; if it cannot be read, ``damage`` is the reason.
    """

    job: Job
    settings: AnyExploration
    loader: CalculatorLoader
    model_sha256: str | None
    atoms: Atoms
    choice: EnsembleChoice
    schedule: Schedule
    reference: ReferenceEnvironments | None
    timestep_fs: float
    start: Checkpoint | None
    own: Checkpoint | None
    damage: str

    @property
    def molecules(self) -> np.ndarray | None:
        """The index of the molecule of each atom (n,), or None if the seed was not generated as molecules."""
        return self.atoms.get_tags() if self.job.seeds[0].molecular else None

    def hash_at(self, step: int) -> str:
        """Return the identity of a run up to a step. A job with the same identity may continue from there.

        The schedule of later steps is omitted, so that a finished run can be extended.
        """
        return _hash_until(step, self._identity, self._nominal_schedule)

    @cached_property
    def _identity(self) -> dict[str, Any]:
        return identify(self.job, self.settings, self.loader, self.model_sha256)

    @cached_property
    def _nominal_schedule(self) -> Schedule:
        return Schedule(self.settings)


def expected_hash(job: Job, step: int) -> str:
    """Return the identity of the run of a job up to a step, without its folder.

    The settings of the calculator must contain the sha256 of each model.

    Parameters
    ----------
    job
        The job.
    step
        Absolute step.
    """
    settings = read_exploration(job.exploration)
    loader = make_loader(job.calculator, job.environment.device)
    model_sha256 = getattr(loader.labelling.settings, 'model_sha256', None)
    return _hash_until(step, identify(job, settings, loader, model_sha256), Schedule(settings))


def _hash_until(step: int, identity: dict[str, Any], schedule: Schedule) -> str:
    segments = [asdict(segment) for segment in schedule.until(step)]
    return hash_job(identity | {'schedule': segments, 'max_temperature_K': schedule.max_temperature_K})


def read_job(path: Path) -> Job:
    """Read the ``job.json`` of an exploration, as `read_job_as` does."""
    return read_job_as(Job, path, 'runner', RUNNER_VERSION)


def prepare(job: Job, folder: Path) -> PreparedJob:
    """Check a job without importing its calculator.

    Raises
    ------
    JobRefusedError, CalculatorRefusedError
        If the job cannot be run.
    """
    seed = job.seeds[0]
    with refusing_settings('exploration'):
        settings = read_exploration(job.exploration)
        factors = settings.recovery
        schedule = Schedule(settings, factors.temperature_factor**job.recoveries)
    loader = make_loader(job.calculator, job.environment.device)
    model_sha256 = loader.check()
    check_environment(job.environment, loader, may_differ=job.environment_may_differ)
    needing = committee_settings(settings)
    if needing and loader.settings.kind != COMMITTEE_KIND:
        raise JobRefusedError(
            Code.CALCULATOR_UNSUITABLE, f'exploration.{needing[0]} needs a calculator of the kind {COMMITTEE_KIND}'
        )
    atoms = read_seed(folder / seed.structure)
    try:
        choice = choose_for(settings, atoms, True, seed.form, seed.molecular, seed.amorphous)
    except EnsembleRefusedError as error:
        raise JobRefusedError(error.code, str(error)) from error
    loader.check_elements(atoms.get_chemical_symbols())
    prepared = PreparedJob(
        job=job,
        settings=settings,
        loader=loader,
        model_sha256=model_sha256,
        atoms=atoms,
        choice=choice,
        schedule=schedule,
        reference=_read_reference(job, settings, atoms, folder),
        timestep_fs=_timestep(settings, atoms) * factors.timestep_factor**job.recoveries,
        start=None,
        own=None,
        damage='',
    )
    try:
        start = _read_checkpoint(folder / START_FILE, prepared)
    except CheckpointError as error:
        raise JobRefusedError(error.code, str(error)) from error
    try:
        return replace(prepared, start=start, own=_read_checkpoint(folder / CHECKPOINT_FILE, prepared))
    except CheckpointError as error:
        return replace(prepared, start=start, damage=str(error))


def read_seed(path: Path) -> Atoms:
    """Read the starting structure.

    Raises
    ------
    JobRefusedError
        If the file cannot be read, or the structure has non-finite positions or an unsupported constraint.
    """
    from ase.io.trajectory import TrajectoryReader

    try:
        with TrajectoryReader(path) as reader:
            atoms: Atoms = reader[-1]
    except Exception as error:
        raise JobRefusedError(Code.FILE_UNREADABLE, f'the structure {path.name} cannot be read: {error}') from error
    atoms.calc = None
    try:
        fixed_mask(atoms)
    except ValueError as error:
        raise JobRefusedError(Code.STRUCTURE_INVALID, str(error)) from error
    if not np.isfinite(atoms.positions).all():
        raise JobRefusedError(Code.STRUCTURE_INVALID, f'the positions in {path.name} are not finite')
    return atoms


def _read_reference(job: Job, settings: AnyExploration, atoms: Atoms, folder: Path) -> ReferenceEnvironments | None:
    """Return the environments of the reference dataset; None without a reference dataset.

    Raises
    ------
    JobRefusedError
        If the file is missing or has different content, its descriptor lacks an element of the seed, or the limit does
        not exceed the threshold.
    """
    if (reference_of(settings.novelty) is None) != (job.reference_sha256 is None):
        raise JobRefusedError(
            Code.VALUES_INCOMPLETE, 'novelty.reference_dataset and reference_sha256 must be set together'
        )
    if job.reference_sha256 is None:
        return None
    path = folder / REFERENCE_FILE
    if not path.is_file() or file_sha256(path) != job.reference_sha256:
        raise JobRefusedError(Code.FILE_UNREADABLE, f'the file {path.name} is missing or differs from that of the job')
    with refusing_settings('exploration.novelty'):
        found = ReferenceEnvironments.read(path)
        found.check(atoms.numbers, getattr(settings.novelty, 'limit', None))
    return found


def _timestep(settings: AnyExploration, atoms: Atoms) -> float:
    """Return the time step in fs; 0 without dynamics."""
    if settings.kind != 'dynamics':
        return 0.0
    return settings.timestep_fs or automatic_timestep(atoms)


def _read_checkpoint(path: Path, prepared: PreparedJob) -> Checkpoint | None:
    if not path.exists():
        return None
    checkpoint = Checkpoint.read(path)
    same_atoms = np.array_equal(checkpoint.numbers, prepared.atoms.numbers)
    if checkpoint.job_hash != prepared.hash_at(checkpoint.step) or not same_atoms:
        raise JobRefusedError(
            Code.CHECKPOINT_MISMATCH,
            f'the checkpoint {path.name} in this folder is from a job with a different seed, calculator or settings; '
            'remove it to start from the seed',
        )
    recoveries = prepared.job.recoveries
    if checkpoint.recoveries > recoveries:
        raise JobRefusedError(
            Code.CHECKPOINT_MISMATCH,
            f'the checkpoint {path.name} belongs to recovery {checkpoint.recoveries}, but the job belongs to recovery '
            f'{recoveries}',
        )
    return checkpoint
