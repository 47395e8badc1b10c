"""Training of linear potentials on the rows of a dataset."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import linear_potential as potential
import numpy as np

from aiida_mlip_autopipe.storage import Row


class LinearTraining:
    """Fits potentials, all from the same starting model.

    Parameters
    ----------
    folder
        The folder for the models.
    frames
        Labelled structures for the starting model, which also determine the mean and scale of the features.
    """

    def __init__(self, folder: Path, frames: Sequence[Row]):
        self.folder, self._n = folder, 0
        self._known: dict[bytes, potential.Block] = {}
        self.basis = potential.lm.fit_basis([row.atoms for row in frames])
        blocks = [self._block(row) for row in frames]
        zero = np.zeros(blocks[0][0].shape[1])
        self._start = potential.fit(blocks[::2], blocks[1::2], zero)
        self.starting = self._save(self._start)

    def train(self, rows: Sequence[Row], splits: Sequence[str], random_seed: int) -> dict[str, Any]:
        """Return the settings of the calculator of a model. The fit is unique, so the random seed has no effect."""
        train, valid = (
            [self._block(row) for row, one in zip(rows, splits, strict=True) if one == name]
            for name in ('train', 'valid')
        )
        return self._save(potential.fit(train, valid, self._start))

    def _block(self, row: Row) -> potential.Block:
        key = row.atoms.positions.tobytes()
        if key not in self._known:
            results = row.atoms.calc.results
            rows = self.basis.rows(row.atoms)
            self._known[key] = potential.lm.make_block(rows, results['energy'], results['forces'])
        return self._known[key]

    def _save(self, weights: np.ndarray) -> dict[str, Any]:
        path = self.folder / f'model_{self._n}.npz'
        self._n += 1
        potential.save(path, self.basis, weights)
        return {
            'kind': 'custom',
            'calculator': 'linear_potential:LinearPotential',
            'parameters': {'path': str(path)},
            'cutoff_A': potential.lm.CUTOFF_A,
        }
