"""Everything about a job that can be checked before anything expensive is imported."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from ase import Atoms
from pydantic import ValidationError

from aiida_mlip_autopipe.errors import AutopipeError
from aiida_mlip_autopipe.exploration.calculators import CALCULATORS
from aiida_mlip_autopipe.exploration.calculators.base import CalculatorLoader, CalculatorRefusedError
from aiida_mlip_autopipe.exploration.checkpoint import Checkpoint, CheckpointError, hash_job
from aiida_mlip_autopipe.exploration.contract import (
    CHECKPOINT_FILE,
    CONTRACT_VERSION,
    IMAGE_VARIABLE,
    JOB_FILE,
    START_FILE,
    AnyJob,
    Job,
    Refusal,
)
from aiida_mlip_autopipe.exploration.ensembles import EnsembleChoice, EnsembleRefusedError, choose_ensemble
from aiida_mlip_autopipe.exploration.environment import (
    Environment,
    SourceNotFoundError,
    compare_environments,
    read_environment,
)
from aiida_mlip_autopipe.exploration.identity import identify
from aiida_mlip_autopipe.exploration.schedule import Schedule
from aiida_mlip_autopipe.exploration.settings import ExplorationSettings
from aiida_mlip_autopipe.exploration.version import RUNNER_VERSION
from aiida_mlip_autopipe.seeds import fixed_mask

J = TypeVar('J', bound=AnyJob)


class JobRefusedError(AutopipeError):
    """A job that is not run; its ``refusal`` says for which of the reasons."""

    def __init__(self, refusal: Refusal, message: str):
        self.refusal: Refusal = refusal
        super().__init__(message)


@dataclass(frozen=True, eq=False)
class PreparedJob:
    """A job whose settings, files and structure are in order.

    ``start`` is the checkpoint of the leg before, ``own`` the one that this leg wrote before it was requeued. Where
    that cannot be read, ``damage`` says why.
    """

    job: Job
    settings: ExplorationSettings
    loader: CalculatorLoader
    model_sha256: str | None
    atoms: Atoms
    choice: EnsembleChoice
    schedule: Schedule
    timestep_fs: float
    start: Checkpoint | None
    own: Checkpoint | None
    damage: str

    def hash_at(self, step: int) -> str:
        """Return the identity of a run up to a step: a job of the same hash may go on from there.

        What the schedule says of later steps is left out, so that a finished run can be made longer.
        """
        segments = [asdict(segment) for segment in self._unrescued.until(step)]
        highest = self._unrescued.highest_temperature_K
        return hash_job(self._identity | {'schedule': segments, 'highest_temperature_K': highest})

    @cached_property
    def _identity(self) -> dict[str, Any]:
        return identify(self.job, self.settings, self.loader, self.model_sha256)

    @cached_property
    def _unrescued(self) -> Schedule:
        return Schedule(self.settings)


def read_job(path: Path) -> Job:
    """Read ``job.json`` of an exploration, as `read_job_as` does."""
    return read_job_as(Job, path, 'runner', RUNNER_VERSION)


def read_job_as(kind: type[J], path: Path, science: str, version: str) -> J:
    """Read a ``job.json``.

    Parameters
    ----------
    kind
        The model of the job.
    path
        The file.
    science
        What the job does, as its field ``{science}_version`` names it.
    version
        The version of that science here.

    Raises
    ------
    JobRefusedError
        If it is missing, of another contract version, not valid, for another version of the science or another image.
    """
    content = read_content(path)
    with refused_as('settings', JOB_FILE):
        job = kind.model_validate(content)
    expected = getattr(job, f'{science}_version')
    if expected != version:
        raise JobRefusedError(
            'contract',
            f'{path.name} was made for version {expected} of the {science}, the package in this environment has '
            f'{version}; install the same version of aiida-mlip-autopipe on both sides',
        )
    check_image(job.image_sha256)
    return job


def read_content(path: Path) -> dict[str, Any]:
    """Read a ``job.json`` of this version of the contract.

    Raises
    ------
    JobRefusedError
        If it is missing or of another version.
    """
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise JobRefusedError('contract', f'{path.name} cannot be read: {error}') from error
    version = content.get('contract_version') if isinstance(content, dict) else None
    if version != CONTRACT_VERSION:
        raise JobRefusedError(
            'contract',
            f'{path.name} has contract version {version}, the package in this environment has {CONTRACT_VERSION}; '
            'install the same version of aiida-mlip-autopipe on both sides',
        )
    return dict(content)


def check_image(expected: str | None) -> None:
    """Refuse an image that is not the one expected.

    A container cannot read its own image. The submission script hashes the file outside, before it starts the
    container, and hands the result in by the environment.

    Raises
    ------
    JobRefusedError
        If the sha256 is another one, or was not handed in.
    """
    found = os.environ.get(IMAGE_VARIABLE, '')
    if expected is not None and found != expected:
        has = f'has the sha256 {found[:12]}…' if found else 'has a sha256 that the job was not told'
        raise JobRefusedError('model_mismatch', f'the image of this job {has}, expected was {expected[:12]}…')


def prepare(job: Job, folder: Path) -> PreparedJob:
    """Check a job without importing its calculator.

    Raises
    ------
    JobRefusedError, CalculatorRefusedError
        If it cannot be run.
    """
    seed = job.seeds[0]
    with refused_as('settings', 'exploration'):
        settings = ExplorationSettings.model_validate(job.exploration)
        factors = settings.rescue
        schedule = Schedule(settings, factors.temperature_factor**job.rescues)
    loader = make_loader(job.calculator, job.environment.device)
    model_sha256 = loader.check()
    check_environment(job.environment, loader)
    atoms = read_seed(folder / seed.structure)
    try:
        choice = choose_ensemble(atoms, settings.ensemble, settings.vacuum_A)
    except EnsembleRefusedError as error:
        raise JobRefusedError('settings', str(error)) from error
    loader.check_elements(atoms.get_chemical_symbols())
    prepared = PreparedJob(
        job=job,
        settings=settings,
        loader=loader,
        model_sha256=model_sha256,
        atoms=atoms,
        choice=choice,
        schedule=schedule,
        timestep_fs=(settings.timestep_fs or automatic_timestep(atoms)) * factors.timestep_factor**job.rescues,
        start=None,
        own=None,
        damage='',
    )
    try:
        start = _read_checkpoint(folder / START_FILE, prepared)
    except CheckpointError as error:
        raise JobRefusedError('checkpoint_unreadable', str(error)) from error
    try:
        return replace(prepared, start=start, own=_read_checkpoint(folder / CHECKPOINT_FILE, prepared))
    except CheckpointError as error:
        return replace(prepared, start=start, damage=str(error))


def make_loader(content: dict[str, Any], device: str | None = None) -> CalculatorLoader:
    """Return the loader for the settings of a calculator.

    Parameters
    ----------
    content
        The settings.
    device
        Where it is to run, in place of what the settings say; None for that.

    Raises
    ------
    JobRefusedError
        If the kind is unknown or the settings are not valid.
    """
    with refused_as('settings', 'calculator'):
        loader = CALCULATORS.load(str(content.get('kind')))
        if device is not None and 'device' in loader.settings_class.model_fields:
            content = content | {'device': device}
        return loader(loader.settings_class.model_validate(content))


def check_environment(expected: Environment, loader: CalculatorLoader | None, device: str | None = None) -> None:
    """Refuse to run in another environment than that of the job's record.

    The loader is None for a job without a calculator, the device is None until the calculator is loaded.

    Raises
    ------
    JobRefusedError
        If anything differs; the message names all of it.
    """
    try:
        found = read_environment(loader, device)
    except SourceNotFoundError as error:
        raise JobRefusedError('calculator_missing', str(error)) from error
    differences = compare_environments(expected, found)
    if differences:
        raise JobRefusedError('environment', '; '.join(map(str, differences)))


def read_seed(path: Path) -> Atoms:
    """Read the starting structure.

    Raises
    ------
    JobRefusedError
        If the file cannot be read, or the structure has a constraint that cannot be honoured.
    """
    from ase.io.trajectory import TrajectoryReader

    try:
        with TrajectoryReader(path) as reader:
            atoms: Atoms = reader[-1]
    except Exception as error:
        raise JobRefusedError('structure', f'the structure {path.name} cannot be read: {error}') from error
    atoms.calc = None
    try:
        fixed_mask(atoms)
    except ValueError as error:
        raise JobRefusedError('structure', str(error)) from error
    if not np.isfinite(atoms.positions).all():
        raise JobRefusedError('structure', f'the structure {path.name} has positions that are not finite')
    return atoms


def automatic_timestep(atoms: Atoms) -> float:
    """Return a time step in fs for the lightest atom that moves.

    The period of a vibration goes with the root of the mass: 0.35 fs times the root of the mass in u gives hydrogen
    0.35 fs and oxygen 1.4 fs, a tenth of the period of their stiffest bonds or less. At least 0.25 and at most 2 fs.
    """
    masses = atoms.get_masses()[~fixed_mask(atoms)]
    return float(np.clip(0.35 * np.sqrt(masses.min()), 0.25, 2.0))


def _read_checkpoint(path: Path, prepared: PreparedJob) -> Checkpoint | None:
    if not path.exists():
        return None
    checkpoint = Checkpoint.read(path)
    same_atoms = np.array_equal(checkpoint.numbers, prepared.atoms.numbers)
    if checkpoint.job_hash != prepared.hash_at(checkpoint.step) or not same_atoms:
        raise JobRefusedError(
            'checkpoint',
            f'the checkpoint {path.name} in this folder is from another job: its seed, its settings or its calculator '
            'differ; remove it to start from the seed',
        )
    rescues = prepared.job.rescues
    if checkpoint.rescues > rescues:
        raise JobRefusedError(
            'checkpoint', f'the checkpoint was written after {checkpoint.rescues} rescues, this job is for {rescues}'
        )
    return checkpoint


@contextmanager
def refused_as(refusal: Refusal, place: str) -> Iterator[None]:
    """Refuse a job where a part of it, which ``place`` names, is not valid."""
    try:
        yield
    except ValidationError as error:
        faults = [
            f'{".".join([place, *map(str, fault["loc"])])}: {fault["msg"]} (got {fault["input"]!r})'
            for fault in error.errors()
        ]
        raise JobRefusedError(refusal, '; '.join(faults)) from error
    except CalculatorRefusedError:
        raise
    except (AutopipeError, ValueError) as error:
        raise JobRefusedError(refusal, f'{place}: {error}') from error
