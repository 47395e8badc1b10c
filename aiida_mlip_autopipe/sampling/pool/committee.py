"""The disagreement between two calculators on the candidates."""

from __future__ import annotations

from typing import Any

import numpy as np

from aiida_mlip_autopipe.sampling.pool.frames import FramePool
from aiida_mlip_autopipe.structures.disagreement import ENERGY, LARGEST


def report_committee(pool: FramePool, chosen: np.ndarray) -> dict[str, Any]:
    """Report the disagreement on the candidates and on the chosen frames.

    Parameters
    ----------
    pool
        The candidates.
    chosen
        Indices of the chosen frames in the pool.

    Returns
    -------
    dict
        Empty without a committee. Otherwise it has one entry, ``committee``, as JSON. For the candidates and for the
        chosen frames, it contains the number of evaluated frames, and the median, 95th percentile and maximum of the
        disagreement in the forces in eV/Å. For all candidates, it contains the root mean square deviation of the energy
        difference between the calculators from its mean for the composition, in eV per atom.
    """
    if not any(LARGEST in trajectory.extra for trajectory in pool.trajectories):
        return {}
    values = pool.extra(LARGEST)
    groups = {'candidates': _describe(values), 'selected': _describe(values[chosen])}
    return {'committee': {**groups, 'energy_spread_eV': _energy_spread(pool)}}


def _describe(values: np.ndarray) -> dict[str, float | int | None]:
    known = values[np.isfinite(values)]
    quantiles = {'median_eV_per_A': 0.5, 'p95_eV_per_A': 0.95, 'max_eV_per_A': 1.0}
    values_by_name = {
        name: float(np.quantile(known, quantile)) if len(known) else None for name, quantile in quantiles.items()
    }
    return {'n_evaluated': len(known), **values_by_name}


def _energy_spread(pool: FramePool) -> float | None:
    differences, names = pool.extra(ENERGY), np.array(pool.compositions())
    known = np.isfinite(differences)
    if not known.any():
        return None
    differences, names = differences[known], names[known]
    _, groups = np.unique(names, return_inverse=True)
    means = np.bincount(groups, differences) / np.bincount(groups)
    return float(np.sqrt(np.mean((differences - means[groups]) ** 2)))
