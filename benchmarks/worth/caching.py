"""Caches for descriptors and PCAs, which the repeats of `compare.py` would compute several times."""

import hashlib
from typing import ClassVar

import numpy as np

from aiida_mlip_autopipe.descriptors import environments
from aiida_mlip_autopipe.descriptors.soap import settings as soap
from aiida_mlip_autopipe.sampling import environment_clusters
from aiida_mlip_autopipe.sampling.samplers import direct


class CachedDescriptor:
    """A descriptor with a cache, because all repeats choose from the same frames."""

    known: ClassVar = {}

    def __init__(self, inner):
        self.inner = inner

    def average(self, atoms):
        """Return the mean of the features over the atoms."""
        return self._cached(self.inner.average, atoms)

    def environments(self, atoms, centres=None):
        """Return the features of the atoms with the given indices, by default of all atoms."""
        if centres is not None:
            return self.inner.environments(atoms, centres)
        return self._cached(self.inner.environments, atoms)

    def _cached(self, describe, atoms):
        shape = (describe.__name__, tuple(self.inner.species))
        key = (*shape, atoms.positions.tobytes(), atoms.numbers.tobytes(), atoms.cell.array.tobytes())
        if key not in self.known:
            self.known[key] = describe(atoms).astype(np.float32)
        return self.known[key]


def cache_repeated_results():
    """Make the samplers cache descriptors, centres of environment clusters and principal components."""
    make, choose, fit_once = soap._make_soap, environment_clusters.farthest_points, environments.fit_pca
    orders, pcas = {}, {}

    def farthest_points(points, n_points, *, tolerance):
        key = hashlib.sha256(points.tobytes()).digest()
        if key not in orders or len(orders[key][0]) < n_points < len(points):
            orders[key] = choose(points, n_points, tolerance=tolerance)
        indices, distances, nearest = orders[key]
        # A smaller choice is the beginning of a larger one. The next point of the larger one is the farthest from it.
        if len(indices) > n_points:
            nearest = distances[n_points : n_points + 1]
        return indices[:n_points], distances[:n_points], nearest

    def fit_pca(points):
        key = hashlib.sha256(points.tobytes()).digest()
        if key not in pcas:
            pcas[key] = fit_once(points)
        return pcas[key]

    soap._make_soap = lambda settings, species: CachedDescriptor(make(settings, species))
    environment_clusters.farthest_points = farthest_points
    environments.fit_pca = direct.fit_pca = fit_pca
