"""The state of a run between two steps: made for a seed, stored in checkpoints and restored from them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from aiida_mlip_autopipe.calculators.evaluation import Evaluation, Evaluator
from aiida_mlip_autopipe.exploration.checkpoint import Checkpoint
from aiida_mlip_autopipe.exploration.dynamics.static_steps import StaticSteps
from aiida_mlip_autopipe.exploration.full_trajectory import FullTrajectoryFile
from aiida_mlip_autopipe.exploration.novelty.setup import make_novelty
from aiida_mlip_autopipe.exploration.phase_space import Evaluate, PhaseSpace, VelocityVerlet
from aiida_mlip_autopipe.exploration.preparation import PreparedJob
from aiida_mlip_autopipe.exploration.recorder import LostFramesError, Recorder
from aiida_mlip_autopipe.exploration.stepping import make_monte_carlo
from aiida_mlip_autopipe.jobs.contract import CHECKPOINT_FILE, FULL_TRAJECTORY_FILE, TRAJECTORY_FILE, Event
from aiida_mlip_autopipe.structures.seed import fixed_mask


class RunState:
    """The state of a run, except for that of its integrator.

    Parameters
    ----------
    prepared
        The job.
    evaluator
        Evaluates structures and counts the evaluations.
    ensemble
        The ensemble to sample.
    folder
        The folder for the output files.
    """

    def __init__(self, prepared: PreparedJob, evaluator: Evaluator, ensemble: str, folder: Path):
        atoms = prepared.atoms
        self.prepared = prepared
        self.evaluator = evaluator
        self.folder = folder
        self.step = 0
        self.time_fs = 0.0
        self.events: list[Event] = []
        self.rng = np.random.Generator(np.random.PCG64(prepared.job.seeds[0].random_seed))
        self.recorder = Recorder(
            folder / TRAJECTORY_FILE,
            atoms,
            prepared.settings.frame_min_change_A,
            _make_full_trajectory(prepared, folder),
        )
        self.system = PhaseSpace(
            positions=atoms.positions.copy(),
            momenta=np.zeros((len(atoms), 3)),
            cell=atoms.cell.array.copy(),
            masses=atoms.get_masses()[:, np.newaxis],
            free=~fixed_mask(atoms),
        )
        self.monte_carlo = make_monte_carlo(prepared, ensemble)
        self.watch, self.bias = make_novelty(
            prepared.settings,
            atoms,
            evaluator.calculator,
            evaluator.evaluate,
            evaluator.with_stress,
            prepared.reference,
        )
        self._calls_before = 0

    @property
    def force_calls(self) -> int:
        """Number of evaluations in this leg."""
        return self._calls_before + self.evaluator.calls

    @property
    def evaluate(self) -> Evaluate:
        """The function that evaluates a structure for the dynamics, with the bias."""
        return self.evaluator.evaluate if self.bias is None else self.bias.evaluate

    @property
    def temperature_factor(self) -> float:
        """The factor of the target temperature: less than 1 while the run is cooled."""
        return 1.0 if self.watch is None else self.watch.temperature_factor

    @property
    def left(self) -> bool:
        """Whether the run has left the trusted region and must end."""
        return self.watch is not None and self.watch.found.left

    def add_event(self, rule: str, message: str) -> None:
        """Record an event at the current step, once."""
        event = Event(step=self.step, rule=rule, message=message)
        if event not in self.events:
            self.events.append(event)

    def find_start(self) -> Checkpoint | None:
        """Return the checkpoint to continue from, after restoring its frames; None to start from the seed.

        If files that this leg wrote earlier are damaged, the leg starts again without them.
        """
        own, start, damage = self.prepared.own, self.prepared.start, self.prepared.damage
        if own is not None:
            try:
                self.recorder.restore(own)
                # This process may report the same events again.
                restored = [Event.model_validate(event) for event in own.counters.get('events', ())]
                self.events[:] = [*restored, *(event for event in self.events if event not in restored)]
                return own
            except LostFramesError as error:
                damage = str(error)
        if damage:
            (self.folder / CHECKPOINT_FILE).unlink()
            self.step = start.step if start else 0
            self.add_event('checkpoint', f'{damage}; the leg starts again at step {self.step}')
        self.recorder.begin(start)
        return start

    def restore(self, checkpoint: Checkpoint) -> Evaluation:
        """Restore the state that a checkpoint contains, and return the evaluation of its structure.

        After a recovery, new momenta are drawn.
        """
        system, schedule = self.system, self.prepared.schedule
        self.step, self.time_fs = checkpoint.step, checkpoint.time_fs
        system.positions, system.momenta, system.cell = checkpoint.positions, checkpoint.momenta, checkpoint.cell
        system.cell_momentum = checkpoint.cell_momentum
        self.rng.bit_generator.state = checkpoint.rng_state
        if self.monte_carlo is not None:
            self.monte_carlo.restore(checkpoint.counters['moves'])
        self._calls_before = self.recorder.leg.force_calls
        if self.prepared.job.recoveries > checkpoint.recoveries:
            temperature = schedule.targets(min(self.step, schedule.n_steps - 1))[0]
            system.momenta = system.thermal_momenta(temperature, self.rng)
            system.cell_momentum = 0.0
            self.add_event('recovery', f'resumed from the last good frame at {temperature:.0f} K with new velocities')
        if self.watch is not None:
            self.watch.restore(checkpoint.counters['novelty'])
            self.watch.measure.restore(checkpoint.optional)
        evaluation = Evaluation(checkpoint.energy, checkpoint.forces, checkpoint.stress)
        return evaluation if self.bias is None else self.bias.restore(checkpoint.counters['bias'], evaluation)

    def make_checkpoint(self, integrator: VelocityVerlet | StaticSteps) -> Checkpoint:
        """Return a checkpoint of this state and the state of the integrator."""
        system, evaluation = self.system, integrator.evaluation
        leg = {**vars(self.recorder.leg), 'force_calls': self.force_calls}
        return Checkpoint(
            job_hash=self.prepared.hash_at(self.step),
            step=self.step,
            time_fs=self.time_fs,
            numbers=self.prepared.atoms.numbers,
            positions=system.positions,
            momenta=system.momenta,
            cell=system.cell,
            forces=evaluation.forces,
            stress=evaluation.stress,
            last_frame=self.recorder.last_frame,
            energy=evaluation.energy,
            cell_momentum=system.cell_momentum,
            rng_state=dict(self.rng.bit_generator.state),
            recoveries=self.prepared.job.recoveries,
            counters={
                'leg': leg,
                'averages': self.recorder.dump_averages(),
                'moves': self.monte_carlo.dump() if self.monte_carlo else [],
                'integrator': integrator.dump(),
                'events': [event.model_dump() for event in self.events],
                **({'novelty': self.watch.dump()} if self.watch else {}),
                **({'bias': self.bias.dump(evaluation)} if self.bias else {}),
            },
            optional=self.watch.measure.dump() if self.watch else {},
        )

    def statistics(self) -> dict[str, Any]:
        """Return averages over the steps sampled so far, and the statistics of each move, as JSON."""
        statistics = self.recorder.statistics()
        if self.monte_carlo is not None:
            statistics['moves'] = self.monte_carlo.summary()
        if self.watch is not None:
            statistics['novelty'] = self.watch.summary()
        return statistics


def _make_full_trajectory(prepared: PreparedJob, folder: Path) -> FullTrajectoryFile | None:
    job = prepared.job
    if job.full_trajectory_interval is None:
        return None
    return FullTrajectoryFile(folder / FULL_TRAJECTORY_FILE, job.seeds[0].seed_id, prepared.atoms)
