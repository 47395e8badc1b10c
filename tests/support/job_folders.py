"""Real jobs in temporary folders, with EMT, few atoms and few steps."""

from __future__ import annotations

import json
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111, molecule
from ase.constraints import FixAtoms
from ase.io.trajectory import TrajectoryWriter
from support.environments import environment_of

from aiida_mlip_autopipe.core.hashing import file_sha256
from aiida_mlip_autopipe.exploration import DEFAULT_KIND, KINDS, RUNNER_VERSION
from aiida_mlip_autopipe.exploration.explore import explore
from aiida_mlip_autopipe.exploration.files.trajectory_file import read_trajectory
from aiida_mlip_autopipe.jobs.contract import JOB_FILE, REFERENCE_FILE, SEED_FILE, TRAJECTORY_FILE, Job, JobSeed, Result
from aiida_mlip_autopipe.jobs.interruptions import Interruptions
from aiida_mlip_autopipe.jobs.runner import run_job
from aiida_mlip_autopipe.structures.seed import Seed
from aiida_mlip_autopipe.structures.trajectory import Trajectory


class JobFolder:
    """A folder in which a job runs."""

    def __init__(self, path: Path):
        path.mkdir(parents=True, exist_ok=True)
        self.path = path

    def write(self, atoms: Atoms, exploration: dict[str, Any] | None = None, **changes: Any) -> JobFolder:
        """Write the seed, ``job.json`` and the environments ``reference``. ``changes`` replace fields of the job."""
        reference = changes.pop('reference', None)
        if reference is not None:
            (self.path / REFERENCE_FILE).write_bytes(reference.dump())
            changes['reference_sha256'] = file_sha256(self.path / REFERENCE_FILE)
        with TrajectoryWriter(self.path / SEED_FILE, 'w') as writer:
            writer.write(atoms)
        seed = JobSeed(
            seed_id=Seed(atoms).seed_id,
            random_seed=changes.pop('random_seed', 7),
            perturbed=changes.pop('perturbed', False),
            form=changes.pop('form', None),
            molecular=changes.pop('molecular', False),
            amorphous=changes.pop('amorphous', False),
        )
        job = Job(
            runner_version=RUNNER_VERSION,
            seeds=(seed,),
            environment=environment_of(changes.get('calculator')),
            calculator={'kind': 'emt'},
            exploration=self._defaults(exploration or {}),
        )
        content = job.model_dump(mode='json') | changes
        (self.path / JOB_FILE).write_text(json.dumps(content))
        return self

    def _defaults(self, exploration: dict[str, Any]) -> dict[str, Any]:
        intervals = {'checkpoint_interval': 10}
        if 'frame_interval' in KINDS[exploration.get('kind', DEFAULT_KIND)].model_fields:
            intervals['frame_interval'] = 2
        return intervals | exploration

    def run(self) -> Result:
        return run_job(self.path / JOB_FILE, explore)

    def frames(self) -> Trajectory:
        return read_trajectory(self.path / TRAJECTORY_FILE, 'seed')


@pytest.fixture
def job_folder(tmp_path):
    """Return a function that creates a folder for a job."""

    def make(name: str = 'job') -> JobFolder:
        return JobFolder(tmp_path / name)

    return make


@pytest.fixture
def copper() -> Atoms:
    """Four atoms of fcc copper in a skewed cell."""
    return bulk('Cu') * (2, 2, 1)


def make_alloy() -> Atoms:
    """Return four atoms of an ordered copper-gold alloy."""
    atoms = bulk('Cu', a=3.85, cubic=True)
    atoms.numbers[:2] = 79
    return atoms


@pytest.fixture
def alloy() -> Atoms:
    """Four atoms of an ordered copper-gold alloy."""
    return make_alloy()


@pytest.fixture
def vacancy(alloy) -> Atoms:
    """A copper-gold alloy of seven atoms with one vacancy."""
    atoms = alloy * (2, 1, 1)
    del atoms[0]
    return atoms


@pytest.fixture
def molecules() -> Atoms:
    """Two molecules of CO and one of methane, numbered by tags."""
    atoms = Atoms(cell=[9.0, 9.0, 9.0], pbc=True)
    for number, (name, place) in enumerate([('CO', 1.0), ('CO', 4.5), ('CH4', 8.0)], start=1):
        one = molecule(name)
        one.positions += place - one.positions.mean(axis=0)
        one.set_tags(number)
        atoms += one
    return atoms


@pytest.fixture
def slab() -> Atoms:
    """A copper slab of three layers, with the lowest one fixed."""
    atoms = fcc111('Cu', (2, 2, 3), vacuum=6.0)
    atoms.set_constraint(FixAtoms(mask=atoms.get_tags() == 3))
    return atoms


@pytest.fixture
def free_slab() -> Atoms:
    """A copper slab of three layers, without fixed atoms, that is periodic in all directions."""
    atoms = fcc111('Cu', (2, 2, 3), vacuum=6.0)
    atoms.pbc = True
    return atoms


def assert_same_frames(left: Trajectory, right: Trajectory) -> None:
    """Compare all arrays of two trajectories exactly."""
    for name in ('steps', 'positions', 'cells', 'energies', 'forces', 'stresses', 'temperatures'):
        assert np.array_equal(getattr(left, name), getattr(right, name), equal_nan=True), name


@pytest.fixture
def same_frames():
    """Return the function that compares two trajectories exactly."""
    return assert_same_frames


@pytest.fixture
def stopping_after(monkeypatch):
    """Return a function that makes a context, in which runs are stopped after an absolute step as if by a signal."""

    @contextmanager
    def stop(last_step: int):
        def check(interruptions):
            simulation = sys._getframe(1).f_locals['self']
            if simulation.step < last_step:
                return None
            interruptions.message = 'stopped by a test'
            return 'stopped'

        with monkeypatch.context() as patch:
            patch.setattr(Interruptions, 'check', check)
            yield

    return stop
