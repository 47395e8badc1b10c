"""Checkpoints of SevenNet: read them, shift the energies of their elements, and write the model without the rest."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase.data import atomic_numbers

from aiida_mlip_autopipe.core.atomic_write import atomic_write
from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.structures.rows.row import Row
from aiida_mlip_autopipe.training.base import find_model
from aiida_mlip_autopipe.training.offsets import fit_offsets

# The checkpoints that the package ships, except MF-0, which has two levels of theory.
SHIPPED = ('7net-0', '7net-l3i5')
# This many rows determine the offsets of the elements well enough.
MAX_FITTED = 200
# The entries of a checkpoint that describe the model. The others differ between identical training runs, or are only
# needed to continue one.
OF_THE_MODEL = ('model_state_dict', 'config', 'epoch')
NOT_OF_THE_MODEL = ('when', 'continue')


@dataclass(frozen=True)
class SevenNetCheckpoint:
    """A checkpoint of SevenNet with one level of theory."""

    name: str
    path: Path
    model_section: dict[str, Any]
    elements: tuple[str, ...]

    @classmethod
    def read(cls, name: str, place: str) -> SevenNetCheckpoint:
        """Read a checkpoint by its path or name.

        Parameters
        ----------
        name
            The file, or the name of a shipped checkpoint.
        place
            The option or setting that names it, for messages.

        Raises
        ------
        AutopipeError
            If SevenNet is not installed, or cannot fine-tune this checkpoint.
        """
        file = find_model(name, SHIPPED, place)
        try:
            from sevenn.util import load_checkpoint
        except ImportError:
            raise AutopipeError(
                Code.PACKAGE_MISSING,
                'a config for fine-tuning contains the architecture of the checkpoint, which only SevenNet can read: '
                'pip install "aiida-mlip-autopipe[sevennet]"',
            ) from None
        try:
            with warnings.catch_warnings():
                # SevenNet warns about its own older checkpoints, whose sections the tests use.
                warnings.simplefilter('ignore', UserWarning)
                checkpoint = load_checkpoint(str(file or name))
                config = checkpoint.config
                # Statistics and elements are not part of it: SevenNet takes them from the checkpoint.
                section = checkpoint.yaml_dict('continue')['model']
        except Exception as error:  # SevenNet and torch raise exceptions of various types
            raise AutopipeError(Code.FILE_UNREADABLE, f'{place}: {name} is not a checkpoint: {error}') from error
        if config.get('use_modality'):
            raise AutopipeError(
                Code.VALUE_INVALID,
                f'{place}: {name} has several levels of theory; use a checkpoint with one',
            )
        by_number = {number: symbol for symbol, number in atomic_numbers.items()}
        elements = tuple(by_number[int(number)] for number in sorted(config['_type_map'], key=config['_type_map'].get))
        return cls(name, Path(checkpoint.checkpoint_path), section, elements)

    def fit_offsets(self, rows: Sequence[Row]) -> dict[str, float]:
        """Return the energy per atom of each element by which the labels exceed the model's energies, eV.

        This is a least-squares fit. If the compositions do not determine the offsets, they are the solution with the
        smallest sum of squares.
        """
        from sevenn.calculator import SevenNetCalculator

        with warnings.catch_warnings():
            # SevenNet recommends an accelerator every time it starts.
            warnings.simplefilter('ignore', UserWarning)
            calculator = SevenNetCalculator(str(self.path), device='cpu')
        chosen = [rows[i] for i in np.unique(np.linspace(0, len(rows) - 1, min(len(rows), MAX_FITTED)).astype(int))]
        differences = [row.labels['energy'] - _energy(row, calculator) for row in chosen]
        return fit_offsets([row.atoms for row in chosen], differences).energies_eV

    def write_shifted(self, path: Path, offsets: dict[str, float]) -> None:
        """Write the checkpoint with offsets added to the energies of its elements."""
        import torch

        # A checkpoint contains objects besides weights. SevenNet has already loaded this one.
        content = torch.load(self.path, map_location='cpu', weights_only=False)  # nosec B614
        state, config = content['model_state_dict'], content['config']
        for key, setting in (('rescale_atomic_energy.shift', 'shift'), ('rescale_atomic_energy.scale', 'scale')):
            # A model with the same shift for all elements gets one for each, so it also needs one scale for each.
            values = state[key].reshape(-1).expand(len(self.elements)).clone()
            if setting == 'shift':
                values += torch.tensor([offsets.get(symbol, 0.0) for symbol in self.elements], dtype=values.dtype)
            state[key], config[setting] = values, values.tolist()
        with atomic_write(path, overwrite=True) as unfinished:
            torch.save(content, unfinished)


def write_slim(path: Path, target: Path) -> None:
    """Write only the model of a checkpoint. Identical models give identical files.

    Parameters
    ----------
    path
        A checkpoint that SevenNet has written in this job.
    target
        The file to write. Its name without suffix is part of its content.
    """
    import torch

    content = torch.load(path, map_location='cpu', weights_only=False)  # nosec B614
    slim = {name: content[name] for name in OF_THE_MODEL}
    slim['config'] = {name: value for name, value in slim['config'].items() if name not in NOT_OF_THE_MODEL}
    with atomic_write(target, overwrite=True) as unfinished:
        torch.save(slim, unfinished)


def _energy(row: Row, calculator: Any) -> float:
    copied = row.atoms.copy()
    copied.calc = calculator
    return float(copied.get_potential_energy())
