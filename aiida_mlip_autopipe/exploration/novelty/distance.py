"""Novelty measured by the distance of the environments of the atoms from the known ones."""

from __future__ import annotations

import numpy as np
from ase import Atoms
from scipy.spatial.distance import cdist

from aiida_mlip_autopipe.calculators.evaluation import Evaluation
from aiida_mlip_autopipe.descriptors.soap.settings import describe_environments
from aiida_mlip_autopipe.exploration.novelty.reference import ReferenceEnvironments
from aiida_mlip_autopipe.exploration.phase_space import PhaseSpace
from aiida_mlip_autopipe.exploration.settings.novelty import DistanceSettings

MAX_DISTANCE = 2**0.5
"""The distance of an environment if no environment of the same element is known."""


class Distance:
    """The maximum distance of an environment from the nearest known environment of the same element.

    The environments of the reference dataset are known or, without one, those of the seed. If a frame is stored, those
    of its environments that are farther than the threshold from all known ones become known.

    Parameters
    ----------
    settings
        The descriptor and the threshold.
    atoms
        The seed.
    reference
        The environments of the reference dataset; None without a reference dataset.
    """

    name = 'environment_distance'
    unit = ''

    def __init__(self, settings: DistanceSettings, atoms: Atoms, reference: ReferenceEnvironments | None = None):
        self._settings = settings
        self._atoms = atoms.copy()
        self._numbers = atoms.numbers
        self._elements = sorted(set(atoms.numbers.tolist()))
        self._species = self._elements if reference is None else list(reference.species)
        described = self._describe()
        self._reference = reference
        if reference is None:
            self.known, self.known_numbers = described, atoms.numbers.copy()
        else:
            self.known, self.known_numbers = reference.environments, reference.numbers
        self._last = np.zeros(len(atoms)), described

    def of(self, system: PhaseSpace, evaluation: Evaluation) -> float:
        """Return the distance of the environment that is farthest from the known ones."""
        self._atoms.set_cell(system.cell)
        self._atoms.set_positions(system.positions, apply_constraint=False)
        described = self._describe()
        distances = np.empty(len(self._numbers))
        for number in self._elements:
            same, known = self._numbers == number, self.known[self.known_numbers == number]
            distances[same] = cdist(described[same], known).min(axis=1) if len(known) else MAX_DISTANCE
        self._last = distances, described
        return float(distances.max())

    def learn(self) -> None:
        """Add the new environments of the last structure to the known ones."""
        distances, described = self._last
        new = distances > self._settings.limits[0]
        self.known = np.concatenate([self.known, described[new]])
        self.known_numbers = np.concatenate([self.known_numbers, self._numbers[new]])

    def dump(self) -> dict[str, np.ndarray]:
        """Return the known environments for a checkpoint, without those of the reference dataset."""
        first = self._n_reference
        return {'known_environments': self.known[first:], 'known_numbers': self.known_numbers[first:]}

    def restore(self, arrays: dict[str, np.ndarray]) -> None:
        """Restore the known environments from `dump`."""
        first = self._n_reference
        self.known = np.concatenate([self.known[:first], arrays['known_environments']])
        self.known_numbers = np.concatenate([self.known_numbers[:first], arrays['known_numbers']])

    @property
    def _n_reference(self) -> int:
        return 0 if self._reference is None else len(self._reference.numbers)

    def _describe(self) -> np.ndarray:
        (described,) = describe_environments([self._atoms], self._species, self._settings.descriptor)
        return described
