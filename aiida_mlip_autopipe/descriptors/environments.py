"""The environments of all atoms in a few principal components, whether they are computed here or a job has done so."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms

from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.descriptors.describe import Description, descriptor_key
from aiida_mlip_autopipe.descriptors.projection import Projection, fit_projection
from aiida_mlip_autopipe.descriptors.soap.settings import SoapSettings, choose_compression, describe_environments
from aiida_mlip_autopipe.sampling.pool.frames import FramePool, collect_frames
from aiida_mlip_autopipe.structures.trajectory import Trajectory

# Principal components that are kept at most.
MAX_COMPONENTS = 64
# The components are found from about so many environments of evenly spaced frames.
N_SAMPLE = 20_000
# Environments that are not farther apart than this are the same kind. Components are kept until the others are well
# below it: a share of the variance would not do, since elements differ by so much more than what moves atoms.
ALIKE = 1e-4


@dataclass(frozen=True, eq=False)
class Environments:
    """The environments of some structures.

    Attributes
    ----------
    points
        Of all atoms, structure after structure, float32 (a, c).
    n_atoms
        Atoms of each structure (s,).
    """

    points: np.ndarray
    n_atoms: np.ndarray

    def means(self) -> np.ndarray:
        """Return the mean environment of each structure (s, c)."""
        if not len(self.n_atoms):
            return np.empty((0, self.points.shape[1]))
        starts = np.concatenate([[0], np.cumsum(self.n_atoms)[:-1]])
        means: np.ndarray = np.add.reduceat(self.points, starts, axis=0) / self.n_atoms[:, None]
        return means


def fit_environments(trajectories: Sequence[Trajectory], species: Sequence[int], settings: SoapSettings) -> Projection:
    """Find the principal components of the environments from a sample of all finite frames.

    They depend on what was explored alone, not on what a selection passes over: the same serve every selection.

    Raises
    ------
    AutopipeError
        If there is no finite frame.
    """
    pool = collect_frames(trajectories)
    if not len(pool):
        raise AutopipeError('there is no frame with finite numbers to describe')
    n_frames = max(1, min(len(pool), N_SAMPLE * len(pool) // int(pool.n_atoms().sum())))
    sample = pool.subset(np.linspace(0, len(pool) - 1, n_frames).astype(np.int64))
    projection = fit_projection(np.concatenate(list(describe_environments(sample.structures(), species, settings))))
    # What is left out when so many are kept: none, one, two …
    left_out = np.cumsum(projection.variances[::-1])[::-1]
    enough = int((left_out > (0.1 * ALIKE) ** 2).sum())
    return projection.keep(min(enough, MAX_COMPONENTS))


def project_environments(
    structures: Iterable[Atoms], species: Sequence[int], settings: SoapSettings, projection: Projection
) -> Iterator[np.ndarray]:
    """Yield the environments of each structure in the components, float32 (n_atoms, c)."""
    for described in describe_environments(structures, species, settings):
        yield projection.apply(described)


def report_environments(settings: SoapSettings, species: Sequence[int], projection: Projection) -> dict[str, Any]:
    """Return how long the descriptor is and how many components stand for it, JSON only."""
    return {
        'compression': choose_compression(settings, len(species)),
        'n_features': len(projection.mean),
        'n_components': projection.directions.shape[1],
        'explained_variance': projection.explained,
    }


def environments_of_pool(pool: FramePool, settings: SoapSettings) -> tuple[Environments, Environments, dict[str, Any]]:
    """Describe the atoms of every candidate.

    Returns
    -------
    candidates, given : Environments
        Of the candidates, and of the structures that count as chosen.
    report : dict
        Elements, compression, length and components of the descriptor.
    """
    sizes = [len(atoms) for atoms in pool.given] + [len(pool.trajectories[t].numbers) for t, _ in pool.counted]
    n_given_atoms = np.array(sizes, dtype=np.int64)
    description = pool.described.get(descriptor_key(settings, 'environments'))
    if description is not None and description.knows_given(pool):
        species, about = list(description.species), description.report
        places = zip(pool.trajectory_indices, pool.frame_indices, strict=True)
        points = _gather(pool, description, places)
        given = [] if description.given is None else [description.given]
        given.extend(_gather(pool, description, pool.counted))
    else:
        species = pool.species
        projection = fit_environments(pool.trajectories, species, settings)
        about = report_environments(settings, species, projection)
        points = project_environments(pool.structures(), species, settings, projection)
        given = list(project_environments(pool.given_structures(), species, settings, projection))
    candidates = np.concatenate(list(points))
    none = np.empty((0, candidates.shape[1]), dtype=np.float32)
    report = {'kind': settings.kind, 'species': species, **about}
    return (
        Environments(candidates, pool.n_atoms()),
        Environments(np.concatenate([none, *given]), n_given_atoms),
        report,
    )


def _gather(pool: FramePool, description: Description, places: Iterable[Sequence[int]]) -> Iterator[np.ndarray]:
    """Yield the environments of some frames, by their trajectories and their places in these."""
    for trajectory, frame in places:
        n_atoms = len(pool.trajectories[trajectory].numbers)
        yield description.features[trajectory][frame * n_atoms : (frame + 1) * n_atoms]
