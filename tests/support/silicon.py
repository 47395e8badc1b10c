"""Rows of strained and rattled silicon cells with labels by GPAW, with stored sets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from aiida_mlip_autopipe.storage import Dataset, export_dataset
from aiida_mlip_autopipe.storage.imports.import_dataset import import_dataset
from aiida_mlip_autopipe.structures.rows.row import Row

LABELS = Path(__file__).parents[1] / 'training' / 'data' / 'si_gpaw.traj'
LEVEL = {'method': 'dft', 'code': 'gpaw', 'name': 'dft:gpaw:PBE', 'parameters': {'plane_wave_cutoff_eV': 250}}


def write_silicon(path: Path, sizes: Sequence[int] = (31, 5, 12)) -> list[Row]:
    """Write a database with rows for training, validation and testing, drawn at random, and return its rows.

    Parameters
    ----------
    path
        The file.
    sizes
        Number of rows in each set.
    """
    everything = path.with_name(f'all-{path.name}')
    import_dataset([LABELS], everything, LEVEL)
    with Dataset(everything) as dataset:
        rows = list(dataset.query())
    order = np.random.default_rng(0).permutation(len(rows))
    splits = np.repeat(['train', 'valid', 'test'], sizes)
    chosen = []
    for index, split in zip(order, splits, strict=False):
        # The strains are independent, so each row is a group.
        pairs = rows[index].key_value_pairs | {'split': str(split), 'parent': f'si-{index}'}
        chosen.append(replace(rows[index], key_value_pairs=pairs, id=None))
    export_dataset(path, chosen)
    everything.unlink()
    with Dataset(path) as dataset:
        return list(dataset.query())
