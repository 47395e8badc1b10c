"""The data from which each trainer's config is made: sets, labels, weights and the model to fine-tune."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.structures.rows.splits import Split

# Cutoff of a new model in Å.
CUTOFF_A = 5.0


@dataclass(frozen=True)
class FineTuning:
    """The model from which the training starts.

    Attributes
    ----------
    model
        A file, or a name that the trainer knows.
    replay
        For MACE: a file with frames of the model's own training data, or a name that MACE knows.
    """

    model: str
    replay: str | None = None


@dataclass(frozen=True)
class TrainingData:
    """The sets of a dataset, and what a config needs to know about them.

    Attributes
    ----------
    name
        Name of the config without its suffix, after which the trainer names its files.
    folder
        Folder of the config, in which the trainer is started. All paths in the config are relative to it.
    files
        The file of each set that has rows, in ``folder``.
    n_train, n_valid
        Number of training rows and of validation rows.
    has_stress
        Whether any training row has a stress.
    numbers
        The atomic numbers in all sets.
    isolated_atoms
        Energies of isolated atoms at the level of the labels, eV by symbol; None if one of them is unknown.
    unknown_atoms
        The elements whose isolated atoms have no known energy.
    is_mlip
        Whether the labels are from a machine-learning potential, which extrapolates to isolated atoms.
    config_types
        The groups of rows in the training set that can have different weights.
    weights
        Weights of these groups in the loss, if they are not 1.
    random_seed
        Random seed of the trainer.
    replay
        The file of frames of other chemical systems with labels of the initial model; None if there are none.
    """

    name: str
    folder: Path
    files: Mapping[Split, Path]
    n_train: int
    n_valid: int
    has_stress: bool
    numbers: tuple[int, ...]
    isolated_atoms: dict[str, float] | None
    unknown_atoms: tuple[str, ...]
    is_mlip: bool
    config_types: tuple[str, ...]
    weights: dict[str, float]
    random_seed: int
    replay: Path | None = None

    @property
    def batch_size(self) -> int:
        """Number of structures in a batch."""
        return choose_batch_size(self.n_train)

    @property
    def n_steps(self) -> int:
        """Number of steps of the optimiser for a new model."""
        return choose_n_steps(self.n_train)

    def relative(self, path: str) -> str:
        """Return the path of an existing file relative to the folder of the config."""
        return os.path.relpath(path, self.folder)


def choose_batch_size(n_train: int) -> int:
    """Return the number of structures in a batch: small for a small set, so that an epoch has enough steps."""
    wanted = 4 if n_train <= 500 else 8 if n_train <= 5000 else 16
    # MACE drops an incomplete last batch, so it would train on nothing if a batch were larger than the set.
    return min(wanted, max(1, n_train // 4))


def choose_n_steps(n_train: int) -> int:
    """Return the number of steps of the optimiser for a new model: 1000 for 50 rows, at least 20 passes over the rows.

    A fixed number of epochs would leave a small set with too few steps: 200 epochs of 50 rows left errors of several
    electronvolts in the energies.
    """
    return int(max(1000 * max(1.0, n_train / 50) ** 0.25, 20 * n_train / choose_batch_size(n_train)))


@dataclass(frozen=True)
class Config:
    """The content of a config file.

    Attributes
    ----------
    values
        The settings.
    comments
        Sentences for the head of the file: the reasons for settings that may be surprising.
    notes
        Sentences for the user: what the config lacks, and how to get it.
    files
        Further files that were written for this config.
    """

    values: dict[str, Any]
    comments: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    files: tuple[Path, ...] = field(default=())


def find_model(model: str, names: tuple[str, ...], what: str) -> Path | None:
    """Return the file of a model, or None if it is a name that the trainer knows.

    Raises
    ------
    AutopipeError
        If it is neither.
    """
    if Path(model).is_file():
        return Path(model)
    if model in names:
        return None
    if os.sep in model or Path(model).suffix:
        raise AutopipeError(Code.FILE_MISSING, f'{what}: the file {model} does not exist')
    raise AutopipeError(
        Code.CHOICE_UNKNOWN, f'{what}: {model} is neither a file nor one of the names {", ".join(names)}'
    )
