"""The files of MACE in a training job: the shifted model, the checkpoints and the learning curve."""

from __future__ import annotations

import json
import math
import os
import shutil
import sys
import zipfile
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from ase.data import chemical_symbols
from ase.units import GPa

from aiida_mlip_autopipe.core.atomic_write import atomic_write
from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.training.contract import Epoch
from aiida_mlip_autopipe.training.trainer import Leg

NAME = 'training'
START = 'start.model'


def relative(path: Path, folder: Path) -> str:
    """Return a path relative to a folder."""
    return os.path.relpath(path, folder)


def write_shifted(model: Path, offsets_eV: Mapping[str, float], target: Path) -> None:
    """Write a model with energies added to those of its isolated atoms.

    Raises
    ------
    AutopipeError
        If the model has several heads, whose energies MACE does not tell apart when it is fine-tuned.
    """
    import torch

    content = _load(model)
    energies = content.atomic_energies_fn.atomic_energies
    symbols = [chemical_symbols[int(number)] for number in content.atomic_numbers]
    if energies.numel() != len(symbols):
        raise AutopipeError(
            Code.VALUE_INVALID,
            f'training.model: {model.name} has several heads; extract one of them with mace_select_head',
        )
    added = torch.tensor([offsets_eV.get(symbol, 0.0) for symbol in symbols], dtype=energies.dtype)
    energies += added.reshape(energies.shape)
    with atomic_write(target, overwrite=True) as unfinished:
        torch.save(content, unfinished)


def write_leg(leg: Leg, config: dict[str, Any]) -> list[str]:
    """Write the config of a leg, and the checkpoint from which MACE continues. Return the command."""
    name = f'leg_{leg.number}'
    (leg.folder / f'{name}.yaml').write_text(yaml.safe_dump(config, sort_keys=False))
    if leg.n_done:
        # MACE trains the epoch in the name of the checkpoint again; its first one is 0.
        checkpoint = _checkpoint(leg.folder / name, leg.data.random_seed, leg.n_done)
        checkpoint.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(leg.folder / f'epoch_{leg.n_done}.pt', checkpoint)
    return [sys.executable, '-m', 'mace.cli.run_train', '--config', f'{name}.yaml']


def collect(folder: Path, n_known: int) -> list[Epoch]:
    """Return the new epochs of the last leg, and move their checkpoints to the work folder."""
    logs = sorted(folder.glob('leg_*/results/*_train.txt'), key=lambda path: int(path.parts[-3][4:]))
    if not logs:
        return []
    seed = int(logs[-1].name.rpartition('_run-')[2].removesuffix('_train.txt'))
    found = []
    for epoch in read_curve(logs[-1].read_text()):
        if epoch.epoch <= n_known:
            continue
        written = _checkpoint(logs[-1].parents[1], seed, epoch.epoch)
        # An archive ends with its directory, so a file that is being written is not an archive yet.
        if not zipfile.is_zipfile(written):
            break
        os.replace(written, folder / f'epoch_{epoch.epoch}.pt')
        found.append(epoch)
    return found


def keep(folder: Path, epochs: Collection[int]) -> list[Path]:
    """Remove all checkpoints but those of some epochs. Return the files that a following leg needs."""
    kept = {folder / f'epoch_{epoch}.pt' for epoch in epochs}
    for path in folder.glob('epoch_*.pt'):
        if path not in kept:
            path.unlink()
    return sorted({*kept, folder / START})


def write_model(folder: Path, epoch: int, target: Path) -> None:
    """Write the model after an epoch: the initial model with the trained weights."""
    import torch

    model = _load(folder / START)
    # The checkpoint was written by the trainer of this job.
    checkpoint = torch.load(folder / f'epoch_{epoch}.pt', map_location='cpu', weights_only=False)  # nosec B614
    trained = checkpoint['model']
    model.to(trained['atomic_energies_fn.atomic_energies'].dtype)
    model.load_state_dict(trained)
    with atomic_write(target, overwrite=True) as unfinished:
        torch.save(model, unfinished)
    for leg in folder.glob('leg_*/'):
        shutil.rmtree(leg)


def read_curve(text: str) -> list[Epoch]:
    """Return the epochs in MACE's log of results, one JSON object per line. MACE counts epochs from 0."""
    losses: dict[int, list[float]] = {}
    epochs = []
    for line in text[: text.rfind('\n') + 1].splitlines():
        entry = json.loads(line)
        number = entry.get('epoch')
        if number is None:
            continue
        if entry['mode'] == 'opt':
            losses.setdefault(number, []).append(entry['loss'])
        elif entry['mode'] == 'eval':
            epochs.append(_read_epoch(entry, losses.get(number, [])))
    return epochs


def _read_epoch(entry: Mapping[str, Any], losses: list[float]) -> Epoch:
    stress = entry.get('rmse_stress')
    numbers = {
        'train_loss': float(np.mean(losses)) if losses else None,
        'valid_loss': entry.get('loss'),
        'valid_energy_rmse_eV_atom': entry.get('rmse_e_per_atom'),
        'valid_force_rmse_eV_A': entry.get('rmse_f'),
        'valid_stress_rmse_GPa': None if stress is None else stress / GPa,
    }
    finite = {field: value for field, value in numbers.items() if value is not None and math.isfinite(value)}
    return Epoch(epoch=entry['epoch'] + 1, **finite)


def _checkpoint(leg: Path, seed: int, epoch: int) -> Path:
    return leg / 'checkpoints' / f'{NAME}_run-{seed}_epoch-{epoch - 1}.pt'


def _load(path: Path) -> Any:
    # MACE's models can only be read with its classes.
    import mace.modules  # noqa: F401
    import torch

    return torch.load(path, map_location='cpu', weights_only=False)  # nosec B614
