"""How far two calculators disagree about the frames of a trajectory: an indicator, not an error bar."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from aiida_mlip_autopipe.structures.trajectory import Trajectory

LARGEST = 'committee_force_disagreement_eV_A'
MEAN = 'committee_mean_force_disagreement_eV_A'
RELATIVE = 'committee_relative_force_disagreement'
ENERGY = 'committee_energy_difference_eV'
FIGURES = (LARGEST, MEAN, RELATIVE, ENERGY)
"""Names of the figures of a frame, in the order of `compare_labels`: those of its row in the dataset too."""


def compare_labels(first: Trajectory, second: Trajectory) -> dict[str, np.ndarray]:
    r"""Compare what two calculators say of the same frames.

    With :math:`d_i = |F_i - F'_i|` for each atom, a frame has the largest and the mean :math:`d_i` in eV/Å, and
    relative to the forces :math:`\sum_i d_i / \sum_i \frac12 (|F_i| + |F'_i|)`: 0 where they agree, 2 where one is the
    opposite of the other. The difference of the energies is told in eV per atom, second less first. It contains
    the references of the two, a constant for each composition, so that only frames of one composition can be compared.

    Parameters
    ----------
    first, second
        The same frames by their steps; the second may lack some.

    Returns
    -------
    dict
        An array (f,) for each name of `FIGURES`, f the frames of the first; NaN where the second has no number.
    """
    figures = {name: np.full(len(first), np.nan) for name in FIGURES}
    rows, others = frames_in_common(first, second)
    forces, other_forces = first.forces[rows], second.forces[others]
    differences = np.linalg.norm(forces - other_forces, axis=2)
    sizes = 0.5 * (np.linalg.norm(forces, axis=2) + np.linalg.norm(other_forces, axis=2))
    figures[LARGEST][rows] = differences.max(axis=1)
    figures[MEAN][rows] = differences.mean(axis=1)
    total = sizes.sum(axis=1)
    # Where both say that there is no force, they agree.
    figures[RELATIVE][rows] = differences.sum(axis=1) / np.where(total == 0, 1.0, total)
    figures[ENERGY][rows] = (second.energies[others] - first.energies[rows]) / len(first.numbers)
    return figures


def frames_in_common(first: Trajectory, second: Trajectory) -> tuple[np.ndarray, np.ndarray]:
    """Return where the frames that two trajectories share by their steps stand in each (k,)."""
    _, rows, others = np.intersect1d(first.steps, second.steps, assume_unique=True, return_indices=True)
    return rows, others


def with_figures(trajectory: Trajectory, figures: Mapping[str, np.ndarray]) -> Trajectory:
    """Return a trajectory whose frames carry the figures of a committee."""
    return replace(trajectory, extra={**trajectory.extra, **{name: figures[name] for name in FIGURES}})
