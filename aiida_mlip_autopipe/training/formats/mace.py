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
HEAD = 'Default'
"""The head of the dataset in a model with several heads."""
REPLAY_HEAD = 'pt_head'


def relative(path: Path, folder: Path) -> str:
    """Return a path relative to a folder."""
    return os.path.relpath(path, folder)


def write_shifted(model: Path, offsets_eV: Mapping[str, float], target: Path) -> None:
    """Write a model with energies added to those of its isolated atoms.

    Raises
    ------
    AutopipeError
        If the model has several heads. MACE does not distinguish their energies when it fine-tunes a model.
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
        # MACE continues with the epoch in the name of the checkpoint. It counts from 0, so this is the next one.
        checkpoint = _checkpoint(leg.folder / name, leg.data.random_seed, leg.n_done + 1)
        checkpoint.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(leg.folder / f'epoch_{leg.n_done}.pt', checkpoint)
    return [sys.executable, '-m', 'mace.cli.run_train', '--config', f'{name}.yaml']


def find_log(folder: Path) -> Path | None:
    """Return MACE's log of results of the last leg; None if there is none yet."""
    return max(folder.glob('leg_*/results/*_train.txt'), key=lambda path: int(path.parts[-3][4:]), default=None)


class ResultsLog:
    """MACE's log of results, which is read while it grows: one JSON object per line. MACE counts epochs from 0.

    Parameters
    ----------
    path
        The log, in a leg's folder ``results``.
    """

    def __init__(self, path: Path):
        self.path = path
        self._seed = int(path.name.rpartition('_run-')[2].removesuffix('_train.txt'))
        self._position = 0
        self._losses: dict[int, list[float]] = {}
        self._waiting: list[Epoch] = []

    def collect(self, folder: Path) -> list[Epoch]:
        """Return the new epochs whose checkpoints are complete, and move these to the work folder."""
        self._waiting += self._read_new()
        found = []
        while self._waiting:
            number = self._waiting[0].epoch
            written = _checkpoint(self.path.parents[1], self._seed, number)
            # An archive ends with its directory, so a file that is being written is not an archive yet.
            if not zipfile.is_zipfile(written):
                break
            os.replace(written, folder / f'epoch_{number}.pt')
            found.append(self._waiting.pop(0))
        return found

    def _read_new(self) -> list[Epoch]:
        """Return the epochs in the complete lines that were added to the log."""
        with self.path.open('rb') as file:
            file.seek(self._position)
            added = file.read()
        complete = added[: added.rfind(b'\n') + 1]
        self._position += len(complete)
        epochs = []
        for line in complete.decode().splitlines():
            entry = json.loads(line)
            number = entry.get('epoch')
            if number is None:
                continue
            if entry['mode'] == 'opt':
                self._losses.setdefault(number, []).append(entry['loss'])
            # With replay, the model has a second head.
            elif entry['mode'] == 'eval' and entry.get('head', HEAD) == HEAD:
                epochs.append(_read_epoch(entry, self._losses.pop(number, [])))
        return epochs


def keep(folder: Path, epochs: Collection[int]) -> list[Path]:
    """Remove all checkpoints but those of some epochs. Return the files that the next leg needs."""
    kept = {folder / f'epoch_{epoch}.pt' for epoch in epochs}
    for path in folder.glob('epoch_*.pt'):
        if path not in kept:
            path.unlink()
    # For a new model, this file does not exist before the last epoch has ended.
    return sorted(kept | ({folder / START} if (folder / START).is_file() else set()))


def write_model(folder: Path, epoch: int, target: Path) -> None:
    """Write the model after an epoch: the initial model with the trained weights."""
    import torch

    if not (folder / START).is_file():
        # MACE wrote a new model after its last epoch. Its weights are replaced.
        (written,) = folder.glob(f'leg_*/{NAME}.model')
        shutil.copyfile(written, folder / START)
    model = _load(folder / START)
    # The checkpoint was written by the trainer of this job.
    checkpoint = torch.load(folder / f'epoch_{epoch}.pt', map_location='cpu', weights_only=False)  # nosec B614
    trained = checkpoint['model']
    energies = trained['atomic_energies_fn.atomic_energies']
    model.to(energies.dtype)
    if len(energies) > len(model.atomic_energies_fn.atomic_energies.reshape(-1, energies.shape[-1])):
        model = _select_head(model, trained)
    else:
        model.load_state_dict(trained)
    with atomic_write(target, overwrite=True) as unfinished:
        torch.save(model, unfinished)
    for leg in folder.glob('leg_*/'):
        shutil.rmtree(leg)


def _select_head(model: Any, trained: Mapping[str, Any]) -> Any:
    """Return the head of the dataset, with the weights of a model with several heads.

    Parameters
    ----------
    model
        The initial model, which has one head.
    trained
        The weights.
    """
    import torch
    from mace.tools.scripts_utils import extract_config_mace_model, remove_pt_head

    heads = [REPLAY_HEAD, HEAD]
    config = extract_config_mace_model(model)
    config |= {
        'heads': heads,
        'atomic_energies': np.repeat(np.reshape(config['atomic_energies'], (1, -1)), len(heads), axis=0),
        **{name: np.repeat(config[name], len(heads)) for name in ('atomic_inter_scale', 'atomic_inter_shift')},
    }
    before = torch.get_default_dtype()
    torch.set_default_dtype(trained['atomic_energies_fn.atomic_energies'].dtype)
    try:
        whole = type(model)(**config)
        whole.load_state_dict(trained)
        return remove_pt_head(whole, HEAD)
    finally:
        torch.set_default_dtype(before)


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
