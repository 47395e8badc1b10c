"""The disagreement between two calculators on the frames of a trajectory: an indicator, not an error bar."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from aiida_mlip_autopipe.structures.trajectory import Trajectory

LARGEST = 'committee_force_disagreement_eV_A'
MEAN = 'committee_mean_force_disagreement_eV_A'
RELATIVE = 'committee_relative_force_disagreement'
ENERGY = 'committee_energy_difference_eV'
UNCERTAINTIES = ('uncertainty_force_eV_A', 'uncertainty_stress_GPa', 'uncertainty_energy_eV_atom')
"""Names of the uncertainties of a frame: the disagreement of several models about force, stress and energy per atom."""
MEASURES = (LARGEST, MEAN, RELATIVE, ENERGY)
"""Names of the measures of disagreement, in the order of `compare_labels`. The row of a frame has the same keys."""


def compare_labels(first: Trajectory, second: Trajectory) -> dict[str, np.ndarray]:
    r"""Compare the labels of the same frames from two calculators.

    With :math:`d_i = |F_i - F'_i|` for each atom, the measures are the maximum and the mean of :math:`d_i` in
    eV/Å, and the relative disagreement :math:`\sum_i d_i / \sum_i \frac12 (|F_i| + |F'_i|)`. The relative disagreement
    is 0 if the forces agree and 2 if they are opposite. The energy difference is the second minus the first energy in
    eV per atom. It contains the reference energies of both calculators, a constant for each composition, so only frames
    of the same composition can be compared.

    Parameters
    ----------
    first, second
        The frames, matched by their steps. The second trajectory may lack some.

    Returns
    -------
    dict
        An array (f,) for each name in `MEASURES`, for the f frames of the first; NaN where the second lacks a value.
    """
    measures = {name: np.full(len(first), np.nan) for name in MEASURES}
    rows, others = frames_in_common(first, second)
    forces, other_forces = first.forces[rows], second.forces[others]
    differences = np.linalg.norm(forces - other_forces, axis=2)
    sizes = 0.5 * (np.linalg.norm(forces, axis=2) + np.linalg.norm(other_forces, axis=2))
    measures[LARGEST][rows] = differences.max(axis=1)
    measures[MEAN][rows] = differences.mean(axis=1)
    total = sizes.sum(axis=1)
    # If all forces are zero in both, they agree.
    measures[RELATIVE][rows] = differences.sum(axis=1) / np.where(total == 0, 1.0, total)
    measures[ENERGY][rows] = (second.energies[others] - first.energies[rows]) / len(first.numbers)
    return measures


def frames_in_common(first: Trajectory, second: Trajectory) -> tuple[np.ndarray, np.ndarray]:
    """Return the indices (k,), in each of two trajectories, of the frames whose step is in both."""
    _, rows, others = np.intersect1d(first.steps, second.steps, assume_unique=True, return_indices=True)
    return rows, others


def with_measures(trajectory: Trajectory, measures: Mapping[str, np.ndarray]) -> Trajectory:
    """Return the trajectory with the measures of disagreement of each frame."""
    return replace(trajectory, extra={**trajectory.extra, **{name: measures[name] for name in MEASURES}})


def with_uncertainties(trajectory: Trajectory, values: Sequence[np.ndarray]) -> Trajectory:
    """Return the trajectory with the uncertainties (f,) of its frames, in the order of `UNCERTAINTIES`."""
    return replace(trajectory, extra={**trajectory.extra, **dict(zip(UNCERTAINTIES, values, strict=True))})
