"""The environments of all atoms, in a few principal components."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from ase import Atoms

from aiida_mlip_autopipe.descriptors.projection import Projection, fit_projection
from aiida_mlip_autopipe.descriptors.soap.settings import SoapSettings, choose_compression, describe_environments

# Principal components that are kept at most.
MAX_COMPONENTS = 64
# Environments that are not farther apart than this are the same kind. Components are kept until the others are well
# below it: a share of the variance would not do, since elements differ by so much more than what moves atoms.
ALIKE = 1e-4


def fit_components(structures: Iterable[Atoms], species: Sequence[int], settings: SoapSettings) -> Projection:
    """Find the principal components of the environments of some structures, as many as distinguish them."""
    projection = fit_projection(np.concatenate(list(describe_environments(structures, species, settings))))
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
