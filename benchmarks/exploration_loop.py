"""What the loop of an exploration costs over bare ASE dynamics: guards, averages, frames and checkpoints at defaults.

Run it on an idle machine with one thread:

    OMP_NUM_THREADS=1 python benchmarks/exploration_loop.py [emt|lj|sevennet] [steps]

Both run the same calculator on 64 atoms of copper, alternating, and the medians of the differences are printed.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from ase import Atoms, units
from ase.build import bulk
from ase.io.trajectory import TrajectoryWriter
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution

from aiida_mlip_autopipe.exploration import RUNNER_VERSION
from aiida_mlip_autopipe.exploration.contract import JOB_FILE, SEED_FILE, Job, JobSeed
from aiida_mlip_autopipe.exploration.preparation import make_loader
from aiida_mlip_autopipe.exploration.runner import run_job

N_REPEATS = 5


def time_ase(atoms: Atoms, calculator: object, n_steps: int) -> float:
    atoms = atoms.copy()
    atoms.calc = calculator
    rng = np.random.default_rng(0)
    MaxwellBoltzmannDistribution(atoms, temperature_K=300, rng=rng)
    atoms.get_forces()
    dynamics = Langevin(atoms, 2 * units.fs, temperature_K=300, friction=0.01 / units.fs, rng=rng, fixcm=False)
    started = time.perf_counter()
    dynamics.run(n_steps)
    return (time.perf_counter() - started) / n_steps


def time_exploration(atoms: Atoms, calculator: dict[str, object], n_steps: int) -> float:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with TrajectoryWriter(folder / SEED_FILE, 'w') as writer:
            writer.write(atoms)
        job = Job(
            runner_version=RUNNER_VERSION,
            seeds=(JobSeed(seed_id='benchmark', random_seed=0),),
            calculator=calculator,
            exploration={'ensemble': 'nvt', 'n_steps': n_steps},
        )
        (folder / JOB_FILE).write_text(job.model_dump_json())
        result = run_job(folder / JOB_FILE)
        assert result.outcome == 'completed', result.message
        return result.loop_s / n_steps


def main() -> None:
    kind = sys.argv[1] if len(sys.argv) > 1 else 'lj'
    n_steps = int(sys.argv[2]) if len(sys.argv) > 2 else (20 if kind == 'sevennet' else 500)
    atoms = bulk('Cu', cubic=True) * (4, 2, 2)
    settings: dict[str, object] = {'kind': kind}
    if kind == 'lj':
        settings |= {'epsilon_eV': 0.3, 'sigma_A': 2.3, 'cutoff_A': 5.0}
    calculator = make_loader(settings).load().calculator
    bare, explored = [], []
    for _ in range(N_REPEATS):
        bare.append(time_ase(atoms, calculator, n_steps))
        explored.append(time_exploration(atoms, settings, n_steps))
    difference = statistics.median(b - a for a, b in zip(bare, explored, strict=True))
    base = statistics.median(bare)
    print(f'{kind}, {n_steps} steps: ASE {base * 1e3:.2f} ms, ours {(base + difference) * 1e3:.2f} ms a step')
    print(f'difference {difference * 1e3:+.3f} ms, {100 * difference / base:+.1f} %')


if __name__ == '__main__':
    main()
