"""Sort the environments of all atoms into kinds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from aiida_mlip_autopipe.descriptors.environments import ALIKE
from aiida_mlip_autopipe.descriptors.soap.settings import SoapSettings
from aiida_mlip_autopipe.sampling.farthest_point import farthest_points
from aiida_mlip_autopipe.sampling.pool.describe import describe_pool
from aiida_mlip_autopipe.sampling.pool.frames import FramePool

BLOCK = 4096


@dataclass(frozen=True, eq=False)
class EnvironmentKinds:
    """Which kinds of environment each candidate has.

    Attributes
    ----------
    present
        Whether a candidate has an environment of a kind (m, k).
    covered
        Whether a given structure has one (k,).
    means, given_means
        Mean of the environments of each candidate (m, c) and of each given structure (g, c).
    n_atoms
        Atoms of each candidate (m,).
    report
        How many environments and kinds there are and how far an environment is from its kind at most.
    """

    present: np.ndarray
    covered: np.ndarray
    means: np.ndarray
    given_means: np.ndarray
    n_atoms: np.ndarray
    report: dict[str, Any]


def find_kinds(pool: FramePool, settings: SoapSettings, n_kinds: int) -> EnvironmentKinds:
    """Choose the centres of kinds by farthest points, so that none is rare enough to be missed.

    Parameters
    ----------
    pool
        The candidates and the structures given.
    settings
        Of the descriptor.
    n_kinds
        How many kinds to tell apart at most.
    """
    features = describe_pool(pool, settings, 'environments')
    candidates, given = features.candidates, features.chosen
    environments = candidates.points
    centres, _, distances = farthest_points(environments, n_kinds, tolerance=ALIKE)
    radius = float(distances.max())
    kinds, _ = _nearest_centres(environments, environments[centres])
    present = np.zeros((len(pool), len(centres)), dtype=bool)
    present[np.repeat(np.arange(len(pool)), candidates.n_points), kinds] = True
    covered = np.zeros(len(centres), dtype=bool)
    if pool.n_given:
        given_kinds, given_distances = _nearest_centres(given.points, environments[centres])
        covered[given_kinds[given_distances <= max(radius, ALIKE)]] = True
    report = {
        'descriptor': features.report,
        'n_environments': len(environments),
        'n_kinds': len(centres),
        'kind_radius': radius,
    }
    return EnvironmentKinds(present, covered, candidates.means(), given.means(), candidates.n_points, report)


def _nearest_centres(points: np.ndarray, centres: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the centre nearest to each point and the distance to it."""
    nearest = np.empty(len(points), dtype=np.int64)
    distances = np.empty(len(points))
    for start in range(0, len(points), BLOCK):
        block = slice(start, start + BLOCK)
        squared = (centres**2).sum(axis=1) - 2.0 * (points[block] @ centres.T)
        nearest[block] = squared.argmin(axis=1)
        distances[block] = np.linalg.norm(points[block] - centres[nearest[block]], axis=1)
    return nearest, distances
