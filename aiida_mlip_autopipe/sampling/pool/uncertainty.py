"""The uncertainty of several models about the candidates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from aiida_mlip_autopipe.sampling.pool.frames import FramePool
from aiida_mlip_autopipe.structures.disagreement import UNCERTAINTIES


def has_uncertainties(pool: FramePool) -> bool:
    """Return whether models were compared on any of the frames."""
    return any(name in trajectory.extra for trajectory in pool.trajectories for name in UNCERTAINTIES)


def rank_uncertainties(pool: FramePool) -> np.ndarray:
    """Return the rank (m,) of each candidate by its uncertainty: above 0 for the smallest, 1 for the largest.

    The uncertainties in forces, stress and energy are ranked separately, because their units differ. The rank of a
    candidate is the largest of the three: a symmetric structure has no forces about which models could disagree, but
    they may disagree about its stress and energy. A candidate that not all models could evaluate gets the median.
    """
    ranks = np.array([_ranks(pool.extra(name)) for name in UNCERTAINTIES])
    known = np.isfinite(ranks).any(axis=0)
    found = np.where(known, np.nanmax(np.where(known, ranks, 0.0), axis=0), np.nan)
    # The largest of three ranks is rarely small, so candidates are ranked again.
    found = _ranks(found)
    return np.where(known, found, np.median(found[known]) if known.any() else 1.0)


def report_uncertainties(pool: FramePool, chosen: np.ndarray) -> dict[str, Any]:
    """Report the uncertainties of the candidates and of the chosen ones.

    Returns
    -------
    dict
        Empty if no models were compared. Otherwise it has one entry, ``uncertainties``, as JSON: the number of
        candidates without uncertainties and, for each quantity, the medians over all and over the chosen candidates.
    """
    if not has_uncertainties(pool):
        return {}
    values = {name: pool.extra(name) for name in UNCERTAINTIES}
    unknown = np.all([np.isnan(one) for one in values.values()], axis=0)
    medians = {name: {'candidates': _median(one), 'selected': _median(one[chosen])} for name, one in values.items()}
    return {'uncertainties': {'n_unknown': int(unknown.sum()), 'medians': medians}}


def warn_of_unused(pool: FramePool, settings: Mapping[str, Any]) -> list[str]:
    """Return a warning if models were compared, but no sampler uses their disagreement.

    Parameters
    ----------
    pool
        The candidates.
    settings
        The ``sampling`` section.
    """
    if not has_uncertainties(pool) or _weights_clusters(settings):
        return []
    return [
        f'the disagreement of the models has no effect, because the sampler {settings["kind"]!r} does not use it; use '
        "'environment' with uncertainty_exponent above 0"
    ]


def _weights_clusters(settings: Any) -> bool:
    """Return whether a sampler, at any depth, weights environment clusters by the disagreement."""
    if isinstance(settings, Mapping):
        found = settings.get('kind') == 'environment' and settings.get('uncertainty_exponent', 0) > 0
        return found or any(map(_weights_clusters, settings.values()))
    return isinstance(settings, list | tuple) and any(map(_weights_clusters, settings))


def _ranks(values: np.ndarray) -> np.ndarray:
    """Return the fraction of the known values that are smaller, plus one of them; NaN for unknown values."""
    known = np.sort(values[np.isfinite(values)])
    ranks = (np.searchsorted(known, values, side='left') + 1) / max(len(known), 1)
    return np.where(np.isfinite(values), ranks, np.nan)


def _median(values: np.ndarray) -> float | None:
    known = values[np.isfinite(values)]
    return float(np.median(known)) if len(known) else None
