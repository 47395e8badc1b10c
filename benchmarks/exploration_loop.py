"""Overhead of an exploration with default settings compared with ASE: guards, averages, frames and checkpoints.

    OMP_NUM_THREADS=1 python benchmarks/exploration_loop.py [emt|lj|sevennet] [steps] [repeats]

The two run in turn, with the same calculator and 64 atoms of copper. The benchmark compares the CPU time outside
the calculator, because a difference of 0.1 ms would be lost in the noise of the force calls and of other programs. Only
the wall time, which is printed as well, includes the time spent waiting for the disk.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms, units
from ase.build import bulk
from ase.io.trajectory import TrajectoryWriter
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution

from aiida_mlip_autopipe.exploration import RUNNER_VERSION
from aiida_mlip_autopipe.exploration.explore import explore
from aiida_mlip_autopipe.exploration.simulation import Simulation
from aiida_mlip_autopipe.jobs.contract import JOB_FILE, SEED_FILE, Job, JobSeed, Outcome
from aiida_mlip_autopipe.jobs.environment import read_environment
from aiida_mlip_autopipe.jobs.loading import make_loader
from aiida_mlip_autopipe.jobs.runner import run_job


def clocks() -> np.ndarray:
    """Return the CPU time of this process and the wall time, in s."""
    return np.array([time.process_time(), time.perf_counter()])


class Stopwatch:
    """Counts the calls of a calculator and measures their time."""

    def __init__(self, calculator: Any):
        self.reset()
        self._calculate = calculator.calculate
        calculator.calculate = self._timed

    def _timed(self, *args: Any, **kwargs: Any) -> None:
        started = clocks()
        self._calculate(*args, **kwargs)
        self.inside += clocks() - started
        self.calls += 1

    def reset(self) -> None:
        """Reset the count and the time."""
        self.calls, self.inside = 0, np.zeros(2)


def outside_of_ase(atoms: Atoms, calculator: Any, stopwatch: Stopwatch, n_steps: int) -> np.ndarray:
    atoms = atoms.copy()
    atoms.calc = calculator
    rng = np.random.default_rng(0)
    MaxwellBoltzmannDistribution(atoms, temperature_K=300, rng=rng)
    dynamics = Langevin(atoms, 2 * units.fs, temperature_K=300, friction=0.01 / units.fs, rng=rng, fixcm=False)
    stopwatch.reset()
    started = clocks()
    dynamics.run(n_steps)
    return (clocks() - started - stopwatch.inside) / n_steps


def outside_of_exploration(atoms: Atoms, settings: dict[str, Any], stopwatch: Stopwatch, n_steps: int) -> np.ndarray:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with TrajectoryWriter(folder / SEED_FILE, 'w') as writer:
            writer.write(atoms)
        job = Job(
            runner_version=RUNNER_VERSION,
            seeds=(JobSeed(seed_id='benchmark', random_seed=0),),
            calculator=settings,
            environment=read_environment(make_loader(settings), 'cpu'),
            exploration={'ensemble': 'nvt', 'n_steps': n_steps},
        )
        (folder / JOB_FILE).write_text(job.model_dump_json())
        outside: list[np.ndarray] = []
        run = Simulation.run

        def timed_run(simulation: Simulation) -> Outcome:
            stopwatch.reset()
            started = clocks()
            outcome = run(simulation)
            outside.append((clocks() - started - stopwatch.inside) / n_steps)
            return outcome

        Simulation.run = timed_run  # type: ignore[method-assign]
        try:
            result = run_job(folder / JOB_FILE, explore)
        finally:
            Simulation.run = run  # type: ignore[method-assign]
        assert result.outcome == 'completed', result.message
        return outside[0]


def main() -> None:
    kind = sys.argv[1] if len(sys.argv) > 1 else 'lj'
    # There is a checkpoint every 100 steps, so that 100 steps include all parts of the loop.
    n_steps = int(sys.argv[2]) if len(sys.argv) > 2 else (100 if kind == 'sevennet' else 500)
    n_repeats = int(sys.argv[3]) if len(sys.argv) > 3 else 5
    atoms = bulk('Cu', cubic=True) * (4, 2, 2)
    settings: dict[str, Any] = {'kind': kind}
    if kind == 'lj':
        settings |= {'epsilon_eV': 0.3, 'sigma_A': 2.3, 'cutoff_A': 5.0}
    loader = make_loader(settings)
    loaded = loader.load()
    stopwatch = Stopwatch(loaded.calculator)
    type(loader).load = lambda self: loaded  # type: ignore[method-assign]
    bare, ours, force_calls = [], [], []
    for _ in range(n_repeats):
        bare.append(outside_of_ase(atoms, loaded.calculator, stopwatch, n_steps))
        ours.append(outside_of_exploration(atoms, settings, stopwatch, n_steps))
        force_calls.append(stopwatch.inside / stopwatch.calls)
    force_call, wall_force_call = np.median(force_calls, axis=0)
    (ase, wall_ase), (loop, wall_loop) = np.median(bare, axis=0), np.median(ours, axis=0)
    print(f'{kind}, {len(atoms)} atoms, {n_repeats} times {n_steps} steps; CPU time (wall time) in ms')
    print(f'force call                   {1e3 * force_call:9.3f} ({1e3 * wall_force_call:.3f})')
    print(f'ASE, other time per step     {1e3 * ase:9.3f} ({1e3 * wall_ase:.3f})')
    print(f'loop, other time per step    {1e3 * loop:9.3f} ({1e3 * wall_loop:.3f})')
    print(f'overhead per step            {1e3 * (loop - ase):9.3f}, {100 * (loop - ase) / (ase + force_call):.2f} %')


if __name__ == '__main__':
    main()
