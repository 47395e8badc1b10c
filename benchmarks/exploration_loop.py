"""What the loop of an exploration costs over bare ASE dynamics: guards, averages, frames and checkpoints at defaults.

Run it on an idle machine with one thread:

    OMP_NUM_THREADS=1 python benchmarks/exploration_loop.py [emt|lj|sevennet] [steps]

Both run the same calculator on 64 atoms of copper, alternating. What is compared is the time outside of it, so that a
busy machine does not drown a tenth of a millisecond in the scatter of the forces.
"""

from __future__ import annotations

import statistics
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
from aiida_mlip_autopipe.exploration.contract import JOB_FILE, SEED_FILE, Job, JobSeed
from aiida_mlip_autopipe.exploration.preparation import make_loader
from aiida_mlip_autopipe.exploration.runner import explore, run_job

N_REPEATS = 5


class Stopwatch:
    """Counts calls of a calculator and the time in them."""

    def __init__(self, calculator: Any):
        self.calls, self.inside = 0, 0.0
        self._calculate = calculator.calculate
        calculator.calculate = self._timed

    def _timed(self, *args: Any, **kwargs: Any) -> None:
        started = time.perf_counter()
        self._calculate(*args, **kwargs)
        self.inside += time.perf_counter() - started
        self.calls += 1

    def reset(self) -> None:
        """Begin to count anew."""
        self.calls, self.inside = 0, 0.0


def outside_of_ase(atoms: Atoms, calculator: Any, stopwatch: Stopwatch, n_steps: int) -> float:
    atoms = atoms.copy()
    atoms.calc = calculator
    rng = np.random.default_rng(0)
    MaxwellBoltzmannDistribution(atoms, temperature_K=300, rng=rng)
    dynamics = Langevin(atoms, 2 * units.fs, temperature_K=300, friction=0.01 / units.fs, rng=rng, fixcm=False)
    stopwatch.reset()
    started = time.perf_counter()
    dynamics.run(n_steps)
    return (time.perf_counter() - started - stopwatch.inside) / n_steps


def outside_of_exploration(atoms: Atoms, settings: dict[str, Any], stopwatch: Stopwatch, n_steps: int) -> float:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with TrajectoryWriter(folder / SEED_FILE, 'w') as writer:
            writer.write(atoms)
        job = Job(
            runner_version=RUNNER_VERSION,
            seeds=(JobSeed(seed_id='benchmark', random_seed=0),),
            calculator=settings,
            exploration={'ensemble': 'nvt', 'n_steps': n_steps},
        )
        (folder / JOB_FILE).write_text(job.model_dump_json())
        stopwatch.reset()
        result = run_job(folder / JOB_FILE, explore)
        assert result.outcome == 'completed', result.message
        return (result.loop_s - stopwatch.inside) / n_steps


def main() -> None:
    kind = sys.argv[1] if len(sys.argv) > 1 else 'lj'
    n_steps = int(sys.argv[2]) if len(sys.argv) > 2 else (20 if kind == 'sevennet' else 500)
    atoms = bulk('Cu', cubic=True) * (4, 2, 2)
    settings: dict[str, Any] = {'kind': kind}
    if kind == 'lj':
        settings |= {'epsilon_eV': 0.3, 'sigma_A': 2.3, 'cutoff_A': 5.0}
    loader = make_loader(settings)
    loaded = loader.load()
    stopwatch = Stopwatch(loaded.calculator)
    type(loader).load = lambda self: loaded  # type: ignore[method-assign]
    bare, ours, force_calls = [], [], []
    for _ in range(N_REPEATS):
        bare.append(outside_of_ase(atoms, loaded.calculator, stopwatch, n_steps))
        ours.append(outside_of_exploration(atoms, settings, stopwatch, n_steps))
        force_calls.append(stopwatch.inside / stopwatch.calls)
    force_call = statistics.median(force_calls)
    for name, times in (('ASE', bare), ('ours', ours)):
        outside = statistics.median(times)
        share = 100 * outside / force_call
        print(
            f'{kind}, {n_steps} steps, {name}: {outside * 1e3:.3f} ms a step beside the forces, {share:.1f} % of them'
        )


if __name__ == '__main__':
    main()
