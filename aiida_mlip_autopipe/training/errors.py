"""Errors of a model on labelled frames."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.io import read
from ase.units import GPa
from pydantic import Field

from aiida_mlip_autopipe.calculators.evaluation import Evaluation, Evaluator
from aiida_mlip_autopipe.core.settings import Settings
from aiida_mlip_autopipe.training.offsets import Offsets


class Errors(Settings):
    """Root mean square errors of a model. Those of forces and stresses are over components."""

    n_frames: int = Field(ge=1)
    """Number of frames."""
    energy_rmse_eV_atom: float
    """Error of the energy per atom in eV."""
    force_rmse_eV_A: float
    """Error of the force components in eV/Å."""
    stress_rmse_GPa: float | None = None
    """Error of the six stress components in GPa; None if no label has a stress."""


def read_frames(path: Path) -> list[Atoms]:
    """Return the frames of an extended XYZ file with the labels ``REF_energy``, ``REF_forces`` and ``REF_stress``."""
    frames: list[Atoms] = read(path, ':', format='extxyz')
    return frames


def evaluate_frames(frames: Sequence[Atoms], calculator: Any) -> list[Evaluation]:
    """Compute the energy, forces and, if it is labelled, stress of each frame with a calculator."""
    evaluations = []
    for frame in frames:
        atoms = Atoms(frame.numbers, frame.positions, cell=frame.cell, pbc=frame.pbc)
        evaluator = Evaluator(atoms, calculator, with_stress='REF_stress' in frame.info)
        evaluations.append(evaluator.evaluate(atoms.positions, atoms.cell.array))
    return evaluations


def label_differences(frames: Sequence[Atoms], evaluations: Sequence[Evaluation]) -> list[float]:
    """Return the energy of the label minus that of the model for each frame, in eV."""
    return [frame.info['REF_energy'] - one.energy for frame, one in zip(frames, evaluations, strict=True)]


def measure_errors(
    frames: Sequence[Atoms], evaluations: Sequence[Evaluation], offsets: Offsets | None = None
) -> Errors:
    """Return the errors of a model.

    Parameters
    ----------
    frames
        Frames with labels.
    evaluations
        The energies, forces and stresses of the model.
    offsets
        Energies of the elements that are added to the model.
    """
    differences = np.array(label_differences(frames, evaluations))
    if offsets is not None:
        differences -= [offsets.of(frame) for frame in frames]
    pairs = list(zip(frames, evaluations, strict=True))
    forces = [(frame.arrays['REF_forces'] - one.forces).ravel() for frame, one in pairs]
    stresses = [np.ravel(frame.info['REF_stress']) - one.stress for frame, one in pairs if 'REF_stress' in frame.info]
    return Errors(
        n_frames=len(frames),
        energy_rmse_eV_atom=_rms(differences / [len(frame) for frame in frames]),
        force_rmse_eV_A=_rms(np.concatenate(forces)),
        stress_rmse_GPa=_rms(np.concatenate(stresses)) / GPa if stresses else None,
    )


def _rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(values))))
