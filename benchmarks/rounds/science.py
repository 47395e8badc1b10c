"""Explorations, predictions and labels, by the jobs and functions of the program."""

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io.trajectory import TrajectoryWriter

from aiida_mlip_autopipe.assessment.predictions import Predictions
from aiida_mlip_autopipe.calculators.evaluation import Evaluator
from aiida_mlip_autopipe.core.randomness import derive_random_seed
from aiida_mlip_autopipe.exploration import RUNNER_VERSION, read_exploration
from aiida_mlip_autopipe.exploration.explore import explore as explore_job
from aiida_mlip_autopipe.exploration.files.trajectory_file import read_trajectory
from aiida_mlip_autopipe.jobs.contract import JOB_FILE, SEED_FILE, TRAJECTORY_FILE, Job, JobSeed
from aiida_mlip_autopipe.jobs.environment import Environment, read_environment
from aiida_mlip_autopipe.jobs.loading import load_model, make_loader
from aiida_mlip_autopipe.jobs.runner import run_job
from aiida_mlip_autopipe.structures.rows.row import Row
from aiida_mlip_autopipe.structures.seed import Seed
from aiida_mlip_autopipe.structures.trajectory import Trajectory

Settings = dict[str, Any]
"""A section of a config."""

# Frames with larger forces are of no use, and no user would label them.
MAX_FORCE_EV_A = 20.0


def environment_of(calculator: Settings) -> Environment:
    """Return the environment record of this process for the settings of a calculator."""
    return read_environment(make_loader(calculator), 'cpu')


def explore(seeds: Sequence[Seed], calculator: Settings, exploration: Settings, random_seed: int) -> list[Trajectory]:
    """Return the trajectories of the seeds that have any frame."""
    settings, environment, found = read_exploration(exploration), environment_of(calculator), []
    for seed in seeds:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            job = Job(
                environment=environment,
                runner_version=RUNNER_VERSION,
                calculator=calculator,
                exploration=settings.for_seed(seed.place).model_dump(mode='json', exclude_unset=True),
                seeds=(
                    JobSeed(
                        seed_id=seed.seed_id,
                        random_seed=derive_random_seed(random_seed, 'exploration', seed.seed_id),
                        perturbed='perturbation' in seed.record,
                    ),
                ),
            )
            (folder / JOB_FILE).write_text(json.dumps(job.model_dump(mode='json')))
            with TrajectoryWriter(folder / SEED_FILE) as file:
                file.write(seed.atoms)
            result = run_job(folder / JOB_FILE, explore_job)
            if result.outcome in ('refused', 'failed'):
                raise RuntimeError(f'{seed.seed_id}: {result.message}')
            if result.n_frames:
                found.append(read_trajectory(folder / TRAJECTORY_FILE, seed.seed_id))
    return found


def frames_of(trajectories: Sequence[Trajectory]) -> list[Atoms]:
    """Return all frames of some trajectories as plain structures."""
    return [
        Atoms(one.numbers, one.positions[frame], cell=one.cells[frame], pbc=one.pbc)
        for one in trajectories
        for frame in range(len(one))
    ]


def predict(calculator: Settings, frames: Sequence[Atoms]) -> Predictions:
    """Return the predictions of a calculator with these settings."""
    loaded = load_model(make_loader(calculator)).calculator
    found = [Evaluator(atoms.copy(), loaded, True).evaluate(atoms.positions, atoms.cell.array) for atoms in frames]
    return Predictions.from_arrays(
        [atoms.numbers for atoms in frames],
        [one.energy for one in found],
        [one.forces for one in found],
        [one.stress for one in found],
    )


def label(frames: Sequence[Atoms], calculator: Settings, pairs: Sequence[dict[str, Any]]) -> list[Row]:
    """Return rows with labels of a calculator and these keys, without frames with very large forces."""
    labels = predict(calculator, frames)
    rows = []
    for atoms, keys, energy, forces, stress in zip(
        frames, pairs, labels.energies, np.split(labels.forces, labels.ends[:-1]), labels.stresses, strict=True
    ):
        if np.linalg.norm(forces, axis=1).max() < MAX_FORCE_EV_A:
            kept = atoms.copy()
            kept.info = dict(keys)
            kept.calc = SinglePointCalculator(kept, energy=float(energy), forces=forces, stress=stress)
            rows.append(Row(kept, dict(keys)))
    return rows
