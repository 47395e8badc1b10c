"""Let the samplers compute once what the repeats of `compare.py` ask for again and again."""

import hashlib
from typing import ClassVar

import numpy as np

from aiida_mlip_autopipe.sampling import direct, environment_kinds, soap


class Remembering:
    """A descriptor that computes every structure once: the repeats choose from the same frames again and again."""

    known: ClassVar = {}

    def __init__(self, inner, average, species):
        self.inner = inner
        self.key = (average, tuple(species))

    def get_number_of_features(self):
        """Return what the descriptor says."""
        return self.inner.get_number_of_features()

    def create(self, systems, n_jobs=1):
        """Describe one structure or several."""
        if not isinstance(systems, list):
            key = (*self.key, systems.positions.tobytes(), systems.numbers.tobytes(), systems.cell.array.tobytes())
            if key not in self.known:
                self.known[key] = self.inner.create(systems).astype(np.float32)
            return self.known[key]
        return np.stack([self.create(atoms) for atoms in systems])


def remember_what_repeats():
    """Let the samplers use `Remembering`, and find centres of environments and principal components once."""
    make, choose, fit_once = soap._make_soap, environment_kinds.farthest_points, environment_kinds.fit_projection
    orders, projections = {}, {}

    def farthest_points(points, n_points, *, tolerance):
        key = hashlib.sha256(points.tobytes()).digest()
        if key not in orders or len(orders[key][0]) < n_points < len(points):
            orders[key] = choose(points, n_points, tolerance=tolerance)
        indices, distances, nearest = orders[key]
        # Fewer points are the first of more, and the next one is then the farthest from all of them.
        if len(indices) > n_points:
            nearest = distances[n_points : n_points + 1]
        return indices[:n_points], distances[:n_points], nearest

    def fit_projection(points):
        key = hashlib.sha256(points.tobytes()).digest()
        if key not in projections:
            projections[key] = fit_once(points)
        return projections[key]

    soap._make_soap = lambda settings, species, average='outer': Remembering(
        make(settings, species, average), average, species
    )
    environment_kinds.farthest_points = farthest_points
    environment_kinds.fit_projection = direct.fit_projection = fit_projection
