"""The start of a training run: the frames of a job, the energies of the elements, and the labels of replayed frames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from aiida_mlip_autopipe.calculators.base import CalculatorLoader
from aiida_mlip_autopipe.calculators.evaluation import Evaluation
from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.jobs.job_file import JobRefusedError, refusing_settings
from aiida_mlip_autopipe.storage.formats.extxyz import add_labels, frame_text
from aiida_mlip_autopipe.structures.rows.splits import Split
from aiida_mlip_autopipe.training.contract import REPLAY_FILE, Training, TrainingJob
from aiida_mlip_autopipe.training.errors import evaluate_frames, label_differences, measure_errors, read_frames
from aiida_mlip_autopipe.training.offsets import Offsets, fit_offsets, residual_of
from aiida_mlip_autopipe.training.trainer import Trainer
from aiida_mlip_autopipe.training.work_folder import write_state

# Replayed frames with a larger force in eV/Å are left out, because they would dominate the loss.
MAX_FORCE_OF_REPLAY = 20.0

Sets = Mapping[Split, list[Atoms]]


def read_sets(job: TrainingJob, folder: Path) -> Sets:
    """Return the frames of each set of a job.

    Raises
    ------
    JobRefusedError
        If a set is missing, or a file cannot be read.
    """
    if missing := {'train', 'valid'} - set(job.sets):
        raise JobRefusedError(Code.SPLIT_EMPTY, f'sets: no rows for {", ".join(sorted(missing))}')
    return {split: _read(folder / name) for split, name in job.sets.items()}


def read_replay(job: TrainingJob, folder: Path) -> list[Atoms]:
    """Return the structures for replay, which have no labels; empty if the job has none.

    Raises
    ------
    JobRefusedError
        If the file cannot be read.
    """
    return [] if job.replay is None else _read(folder / job.replay)


def _read(path: Path) -> list[Atoms]:
    try:
        return read_frames(path)
    except (OSError, ValueError, KeyError) as error:
        raise JobRefusedError(Code.FILE_UNREADABLE, f'the frames cannot be read: {error}') from error


def start_new_model(trainer: Trainer, loader: CalculatorLoader, sets: Sets, job: TrainingJob, work: Path) -> Training:
    """Return the state of a training run of a new model, with the energies of its elements.

    They are those of isolated atoms, if the trainer uses them and they are known, otherwise they are fitted to the
    energies of the training set.
    """
    frames, energies = sets['train'], [frame.info['REF_energy'] for frame in sets['train']]
    found = fit_offsets(frames, energies)
    atoms = job.isolated_atom_energies_eV
    if trainer.uses_isolated_atoms and atoms is not None:
        found = Offsets(dict(atoms), residual_of(frames, energies, atoms), True)
    symbols = {symbol for one in sets.values() for frame in one for symbol in frame.symbols}
    if unknown := sorted(symbols - found.energies_eV.keys()):
        raise JobRefusedError(
            Code.ELEMENT_UNSUPPORTED,
            f'no frame of the training set contains {", ".join(unknown)}, unlike the other sets',
        )
    return _write_first(trainer, loader, sets, found, work)


def start_from_model(
    trainer: Trainer, loader: CalculatorLoader, calculator: Any, sets: Sets, replay: Sequence[Atoms], work: Path
) -> Training:
    """Fit the offsets on the training set, write the model from which the trainer starts, and label frames for replay.

    Raises
    ------
    JobRefusedError
        If the results of the model are not finite, no frame is left for replay, or the trainer cannot start from the
        model.
    """
    evaluations = {split: evaluate_frames(frames, calculator) for split, frames in sets.items()}
    for split, results in evaluations.items():
        if wrong := [number for number, one in enumerate(results) if not one.finite]:
            raise JobRefusedError(
                Code.SETTINGS_REFUSED, f'the initial model gives no finite results for frame {wrong[0]} of set {split}'
            )
    offsets = fit_offsets(sets['train'], label_differences(sets['train'], evaluations['train']))
    with refusing_settings('model'):
        trainer.write_start(loader.model_file(), offsets, work)
    errors = {split: measure_errors(frames, evaluations[split], offsets) for split, frames in sets.items()}
    replayed = _label(replay, calculator, offsets)
    if replay:
        if not replayed:
            raise JobRefusedError(
                Code.SETTINGS_REFUSED,
                f'the largest force of the initial model is not below {MAX_FORCE_OF_REPLAY:g} eV/Å in any frame for '
                f'replay (number of frames: {len(replay)})',
            )
        (work / REPLAY_FILE).write_text(''.join(map(frame_text, replayed)))
    fields = {'initial_errors': errors, 'n_replayed': len(replayed), 'n_not_replayed': len(replay) - len(replayed)}
    return _write_first(trainer, loader, sets, offsets, work, **fields)


def _write_first(
    trainer: Trainer, loader: CalculatorLoader, sets: Sets, offsets: Offsets, work: Path, **fields: Any
) -> Training:
    state = Training(
        trainer=trainer.settings.kind,
        trainer_version=loader.version(),
        recipe=trainer.settings.recipe,
        n_frames={split: len(frames) for split, frames in sets.items()},
        offsets_eV=offsets.energies_eV,
        offsets_determined=offsets.determined,
        offsets_residual_eV_atom=offsets.residual_eV_atom,
        **fields,
    )
    write_state(work, state)
    return state


def _label(frames: Sequence[Atoms], calculator: Any, offsets: Offsets) -> list[Atoms]:
    """Return frames with the labels of the initial model and the offsets, which are part of the model to be trained."""
    labelled = []
    for frame in frames:
        plain = Atoms(frame.numbers, frame.positions, cell=frame.cell, pbc=frame.pbc)
        plain.info['REF_stress'] = None
        (found,) = evaluate_frames([plain], calculator)
        if _is_usable(found):
            energy = found.energy + offsets.of(plain)
            add_labels(plain, {'energy': energy, 'forces': found.forces, 'stress': found.stress})
            labelled.append(plain)
    return labelled


def _is_usable(found: Evaluation) -> bool:
    return found.finite and bool(np.linalg.norm(found.forces, axis=1).max() < MAX_FORCE_OF_REPLAY)
