"""Sort the environments of all atoms into kinds."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms

from aiida_mlip_autopipe.sampling.farthest_point import farthest_points
from aiida_mlip_autopipe.sampling.frames import FramePool
from aiida_mlip_autopipe.sampling.projection import Projection, fit_projection
from aiida_mlip_autopipe.sampling.soap import SoapSettings, choose_compression, describe_environments

# Principal components that are kept at most.
MAX_COMPONENTS = 64
# The components are found from about so many environments of evenly spaced frames.
N_SAMPLE = 20_000
# Environments that are not farther apart than this are the same kind. Components are kept until the others are well
# below it: a share of the variance would not do, since elements differ by so much more than what moves atoms.
ALIKE = 1e-4
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
    species = pool.species
    projection = _fit_to_sample(pool, species, settings)
    environments, n_atoms = _project(pool.structures(), species, settings, projection)
    centres, _, distances = farthest_points(environments, n_kinds, tolerance=ALIKE)
    radius = float(distances.max())
    kinds, _ = _nearest_centres(environments, environments[centres])
    present = np.zeros((len(pool), len(centres)), dtype=bool)
    present[np.repeat(np.arange(len(pool)), n_atoms), kinds] = True
    covered = np.zeros(len(centres), dtype=bool)
    given_means = np.empty((0, environments.shape[1]))
    if pool.n_given:
        given, n_given_atoms = _project(pool.given_structures(), species, settings, projection)
        given_kinds, given_distances = _nearest_centres(given, environments[centres])
        covered[given_kinds[given_distances <= max(radius, ALIKE)]] = True
        given_means = _means(given, n_given_atoms)
    report = {
        'descriptor': {
            'kind': settings.kind,
            'species': species,
            'compression': choose_compression(settings, len(species)),
            'n_features': len(projection.mean),
            'n_components': environments.shape[1],
            'explained_variance': projection.explained,
        },
        'n_environments': len(environments),
        'n_kinds': len(centres),
        'kind_radius': radius,
    }
    return EnvironmentKinds(present, covered, _means(environments, n_atoms), given_means, n_atoms, report)


def _fit_to_sample(pool: FramePool, species: list[int], settings: SoapSettings) -> Projection:
    n_frames = max(1, min(len(pool), N_SAMPLE * len(pool) // int(pool.n_atoms().sum())))
    sample = pool.subset(np.linspace(0, len(pool) - 1, n_frames).astype(np.int64))
    projection = fit_projection(np.concatenate(list(describe_environments(sample.structures(), species, settings))))
    # What is left out when so many are kept: none, one, two …
    left_out = np.cumsum(projection.variances[::-1])[::-1]
    enough = int((left_out > (0.1 * ALIKE) ** 2).sum())
    return projection.keep(min(enough, MAX_COMPONENTS))


def _project(
    structures: Iterable[Atoms], species: list[int], settings: SoapSettings, projection: Projection
) -> tuple[np.ndarray, np.ndarray]:
    """Return the projected environments of all structures and the number of atoms of each."""
    projected = [projection.apply(described) for described in describe_environments(structures, species, settings)]
    return np.concatenate(projected), np.array([len(block) for block in projected])


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


def _means(environments: np.ndarray, n_atoms: np.ndarray) -> np.ndarray:
    """Return the mean environment of each structure."""
    starts = np.concatenate([[0], np.cumsum(n_atoms)[:-1]])
    means: np.ndarray = np.add.reduceat(environments, starts, axis=0) / n_atoms[:, None]
    return means
