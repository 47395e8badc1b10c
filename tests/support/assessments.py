"""Inputs of assessment jobs: a few Cu–Au cells with EMT."""

from __future__ import annotations

import numpy as np
import pytest
from aiida import orm
from ase.build import bulk
from ase.io import write
from support.environments import environment_of

from aiida_mlip_autopipe.data.dataset import DatasetData
from aiida_mlip_autopipe.data.seed import SeedData
from aiida_mlip_autopipe.data.trajectory import node_from_trajectory
from aiida_mlip_autopipe.jobs.version import ASSESSMENT_VERSION
from aiida_mlip_autopipe.structures.seed import Seed
from aiida_mlip_autopipe.structures.trajectory import Trajectory

EMT_SETTINGS = {'kind': 'emt'}
HOT = {'temperature_K': 1200.0, 'n_steps': 20, 'checkpoint_interval': 10}


def rattled(symbol, seed):
    """Return four rattled atoms of an fcc metal."""
    atoms = bulk(symbol, cubic=True)
    atoms.rattle(0.05, seed=seed)
    return atoms


def make_leg(seed, n_frames=2):
    """Return a leg of frames that differ by rigid shifts of one atom."""
    atoms = seed.to_seed().atoms
    shifts = np.zeros((n_frames, len(atoms), 3))
    shifts[:, 0, 0] = 0.05 * np.arange(1, n_frames + 1)
    trajectory = Trajectory(
        seed_id=seed.seed_id,
        numbers=atoms.numbers,
        pbc=atoms.pbc,
        steps=10 * np.arange(1, n_frames + 1),
        positions=atoms.positions + shifts,
        cells=np.tile(atoms.cell.array, (n_frames, 1, 1)),
        energies=np.zeros(n_frames),
        forces=np.zeros((n_frames, len(atoms), 3)),
        stresses=np.zeros((n_frames, 6)),
        temperatures=np.full(n_frames, 300.0),
    )
    return node_from_trajectory(trajectory, {})


@pytest.fixture
def assessment_inputs(emt_code, tmp_path):
    """Return the inputs of a job with two rows, a leg of two frames, a dimer, two other structures and a hot run."""
    write(tmp_path / 'rows.traj', [rattled('Cu', 1), rattled('Au', 2), rattled('Cu', 3)])
    write(tmp_path / 'others.traj', [rattled('Al', 4), rattled('Ni', 5)])
    seed = SeedData.from_seed(Seed(rattled('Au', 6), {'kind': 'prototype'})).store()
    return {
        'code': emt_code,
        'calculator': orm.Dict(EMT_SETTINGS),
        'environment': orm.Dict(environment_of(EMT_SETTINGS).model_dump(mode='json')),
        'dataset': DatasetData.from_file(tmp_path / 'rows.traj').store(),
        'rows': orm.List([2, 0]),
        'legs': {'leg': make_leg(seed).store()},
        'seeds': {'seed': seed},
        'elements': orm.List(['Cu']),
        'other_chemistry': DatasetData.from_file(tmp_path / 'others.traj').store(),
        'hot_seeds': {'seed': seed},
        'hot_runs': orm.Dict(HOT),
        'random_seed': orm.Int(7),
        'assessment_version': orm.Str(ASSESSMENT_VERSION),
    }
