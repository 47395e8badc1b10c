"""Novelty measured by the distance of environments from those of the seed and of the frames stored so far."""

from __future__ import annotations

import numpy as np
from ase import Atoms
from scipy.spatial.distance import cdist

from aiida_mlip_autopipe.calculators.evaluation import Evaluation
from aiida_mlip_autopipe.descriptors.soap.settings import describe_environments
from aiida_mlip_autopipe.exploration.phase_space import PhaseSpace
from aiida_mlip_autopipe.exploration.settings.novelty import DistanceSettings


class Distance:
    """The maximum distance of an environment from the nearest known environment of the same element.

    The environments of the seed are known. If a frame is stored, those of its environments that are farther than the
    threshold from all known ones become known.

    Parameters
    ----------
    settings
        The descriptor and the threshold.
    atoms
        The seed.
    """

    name = 'environment_distance'
    unit = ''

    def __init__(self, settings: DistanceSettings, atoms: Atoms):
        self._settings = settings
        self._atoms = atoms.copy()
        self._numbers = atoms.numbers
        self._species = sorted(set(atoms.numbers.tolist()))
        self.known = self._describe()
        self.known_numbers = atoms.numbers.copy()
        self._last = np.zeros(len(atoms)), self.known

    def of(self, system: PhaseSpace, evaluation: Evaluation) -> float:
        """Return the distance of the environment that is farthest from the known ones."""
        self._atoms.set_cell(system.cell)
        self._atoms.set_positions(system.positions, apply_constraint=False)
        described = self._describe()
        distances = np.empty(len(self._numbers))
        for number in self._species:
            same = self._numbers == number
            distances[same] = cdist(described[same], self.known[self.known_numbers == number]).min(axis=1)
        self._last = distances, described
        return float(distances.max())

    def learn(self) -> None:
        """Add the new environments of the last structure to the known ones."""
        distances, described = self._last
        new = distances > self._settings.threshold
        self.known = np.concatenate([self.known, described[new]])
        self.known_numbers = np.concatenate([self.known_numbers, self._numbers[new]])

    def dump(self) -> dict[str, np.ndarray]:
        """Return the known environments for a checkpoint."""
        return {'known_environments': self.known, 'known_numbers': self.known_numbers}

    def restore(self, arrays: dict[str, np.ndarray]) -> None:
        """Restore the known environments from `dump`."""
        self.known, self.known_numbers = arrays['known_environments'], arrays['known_numbers']

    def _describe(self) -> np.ndarray:
        (described,) = describe_environments([self._atoms], self._species, self._settings.descriptor)
        return described
