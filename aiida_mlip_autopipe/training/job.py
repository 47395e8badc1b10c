"""Training job: a trainer fine-tunes a model on the sets of a dataset.

The offsets between the energies of the labels and of the model are fitted first and added to the model, so the trainer
starts with energies that fit the labels. After each epoch the trainer writes a checkpoint, from which the same job, if
it is requeued, or another one continues, even if this job is killed.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ase import Atoms
from ase.data import chemical_symbols

from aiida_mlip_autopipe.calculators.base import CalculatorLoader, Loaded, resolve_device
from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.wording import counted
from aiida_mlip_autopipe.jobs.contract import RESULT_FILE, Event
from aiida_mlip_autopipe.jobs.interruptions import Interrupted, Interruptions
from aiida_mlip_autopipe.jobs.job_file import read_job_as, refusing_settings
from aiida_mlip_autopipe.jobs.loading import (
    check_elements,
    check_environment,
    describe_loaded,
    load_model,
    make_loader,
    release_memory,
)
from aiida_mlip_autopipe.jobs.runner import make_result, write_result
from aiida_mlip_autopipe.jobs.version import TRAINING_VERSION
from aiida_mlip_autopipe.structures.rows.splits import Split
from aiida_mlip_autopipe.training.base import TrainingData
from aiida_mlip_autopipe.training.contract import (
    CHECKPOINT_FILE,
    LOG_FILE,
    MODEL_FILE,
    REPLAY_FILE,
    START_CHECKPOINT_FILE,
    TRAINING_FILE,
    WORK_FOLDER,
    Training,
    TrainingJob,
)
from aiida_mlip_autopipe.training.errors import Errors, evaluate_frames, measure_errors
from aiida_mlip_autopipe.training.process import last_line, run_trainer
from aiida_mlip_autopipe.training.start import (
    MAX_FORCE_OF_REPLAY,
    Sets,
    read_replay,
    read_sets,
    start_from_model,
    start_new_model,
)
from aiida_mlip_autopipe.training.trainer import NEW_MODEL, TRAINERS, Leg, Trainer
from aiida_mlip_autopipe.training.work_folder import (
    pack_checkpoint,
    read_checkpoint,
    read_state,
    unpack_checkpoint,
    write_state,
)


def train(job_file: Path, facts: dict[str, Any], interruptions: Interruptions) -> None:
    """Train a model. A job that is restarted in its folder continues after its last complete epoch.

    Raises
    ------
    JobRefusedError, CalculatorRefusedError
        If the job cannot be run.
    """
    folder, work = job_file.parent, job_file.parent / WORK_FOLDER
    with interruptions.raising():
        job = read_job_as(TrainingJob, job_file, 'training', TRAINING_VERSION)
        facts.update(image_sha256=job.image_sha256, calculator_name=str(job.calculator.get('kind', '')))
        is_new = job.training.get('recipe') == 'scratch'
        content = {'model': NEW_MODEL, **job.calculator} if is_new else job.calculator
        loader = make_loader(content, job.environment.device)
        interruptions.set_limit(job.max_wallclock_s, None)
        if not is_new:
            facts.update(model_name=loader.model_name(), model_sha256=loader.check())
        check_environment(job.environment, loader, may_differ=job.environment_may_differ)
        sets, replay = read_sets(job, folder), read_replay(job, folder)
        trainer = _make_trainer(job, sets)
        work.mkdir(exist_ok=True)
        start = folder / START_CHECKPOINT_FILE
        if start.is_file():
            # A job that is requeued starts, like its first process, after the epochs of this checkpoint.
            facts['first_step'] = read_checkpoint(start).n_done
            if read_state(work) is None:
                unpack_checkpoint(start, work)
        facts['last_step'] = state.n_done if (state := read_state(work)) else 0
    run = _Run(job, trainer, sets, folder, work, facts, interruptions)
    try:
        with interruptions.raising(), interruptions.watching():
            run.prepare_new(loader) if is_new else run.prepare(loader, replay)
    except Interrupted:
        run.end_early('before the first epoch')
        return
    # The trainer loads the model again, and needs the memory.
    release_memory()
    run.train()


@dataclass
class _Run:
    """A training run in this process."""

    job: TrainingJob
    trainer: Trainer
    sets: Sets
    folder: Path
    work: Path
    facts: dict[str, Any]
    interruptions: Interruptions
    state: Training = field(init=False)

    def prepare(self, loader: CalculatorLoader, replay: list[Atoms]) -> None:
        """Load the initial model, check it, and fit the offsets unless this was done before."""
        started = time.monotonic()
        loaded = load_model(loader)
        frames = [*replay, *(frame for frames in self.sets.values() for frame in frames)]
        check_elements(loader, loaded, Atoms(sorted({number for frame in frames for number in frame.numbers})))
        self._describe(loader, loaded, time.monotonic() - started)
        self.state = read_state(self.work) or start_from_model(
            self.trainer, loader, loaded.calculator, self.sets, replay, self.work
        )

    def prepare_new(self, loader: CalculatorLoader) -> None:
        """Choose the energies of the elements of a new model unless this was done before."""
        device = resolve_device(self.job.environment.device or 'auto')
        precision = getattr(self.trainer.settings, 'dtype', 'float32')
        self._describe(loader, Loaded(None, device, precision), 0.0)
        self.state = read_state(self.work) or start_new_model(self.trainer, loader, self.sets, self.job, self.work)

    def _describe(self, loader: CalculatorLoader, loaded: Loaded, load_s: float) -> None:
        environment = check_environment(
            self.job.environment, loader, loaded.device, may_differ=self.job.environment_may_differ
        )
        self.facts.update(describe_loaded(environment, loader, loaded, load_s))

    def end_early(self, when: str) -> None:
        """Record why the job ended before the model was written."""
        reason = self.interruptions.reason or self.interruptions.check() or 'stopped'
        self.facts.update(outcome=reason, message=f'{self.interruptions.message} {when}')

    def train(self) -> None:
        """Run the trainer for the epochs that remain, and write the model or a checkpoint."""
        # An earlier process in this folder may have been killed after an epoch.
        self._collect()
        before = self.state.wall_time_s
        started = time.monotonic()
        status: int | None = 0
        if self.state.n_done < self.trainer.n_epochs:
            status = self._run_leg(before, started)
        self.facts['loop_s'] = time.monotonic() - started
        if status is None:
            self.facts.update(outcome=self.interruptions.check() or 'stopped', message=self.interruptions.message)
        elif status or self.state.n_done < self.trainer.n_epochs:
            self._fail(f'the trainer ended with exit status {status}: {last_line(self.folder / LOG_FILE)}')
        elif self.state.best_epoch is None:
            self._fail('the loss on the validation set is not finite after any epoch')
        else:
            self._finish(self.state.best_epoch)
        self.facts.update(last_step=self.state.n_done, events=_events(self.state))

    def _fail(self, message: str) -> None:
        self.facts.update(outcome='failed', code=Code.TRAINING_FAILED, message=message)

    def _run_leg(self, before: float, started: float) -> int | None:
        if self.state.n_done:
            self._update(continued_after=(*self.state.continued_after, self.state.n_done))
        number = len(self.state.continued_after) + 1
        # An earlier process of this job may have been killed before its first epoch ended.
        shutil.rmtree(self.work / f'leg_{number}', ignore_errors=True)
        energies = self.state.offsets_eV
        leg = Leg(self.work, number, self.state.n_done, self._describe_data(), self.facts['device'], energies)
        command, config = self.trainer.write_leg(leg)
        self._update(config=config)
        self.save('killed', 'the process was killed')
        # Writing the checkpoint takes longer than a check.
        self.interruptions.restart_stopwatch()

        def watch() -> None:
            if self._collect(before + time.monotonic() - started):
                self.save('killed', 'the process was killed')

        return run_trainer(command, self.work, self.folder / LOG_FILE, self.interruptions, watch)

    def _describe_data(self) -> TrainingData:
        frames = [frame for frames in self.sets.values() for frame in frames]
        return TrainingData(
            name='training',
            folder=self.work,
            files={split: self.folder / name for split, name in self.job.sets.items()},
            n_train=len(self.sets['train']),
            n_valid=len(self.sets['valid']),
            has_stress=any('REF_stress' in frame.info for frame in self.sets['train']),
            numbers=tuple(sorted({int(number) for frame in frames for number in frame.numbers})),
            isolated_atoms=None,
            unknown_atoms=(),
            is_mlip=False,
            config_types=(),
            weights={},
            random_seed=self.job.random_seed,
            replay=self.work / REPLAY_FILE if self.state.n_replayed else None,
        )

    def _collect(self, wall_time_s: float | None = None) -> bool:
        """Record the epochs that the trainer has finished; return whether there are new ones."""
        new = self.trainer.collect(self.work, self.state.n_done)
        if new:
            self._update(epochs=(*self.state.epochs, *new))
            self._update(best_epoch=_best(self.state))
            if wall_time_s is not None:
                self._update(wall_time_s=wall_time_s)
            self._write_checkpoint()
        return bool(new)

    def _write_checkpoint(self) -> None:
        """Write the state for this job, if it is requeued, and the checkpoint for another one, if it is killed."""
        write_state(self.work, self.state)
        kept = self.trainer.keep(self.work, self.state.best_epoch or self.state.n_done, self.state.n_done)
        replay = [self.work / REPLAY_FILE] if self.state.n_replayed else []
        pack_checkpoint(self.folder / CHECKPOINT_FILE, [*kept, *replay, self.work / TRAINING_FILE])

    def _finish(self, best_epoch: int) -> None:
        """Write the model after an epoch, and its errors. If the time is too short, another job does this."""
        self.save('killed', 'the process was killed')
        try:
            with self.interruptions.raising(), self.interruptions.watching():
                self._write_model(best_epoch)
        except Interrupted:
            self.end_early('after the last epoch')
        else:
            self.facts.update(outcome='completed', message='')

    def _write_model(self, best_epoch: int) -> None:
        target = self.folder / f'{MODEL_FILE}{self.trainer.suffix}'
        self.trainer.write_model(self.work, best_epoch, target)
        # It contains what the trainer wrote at its end, in case the evaluation is interrupted.
        self._write_checkpoint()
        calculator = self.job.calculator | {'model': str(target), 'model_sha256': None}
        loaded = load_model(make_loader(calculator, self.job.environment.device))
        elements = tuple(chemical_symbols[number] for number in sorted(loaded.elements or ()))
        self._update(final_errors=_errors(self.sets, loaded.calculator), elements=elements, cutoff_A=loaded.cutoff_A)
        write_state(self.folder, self.state)

    def _update(self, **fields: Any) -> None:
        self.state = self.state.model_copy(update=fields)

    def save(self, outcome: str, message: str) -> None:
        """Write the current result, since a process that is killed can no longer write it."""
        self.facts.update(outcome=outcome, message=message, last_step=self.state.n_done, events=_events(self.state))
        write_result(make_result(self.facts), self.folder / RESULT_FILE)


def _make_trainer(job: TrainingJob, sets: Sets) -> Trainer:
    with refusing_settings('training'):
        trainer = TRAINERS.load(str(job.training.get('kind')))
        return trainer(trainer.settings_class.of_job(job.training).complete(len(sets['train'])))


def _errors(sets: Sets, calculator: Any) -> dict[Split, Errors]:
    return {split: measure_errors(frames, evaluate_frames(frames, calculator)) for split, frames in sets.items()}


def _best(state: Training) -> int | None:
    """Return the epoch with the smallest finite loss on the validation set.

    Of several epochs with the same loss, it is the last one, because trainers print small losses with few digits.
    """
    known = [(epoch.valid_loss, -epoch.epoch) for epoch in state.epochs if epoch.valid_loss is not None]
    return -min(known)[1] if known else None


def _events(state: Training) -> Sequence[Event]:
    events = []
    if state.n_not_replayed:
        n, limit = counted(state.n_not_replayed, 'frame'), f'{MAX_FORCE_OF_REPLAY:g} eV/Å'
        message = f'{n} for replay left out, because a force of the initial model is not below {limit}'
        events.append(Event(step=0, rule='not_replayed', message=message))
    diverged = [epoch.epoch for epoch in state.epochs if epoch.valid_loss is None]
    if diverged:
        n = counted(len(diverged), 'epoch')
        message = f'the loss on the validation set is not finite after {n}, first after epoch {diverged[0]}'
        events.append(Event(step=diverged[0], rule='not_finite', message=message))
    return tuple(events)
