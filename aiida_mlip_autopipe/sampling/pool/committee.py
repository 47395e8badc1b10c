"""What a committee of two calculators says of the candidates."""

from __future__ import annotations

from typing import Any

import numpy as np

from aiida_mlip_autopipe.sampling.pool.frames import FramePool
from aiida_mlip_autopipe.structures.disagreement import ENERGY, LARGEST


def report_committee(pool: FramePool, chosen: np.ndarray) -> dict[str, Any]:
    """Return how far the committee disagrees about the candidates and about those chosen; nothing without a committee.

    Parameters
    ----------
    pool
        The candidates.
    chosen
        Positions in the pool.

    Returns
    -------
    dict
        ``committee``, JSON only: for both groups how many frames it has evaluated, and the median, the 95th percentile
        and the largest of the force disagreement in eV/Å; for the candidates also the spread (standard deviation) of
        the energy difference in eV per atom about its mean for each composition.
    """
    if not any(LARGEST in trajectory.extra for trajectory in pool.trajectories):
        return {}
    values = pool.extra(LARGEST)
    groups = {'candidates': _describe(values), 'selected': _describe(values[chosen])}
    return {'committee': {**groups, 'energy_spread_eV': _energy_spread(pool)}}


def _describe(values: np.ndarray) -> dict[str, float | int | None]:
    known = values[np.isfinite(values)]
    quantiles = {'median_eV_A': 0.5, 'p95_eV_A': 0.95, 'largest_eV_A': 1.0}
    figures = {name: float(np.quantile(known, share)) if len(known) else None for name, share in quantiles.items()}
    return {'n_evaluated': len(known), **figures}


def _energy_spread(pool: FramePool) -> float | None:
    differences, names = pool.extra(ENERGY), np.array(pool.compositions())
    known = np.isfinite(differences)
    if not known.any():
        return None
    differences, names = differences[known], names[known]
    _, groups = np.unique(names, return_inverse=True)
    means = np.bincount(groups, differences) / np.bincount(groups)
    return float(np.sqrt(np.mean((differences - means[groups]) ** 2)))
