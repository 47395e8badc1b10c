"""PCA of the environments of all atoms."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from ase import Atoms

from aiida_mlip_autopipe.descriptors.projection import Projection, fit_projection
from aiida_mlip_autopipe.descriptors.soap.settings import SoapSettings, choose_compression, describe_environments

# Maximum number of principal components.
MAX_COMPONENTS = 64
# Environments within this distance belong to the same cluster. The PCA has enough components if the distances along the
# other components are well below it. A fraction of the variance is not a suitable criterion, because the differences
# between elements are much larger than those due to displacements of atoms.
ALIKE = 1e-4


def fit_components(structures: Iterable[Atoms], species: Sequence[int], settings: SoapSettings) -> Projection:
    """Return the PCA of the environments of some structures, with enough components to distinguish them."""
    projection = fit_projection(np.concatenate(list(describe_environments(structures, species, settings))))
    # The variance that is lost with 0, 1, 2, … components.
    lost = np.cumsum(projection.variances[::-1])[::-1]
    enough = int((lost > (0.1 * ALIKE) ** 2).sum())
    return projection.keep(min(enough, MAX_COMPONENTS))


def project_environments(
    structures: Iterable[Atoms], species: Sequence[int], settings: SoapSettings, projection: Projection
) -> Iterator[np.ndarray]:
    """Yield the principal components of the environments in each structure, float32 (n_atoms, c)."""
    for described in describe_environments(structures, species, settings):
        yield projection.apply(described)


def report_environments(settings: SoapSettings, species: Sequence[int], projection: Projection) -> dict[str, Any]:
    """Return the length of the descriptor and the number of its components, as valid JSON."""
    return {
        'compression': choose_compression(settings, len(species)),
        'n_features': len(projection.mean),
        'n_components': projection.directions.shape[1],
        'explained_variance': projection.explained,
    }
