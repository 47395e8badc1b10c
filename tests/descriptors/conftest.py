"""Descriptor jobs in temporary folders."""

from __future__ import annotations

import json

import numpy as np
import pytest
from ase.build import bulk, molecule
from support.environments import environment_of
from support.frames import *  # noqa: F403

from aiida_mlip_autopipe.descriptors import DESCRIPTORS_VERSION
from aiida_mlip_autopipe.descriptors.contract import PCA_FILE, STRUCTURES_FILE, DescriptorsJob
from aiida_mlip_autopipe.descriptors.job import describe_frames
from aiida_mlip_autopipe.jobs.contract import JOB_FILE
from aiida_mlip_autopipe.jobs.runner import run_job
from aiida_mlip_autopipe.structures.structures_file import write_structures
from aiida_mlip_autopipe.structures.trajectory import Trajectory


def trajectory_of(atoms, n_frames=3, amplitude=0.1, random_seed=0):
    rng = np.random.default_rng(random_seed)
    shape = (n_frames, len(atoms), 3)
    return Trajectory(
        seed_id=f'seed {random_seed}',
        numbers=atoms.numbers,
        pbc=atoms.pbc,
        steps=np.arange(n_frames),
        positions=atoms.positions + amplitude * rng.normal(size=shape),
        cells=np.tile(atoms.cell.array, (n_frames, 1, 1)),
        energies=np.zeros(n_frames),
        forces=np.zeros(shape),
        stresses=np.full((n_frames, 6), np.nan),
        temperatures=np.full(n_frames, 300.0),
    )


@pytest.fixture
def trajectories():
    """Return trajectories of two crystals of different size, one of them an alloy, and of a molecule."""
    alloy = bulk('Cu', cubic=True) * (2, 1, 1)
    alloy.numbers[:3] = 79
    water = molecule('H2O')
    return [trajectory_of(bulk('Cu', cubic=True)), trajectory_of(alloy, 4, random_seed=1), trajectory_of(water, 2)]


@pytest.fixture
def describe(tmp_path):
    """Return a function that runs a job. Its attribute ``folder`` is the folder of the job."""

    def run(trajectories, species=(1, 8, 29, 79), descriptor=None, components=None, **changes):
        job = DescriptorsJob(
            environment=environment_of(changes.get('calculator')),
            descriptors_version=DESCRIPTORS_VERSION,
            descriptor=descriptor or {'kind': 'soap'},
            species=species,
            pca=None if components is None else PCA_FILE,
        )
        if components is not None:
            np.savez(tmp_path / PCA_FILE, **vars(components))
        (tmp_path / JOB_FILE).write_text(json.dumps(job.model_dump(mode='json') | changes))
        write_structures(tmp_path / STRUCTURES_FILE, trajectories)
        return run_job(tmp_path / JOB_FILE, describe_frames)

    run.folder = tmp_path
    return run
