"""The loop of a run: steps, guards, frames and checkpoints, starting from a seed or a checkpoint.

A step is a time step of the dynamics, an iteration of a relaxation, or a structure that may need several evaluations. A
single point has no steps.
"""

from __future__ import annotations

import math
import sys
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ase import units

from aiida_mlip_autopipe.calculators.evaluation import Evaluator
from aiida_mlip_autopipe.exploration.dynamics.ensembles import DEFORMATIONS
from aiida_mlip_autopipe.exploration.dynamics.integrators import make_integrator
from aiida_mlip_autopipe.exploration.dynamics.relaxation import relax
from aiida_mlip_autopipe.exploration.dynamics.timestep import describe_long_timestep
from aiida_mlip_autopipe.exploration.files.crash import Snapshot, write_crash
from aiida_mlip_autopipe.exploration.guards import Alarm, Guards
from aiida_mlip_autopipe.exploration.novelty.bias import unbiased
from aiida_mlip_autopipe.exploration.novelty.watch import Watch
from aiida_mlip_autopipe.exploration.phase_space import EvaluationError
from aiida_mlip_autopipe.exploration.preparation import PreparedJob
from aiida_mlip_autopipe.exploration.recorder import LegCounters
from aiida_mlip_autopipe.exploration.state import RunState
from aiida_mlip_autopipe.exploration.stepping import GuardedSteps, decay_steps, reporting_errors
from aiida_mlip_autopipe.exploration.unused import CHANGING_SHAPE, NPT
from aiida_mlip_autopipe.jobs.contract import CHECKPOINT_FILE, CRASH_FILE, Outcome
from aiida_mlip_autopipe.jobs.interruptions import Interruptions

# Number of structures in the crash file: the last ones before the crash, and the one that triggered the guard.
N_CRASH_FRAMES = 6
# If a run is stopped within this number of steps, the likely cause is a time step that is too long.
N_FIRST_STEPS = 100
PROGRESS_INTERVAL_S = 10.0
# The ensembles in which the stress moves the cell or ends the run.
WITH_STRESS = (*NPT, 'relax_cell', *DEFORMATIONS.values())


@dataclass
class Simulation:
    """One leg of an exploration.

    Attributes
    ----------
    prepared
        The job.
    calculator
        The loaded ASE calculator.
    ensemble
        The ensemble to sample.
    folder
        The folder for the output files.
    interruptions
        Checks for reasons to end early.
    on_checkpoint
        Called after each checkpoint has been written.
    """

    prepared: PreparedJob
    calculator: Any
    ensemble: str
    folder: Path
    interruptions: Interruptions
    on_checkpoint: Callable[[], None] = lambda: None
    message: str = ''

    def __post_init__(self) -> None:
        atoms, settings = self.prepared.atoms, self.prepared.settings
        self.settings = settings
        self.schedule = self.prepared.schedule
        needs_stress, shape_changes = self.ensemble in WITH_STRESS, self.ensemble in CHANGING_SHAPE
        self.guards = Guards(settings.guards, atoms, self.prepared.molecules, needs_stress, shape_changes)
        with_stress = 'stress' in self.calculator.implemented_properties and bool(atoms.pbc.all())
        self.evaluator = Evaluator(atoms.copy(), self.calculator, with_stress)
        self.state = RunState(self.prepared, self.evaluator, self.ensemble, self.folder)
        self.system, self.recorder = self.state.system, self.state.recorder
        steps = decay_steps(self.prepared, self.ensemble)
        self.steps = GuardedSteps(self.guards, self.schedule, self.state.monte_carlo, steps)
        self._recent: deque[Snapshot] = deque(maxlen=N_CRASH_FRAMES)

    @property
    def step(self) -> int:
        """The absolute step."""
        return self.state.step

    @property
    def leg(self) -> LegCounters:
        """Counters of this leg."""
        return self.recorder.leg

    def run(self) -> Outcome:
        """Run until all steps are done, a guard stops the run, or the job must end."""
        started = time.monotonic()
        # Remove the crash file of an earlier attempt in this folder, because this attempt may not crash.
        (self.folder / CRASH_FILE).unlink(missing_ok=True)
        try:
            alarm = self._begin()
            outcome = self._crash(alarm) if alarm else self._loop()
        finally:
            self.recorder.close()
            self.leg.loop_s += time.monotonic() - started
            self.leg.force_calls = self.state.force_calls
        return outcome

    def _begin(self) -> Alarm | None:
        state = self.state
        checkpoint = state.find_start()
        if checkpoint is not None:
            evaluation = state.restore(checkpoint)
        else:
            relaxation = self.settings.relaxation
            if relaxation is not None and not self.prepared.job.seeds[0].perturbed:
                self.system.positions, message = relax(self.prepared.atoms, self.evaluator, relaxation)
                state.add_event('relaxation', message)
            evaluation = state.evaluate(self.system.positions, self.system.cell)
            if self.settings.kind == 'dynamics':
                self.system.momenta = self.system.thermal_momenta(self.schedule.start_temperature_K, state.rng)
        self.integrator = make_integrator(
            self.ensemble,
            self.settings,
            self.schedule.max_temperature_K,
            (
                self.system,
                reporting_errors(state.evaluate),
                evaluation,
                self.prepared.timestep_fs * units.fs,
                state.rng,
            ),
            self.prepared.atoms.pbc,
        )
        if checkpoint is not None:
            self.integrator.restore(checkpoint.counters.get('integrator', {}))
        self._add_snapshot()
        if checkpoint is None:
            alarm = self.guards.check_step(
                self.system, evaluation, evaluation.energy, self.schedule.start_temperature_K
            ) or self.guards.check_distances(self.system)
            if alarm is None:
                self._store_good_state()
                if self.settings.stores_seed:
                    self._store_frame(0.0, self.settings.scalar_pressure())
            return alarm
        self._store_good_state()
        if checkpoint is self.prepared.own:
            # The result of the earlier process was removed. If this one is killed before its first checkpoint, the work
            # of the earlier one must still be reported.
            self.on_checkpoint()
        return None

    def _loop(self) -> Outcome:
        settings, state, system = self.settings, self.state, self.system
        full_interval, until_step = self.prepared.job.full_trajectory_interval, self.prepared.job.until_step
        progress = time.monotonic()
        self.interruptions.restart_stopwatch()
        while state.step < self.schedule.n_steps and not self.integrator.converged and not state.left:
            reason = self.interruptions.check()
            if reason is not None:
                self.message = f'{self.interruptions.message} after step {state.step} of {self.schedule.n_steps}'
                self._write_checkpoint()
                return reason
            if state.step == until_step and not self.integrator.n_substeps:
                self.message = f'stopped as requested at step {state.step} of {self.schedule.n_steps}'
                self._write_checkpoint()
                return 'stopped'
            segment = self.schedule.segment(state.step)
            temperature, pressure = self.schedule.targets(state.step)
            temperature *= state.temperature_factor
            self.integrator.set_targets(temperature, pressure * units.GPa)
            if segment.velocities_reset and state.step == segment.first:
                system.momenta = system.thermal_momenta(temperature, state.rng)
            sampled = segment.sampled and state.step >= settings.n_equilibration_steps
            alarm = self.steps.take(self.integrator, state.step, sampled)
            complete = self.integrator.n_substeps == 0
            state.step += 1
            state.time_fs += self.prepared.timestep_fs
            # The final structure of a relaxation is always stored, even between two intervals.
            frame_due = (
                complete and sampled and (state.step % settings.frame_interval == 0 or self.integrator.converged)
            )
            if alarm is None and (frame_due or state.step % settings.guards.interval == 0):
                alarm = self.guards.check_distances(system)
            self._add_snapshot()
            self._collect_reports()
            is_new = True
            if alarm is None and state.watch is not None and state.step % settings.frame_interval == 0:
                is_new, alarm = self._check_novelty(state.watch)
            if alarm is not None:
                return self._crash(alarm)
            if not complete:
                state.step -= 1  # further evaluations of the same step follow
            # The full trajectory is written first, because a run may be resumed from the frame that is stored next.
            if full_interval is not None and complete and state.step % full_interval == 0:
                self.recorder.store_full_frame(state.step, state.time_fs, system, unbiased(self.integrator.evaluation))
            if sampled and settings.kind == 'dynamics' and state.bias is None:
                self.recorder.average(system, self.integrator.evaluation, self.ensemble in NPT)
            if frame_due and is_new:
                self._store_frame(temperature, pressure)
            if (self.integrator.n_substeps or state.step) % settings.checkpoint_interval == 0:
                self._write_checkpoint()
            if time.monotonic() - progress > PROGRESS_INTERVAL_S:
                progress = time.monotonic()
                self._print_progress()
        self.integrator.finish()
        self._collect_reports()
        self._write_checkpoint()
        return 'completed'

    def _check_novelty(self, watch: Watch) -> tuple[bool, Alarm | None]:
        """Return whether the structure is new, and an alarm if its novelty cannot be computed."""
        try:
            value = reporting_errors(watch.measure.of)(self.system, self.integrator.evaluation)
        except EvaluationError as error:
            return False, Alarm('calculator', f'the novelty of the structure could not be computed: {error}')
        if not math.isfinite(value):
            return False, Alarm('not_finite', 'the novelty of the structure was not finite')
        is_new, message = watch.check(value, self.step // self.settings.frame_interval)
        if message:
            self.state.add_event('novelty', message)
        return is_new, None

    def _store_frame(self, target_temperature_K: float, target_pressure_GPa: float) -> None:
        info: dict[str, Any] = {
            'step': self.step,
            'target_temperature_K': target_temperature_K,
            'target_pressure_GPa': target_pressure_GPa,
        }
        if self.settings.kind == 'dynamics':
            info['time_fs'] = self.state.time_fs
        if self.state.monte_carlo is not None:
            info['accepted_swaps'] = self.state.monte_carlo.n_accepted_swaps
        if self.state.watch is not None:
            info[self.state.watch.measure.name] = self.state.watch.found.last
        evaluation = unbiased(self.integrator.evaluation)
        if self.state.bias is not None:
            info['bias_eV'] = self.integrator.evaluation.energy - evaluation.energy
        if self.recorder.store_frame(self.system, evaluation, info):
            if self.state.watch is not None:
                self.state.watch.measure.learn()
            self._store_good_state()

    def _collect_reports(self) -> None:
        for rule, message in self.integrator.reports:
            self.state.add_event(rule, message)
        self.integrator.reports.clear()

    def _add_snapshot(self) -> None:
        # The integrators replace these arrays and never change their values, so no copies are needed.
        system = self.system
        self._recent.append(
            Snapshot(self.step, system.positions, system.momenta, system.cell, unbiased(self.integrator.evaluation))
        )

    def _store_good_state(self) -> None:
        self._good = self.state.make_checkpoint(self.integrator)

    def _write_checkpoint(self) -> None:
        self.recorder.flush()
        self.state.make_checkpoint(self.integrator).write(self.folder / CHECKPOINT_FILE)
        self.on_checkpoint()

    def _crash(self, alarm: Alarm) -> Outcome:
        self.state.add_event(alarm.rule, alarm.message)
        self.message = f'{alarm.message} at step {self.step}'
        too_long = describe_long_timestep(self.prepared.timestep_fs, self.prepared.atoms)
        if self.step <= N_FIRST_STEPS and too_long:
            self.message += f'; likely cause: {too_long}'
        write_crash(self.folder / CRASH_FILE, self.prepared.atoms, self._recent, alarm)
        if self.step == 0:
            return 'no_frame'
        self.recorder.flush()
        self._good.write(self.folder / CHECKPOINT_FILE)
        # A leg without a frame may follow legs with frames.
        return 'unstable' if self.leg.n_frames or self.leg.n_earlier_frames else 'no_frame'

    def _print_progress(self) -> None:
        energy = self.integrator.evaluation.energy / len(self.system.positions)
        print(
            f'step {self.step}/{self.schedule.n_steps}  E {energy:.4f} eV/atom  T {self.system.temperature_K:.0f} K',
            file=sys.stderr,
            flush=True,
        )
