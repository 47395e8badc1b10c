"""Predictions of a model, or labels of a reference method, for frames of different sizes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from ase import Atoms

from aiida_mlip_autopipe.labelling.label import Failure, Label
from aiida_mlip_autopipe.structures.rows.row import Row


@dataclass(frozen=True, eq=False)
class Predictions:
    """Energies, forces and stresses of f frames. The values of a frame that could not be evaluated are NaN.

    Attributes
    ----------
    n_atoms
        Number of atoms of each frame (f,).
    numbers
        Atomic numbers of all frames, one after another (n,).
    energies
        In eV, (f,).
    forces
        In eV/Å, of all frames, one after another (n, 3).
    stresses
        In eV/Å³ with ASE's sign convention and Voigt order, (f, 6); NaN for a frame without a stress.
    """

    n_atoms: np.ndarray
    numbers: np.ndarray
    energies: np.ndarray
    forces: np.ndarray
    stresses: np.ndarray

    def __len__(self) -> int:
        return len(self.n_atoms)

    @classmethod
    def from_outcomes(cls, frames: Sequence[Atoms], outcomes: Iterable[Label | Failure | None]) -> Predictions:
        """Return the labels of frames as predictions. A frame with a failure or without a label gets NaN."""
        labels = [one if isinstance(one, Label) else None for one in outcomes]
        pairs = list(zip(frames, labels, strict=True))
        none = np.full(6, np.nan)
        return cls.from_arrays(
            [atoms.numbers for atoms in frames],
            [np.nan if one is None else one.energy_eV for one in labels],
            [np.full((len(atoms), 3), np.nan) if one is None else one.forces_eV_A for atoms, one in pairs],
            [none if one is None or one.stress_eV_A3 is None else one.stress_eV_A3 for one in labels],
        )

    @classmethod
    def from_rows(cls, rows: Sequence[Row]) -> Predictions:
        """Return the labels of rows.

        Raises
        ------
        AutopipeError
            If a row has no labels.
        """
        labels = [row.labels for row in rows]
        return cls.from_arrays(
            [row.atoms.numbers for row in rows],
            [one['energy'] for one in labels],
            [one['forces'] for one in labels],
            [one.get('stress', np.full(6, np.nan)) for one in labels],
        )

    @classmethod
    def from_arrays(
        cls,
        numbers: Sequence[np.ndarray],
        energies: Sequence[float],
        forces: Sequence[np.ndarray],
        stresses: Sequence[np.ndarray],
    ) -> Predictions:
        """Return predictions from the values of each frame."""
        return cls(
            np.array([len(one) for one in numbers], dtype=np.int64),
            np.concatenate([np.empty(0, dtype=np.int64), *numbers]),
            np.array(energies, dtype=float),
            np.concatenate([np.empty((0, 3)), *forces]),
            np.array(stresses, dtype=float).reshape(-1, 6),
        )

    @cached_property
    def ends(self) -> np.ndarray:
        """Index (f,) after the last atom of each frame."""
        ends: np.ndarray = np.cumsum(self.n_atoms)
        return ends

    @cached_property
    def finite(self) -> np.ndarray:
        """Whether energy and forces of each frame are finite (f,)."""
        finite: np.ndarray = np.isfinite(self.energies) & np.isfinite(self.per_frame((self.forces**2).sum(axis=1)))
        return finite

    def per_frame(self, values: np.ndarray) -> np.ndarray:
        """Return the mean (f,) of values (n,), one for each atom, over the atoms of each frame."""
        of_atom = np.repeat(np.arange(len(self)), self.n_atoms)
        means: np.ndarray = np.bincount(of_atom, weights=values, minlength=len(self)) / self.n_atoms
        return means

    def frames(self) -> list[Atoms]:
        """Return the elements of each frame as structures without positions."""
        return [Atoms(numbers) for numbers in np.split(self.numbers, self.ends[:-1])] if len(self) else []

    def subset(self, indices: Sequence[int] | np.ndarray) -> Predictions:
        """Return the predictions for some frames, in the order of their indices."""
        chosen = np.asarray(indices, dtype=np.int64)
        starts = self.ends - self.n_atoms
        atoms = np.concatenate([np.empty(0, dtype=np.int64), *(np.arange(starts[i], self.ends[i]) for i in chosen)])
        return Predictions(
            self.n_atoms[chosen], self.numbers[atoms], self.energies[chosen], self.forces[atoms], self.stresses[chosen]
        )
