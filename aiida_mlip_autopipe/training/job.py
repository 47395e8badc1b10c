"""Training job: a trainer fine-tunes a model on the sets of a dataset.

The offsets between the energies of the labels and of the model are fitted first and added to the model, so the trainer
starts with energies that fit the labels. After each epoch the trainer writes a checkpoint, from which the same job, if
it is requeued, or another one continues.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ase import Atoms
from ase.data import chemical_symbols

from aiida_mlip_autopipe.calculators.base import CalculatorLoader
from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.wording import counted
from aiida_mlip_autopipe.jobs.contract import RESULT_FILE, Event
from aiida_mlip_autopipe.jobs.interruptions import Interruptions
from aiida_mlip_autopipe.jobs.job_file import JobRefusedError, read_job_as, refusing_settings
from aiida_mlip_autopipe.jobs.loading import check_elements, check_environment, describe_loaded, load_model, make_loader
from aiida_mlip_autopipe.jobs.runner import make_result, write_result
from aiida_mlip_autopipe.jobs.version import TRAINING_VERSION
from aiida_mlip_autopipe.structures.rows.splits import Split
from aiida_mlip_autopipe.training.base import TrainingData
from aiida_mlip_autopipe.training.contract import (
    CHECKPOINT_FILE,
    LOG_FILE,
    MODEL_FILE,
    START_CHECKPOINT_FILE,
    TRAINING_FILE,
    WORK_FOLDER,
    Training,
    TrainingJob,
)
from aiida_mlip_autopipe.training.errors import Errors, evaluate_frames, label_differences, measure_errors, read_frames
from aiida_mlip_autopipe.training.offsets import fit_offsets
from aiida_mlip_autopipe.training.process import last_line, run_trainer
from aiida_mlip_autopipe.training.trainer import TRAINERS, Leg, Trainer
from aiida_mlip_autopipe.training.work_folder import pack_checkpoint, read_state, unpack_checkpoint, write_state

Sets = Mapping[Split, list[Atoms]]


def train(job_file: Path, facts: dict[str, Any], interruptions: Interruptions) -> None:
    """Fine-tune a model. A job that is restarted in its folder continues after its last complete epoch.

    Raises
    ------
    JobRefusedError, CalculatorRefusedError
        If the job cannot be run.
    """
    folder, work = job_file.parent, job_file.parent / WORK_FOLDER
    with interruptions.raising():
        job = read_job_as(TrainingJob, job_file, 'training', TRAINING_VERSION)
        facts.update(image_sha256=job.image_sha256, calculator_name=str(job.calculator.get('kind', '')))
        loader = make_loader(job.calculator, job.environment.device)
        interruptions.set_limit(job.max_wallclock_s, None)
        facts.update(model_name=loader.model_name(), model_sha256=loader.check())
        check_environment(job.environment, loader, may_differ=job.environment_may_differ)
        trainer = _make_trainer(job)
        sets = _read_sets(job, folder)
        work.mkdir(exist_ok=True)
        if read_state(work) is None and (folder / START_CHECKPOINT_FILE).is_file():
            unpack_checkpoint(folder / START_CHECKPOINT_FILE, work)
        started = time.monotonic()
        loaded = load_model(loader)
        environment = check_environment(job.environment, loader, loaded.device, may_differ=job.environment_may_differ)
        check_elements(
            loader, loaded, Atoms(sorted({number for one in sets.values() for a in one for number in a.numbers}))
        )
        facts.update(describe_loaded(environment, loader, loaded, time.monotonic() - started))
        state = read_state(work) or _start(trainer, loader, loaded.calculator, sets, work)
    run = _Run(job, trainer, sets, folder, work, state, facts, interruptions)
    run.train()


@dataclass
class _Run:
    """A training in this process."""

    job: TrainingJob
    trainer: Trainer
    sets: Sets
    folder: Path
    work: Path
    state: Training
    facts: dict[str, Any]
    interruptions: Interruptions

    def train(self) -> None:
        """Run the trainer for the epochs that remain, and write the model or a checkpoint."""
        # An earlier process in this folder may have been killed after an epoch.
        self._collect()
        self.facts['first_step'] = self._n_done
        before = self.state.wall_time_s
        started = time.monotonic()
        status: int | None = 0
        if self._n_done < self.trainer.settings.n_epochs:
            status = self._run_leg(before, started)
        self.facts['loop_s'] = time.monotonic() - started
        if status is None:
            self._pack()
            self.facts.update(outcome=self.interruptions.check() or 'stopped', message=self.interruptions.message)
        elif status or self._n_done < self.trainer.settings.n_epochs:
            self._fail(f'the trainer ended with exit status {status}: {last_line(self.folder / LOG_FILE)}')
        elif self.state.best_epoch is None:
            self._fail('the loss on the validation set is not finite after any epoch')
        else:
            self._finish(self.state.best_epoch)
            self.facts.update(outcome='completed', message='')
        self.facts.update(last_step=self._n_done, events=_events(self.state))

    def _fail(self, message: str) -> None:
        self.facts.update(outcome='failed', code=Code.TRAINING_FAILED, message=message)

    @property
    def _n_done(self) -> int:
        return self.state.epochs[-1].epoch if self.state.epochs else 0

    def _run_leg(self, before: float, started: float) -> int | None:
        if self._n_done:
            self._update(continued_after=(*self.state.continued_after, self._n_done))
        number = len(self.state.continued_after) + 1
        # An earlier process of this job may have been killed before its first epoch ended.
        shutil.rmtree(self.work / f'leg_{number}', ignore_errors=True)
        leg = Leg(self.work, number, self._n_done, self._describe_data(), self.facts['device'])
        command, config = self.trainer.write_leg(leg)
        self._update(config=config)
        self.save('killed', 'the process was killed')
        # Writing the checkpoint takes longer than a check.
        self.interruptions.restart_stopwatch()

        def watch() -> None:
            if self._collect():
                self._update(wall_time_s=before + time.monotonic() - started)
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
        )

    def _collect(self) -> bool:
        """Record the epochs that the trainer has finished; return whether there are new ones."""
        new = self.trainer.collect(self.work, self._n_done)
        if new:
            self._update(epochs=(*self.state.epochs, *new))
            self._update(best_epoch=_best(self.state))
            write_state(self.work, self.state)
            self._keep()
        return bool(new)

    def _keep(self) -> list[Path]:
        return self.trainer.keep(self.work, self.state.best_epoch or self._n_done, self._n_done)

    def _pack(self) -> None:
        """Write the checkpoint for another job. Without a finished epoch, that job starts from the beginning."""
        write_state(self.work, self.state)
        if self.state.epochs:
            pack_checkpoint(self.folder / CHECKPOINT_FILE, [*self._keep(), self.work / TRAINING_FILE])

    def _finish(self, best_epoch: int) -> None:
        """Write the model after an epoch, and its errors."""
        target = self.folder / f'{MODEL_FILE}{self.trainer.suffix}'
        self.trainer.write_model(self.work, best_epoch, target)
        calculator = self.job.calculator | {'model': str(target), 'model_sha256': None}
        loaded = load_model(make_loader(calculator, self.job.environment.device))
        elements = tuple(chemical_symbols[number] for number in sorted(loaded.elements or ()))
        self._update(final_errors=_errors(self.sets, loaded.calculator), elements=elements, cutoff_A=loaded.cutoff_A)
        write_state(self.folder, self.state)

    def _update(self, **fields: Any) -> None:
        self.state = self.state.model_copy(update=fields)

    def save(self, outcome: str, message: str) -> None:
        """Write the result as of now, since a process that is killed can no longer write it."""
        self.facts.update(outcome=outcome, message=message, last_step=self._n_done, events=_events(self.state))
        write_result(make_result(self.facts), self.folder / RESULT_FILE)


def _make_trainer(job: TrainingJob) -> Trainer:
    with refusing_settings('training'):
        trainer = TRAINERS.load(str(job.training.get('kind')))
        return trainer(trainer.settings_class.model_validate(job.training | {'model': 'initial'}))


def _read_sets(job: TrainingJob, folder: Path) -> Sets:
    if missing := {'train', 'valid'} - set(job.sets):
        raise JobRefusedError(Code.SPLIT_EMPTY, f'sets: no rows for {", ".join(sorted(missing))}')
    try:
        return {split: read_frames(folder / name) for split, name in job.sets.items()}
    except (OSError, ValueError, KeyError) as error:
        raise JobRefusedError(Code.FILE_UNREADABLE, f'the sets cannot be read: {error}') from error


def _start(trainer: Trainer, loader: CalculatorLoader, calculator: Any, sets: Sets, work: Path) -> Training:
    """Fit the offsets on the training set, and write the model from which the trainer starts."""
    evaluations = {split: evaluate_frames(frames, calculator) for split, frames in sets.items()}
    for split, results in evaluations.items():
        if wrong := [number for number, one in enumerate(results) if not one.finite]:
            raise JobRefusedError(
                Code.SETTINGS_REFUSED, f'the initial model gives no finite results for frame {wrong[0]} of set {split}'
            )
    offsets = fit_offsets(sets['train'], label_differences(sets['train'], evaluations['train']))
    with refusing_settings('model'):
        trainer.write_start(loader.model_file(), offsets, work)
    state = Training(
        trainer=trainer.settings.kind,
        trainer_version=loader.version(),
        n_frames={split: len(frames) for split, frames in sets.items()},
        offsets_eV=offsets.energies_eV,
        offsets_determined=offsets.determined,
        offsets_residual_eV_atom=offsets.residual_eV_atom,
        initial_errors={split: measure_errors(frames, evaluations[split], offsets) for split, frames in sets.items()},
    )
    write_state(work, state)
    return state


def _errors(sets: Sets, calculator: Any) -> dict[Split, Errors]:
    return {split: measure_errors(frames, evaluate_frames(frames, calculator)) for split, frames in sets.items()}


def _best(state: Training) -> int | None:
    """Return the epoch with the smallest finite loss on the validation set.

    Of several epochs with the same loss, it is the last one, because trainers print small losses with few digits.
    """
    known = [(epoch.valid_loss, -epoch.epoch) for epoch in state.epochs if epoch.valid_loss is not None]
    return -min(known)[1] if known else None


def _events(state: Training) -> Sequence[Event]:
    diverged = [epoch.epoch for epoch in state.epochs if epoch.valid_loss is None]
    message = f'the loss on the validation set is not finite after {counted(len(diverged), "epoch")}, first after epoch'
    return tuple(Event(step=diverged[0], rule='not_finite', message=f'{message} {number}') for number in diverged[:1])
