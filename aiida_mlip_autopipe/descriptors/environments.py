"""PCA of the environments of all atoms."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from ase import Atoms

from aiida_mlip_autopipe.descriptors.pca import PCA, fit_pca
from aiida_mlip_autopipe.descriptors.soap.settings import SoapSettings, choose_compression, describe_environments

# The PCA has at least this many components, and more if the omitted ones would contain more than this fraction of the
# variance. A fraction alone is not sufficient, because the variance within a group of similar structures may be much
# smaller than that between elements.
MIN_COMPONENTS, LOST_FRACTION = 128, 1e-5
# Environments within this distance belong to the same cluster. Components that change distances by much less than this
# contain only rounding errors and are always omitted.
ALIKE = 1e-4


def fit_components(structures: Iterable[Atoms], species: Sequence[int], settings: SoapSettings) -> PCA:
    """Return the PCA of the environments in some structures, with enough components to distinguish them."""
    pca = fit_pca(np.concatenate(list(describe_environments(structures, species, settings))))
    # The variance that is lost with 0, 1, 2, … components.
    lost_variances = np.cumsum(pca.variances[::-1])[::-1]
    n_above_rounding = int((lost_variances > (0.1 * ALIKE) ** 2).sum())
    n_for_fraction = int((lost_variances > LOST_FRACTION * lost_variances[0]).sum())
    return pca.keep(min(n_above_rounding, max(n_for_fraction, MIN_COMPONENTS)))


def project_environments(
    structures: Iterable[Atoms], species: Sequence[int], settings: SoapSettings, pca: PCA
) -> Iterator[np.ndarray]:
    """Yield the principal components of the environments in each structure, float32 (n_atoms, c)."""
    for described in describe_environments(structures, species, settings):
        yield pca.apply(described)


def report_environments(settings: SoapSettings, species: Sequence[int], pca: PCA) -> dict[str, Any]:
    """Return the length of the descriptor and the number of its components, as JSON."""
    return {
        'compression': choose_compression(settings, len(species)),
        'n_features': len(pca.mean),
        'n_components': pca.directions.shape[1],
        'explained_variance': pca.explained,
    }
