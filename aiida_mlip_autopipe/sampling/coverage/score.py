"""How much of what the candidates span a selection covers: the coverage score of DIRECT, and a target for it."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from aiida_mlip_autopipe.core.settings import Settings
from aiida_mlip_autopipe.descriptors.describe import AnyDescriptor
from aiida_mlip_autopipe.descriptors.soap.settings import SoapSettings

# Bins of each principal component, and how many components.
N_BINS, N_COMPONENTS = 50, 10
# Where descriptors differ by no more than this along a component, as those of one structure do, it tells nothing.
ALIKE = 1e-4


class CoverageTarget(Settings):
    """When a selection is large enough."""

    score: float = Field(gt=0, le=1)
    """The coverage score to reach: occupied bins of the selection over those of all candidates, mean over principal
    components (Qi et al., npj Comput. Mater. 10, 43, 2024)."""
    descriptor: AnyDescriptor = SoapSettings()
    """What the score is measured in, whatever the sampler measures in."""


class CoverageScore:
    """Measure selections against the candidates: occupied bins over those of all, mean over principal components.

    Parameters
    ----------
    components
        The candidates' coordinates along the principal components of their descriptors (m, c), as many as shall count.
    """

    def __init__(self, components: np.ndarray):
        self._lowest, self._highest = components.min(axis=0), components.max(axis=0)
        self._counts = self._highest - self._lowest > ALIKE
        self._all = self._occupied(components)

    def of(self, components: np.ndarray) -> float:
        """Return the score of some structures (k, c), from 0 to 1; those beyond the candidates do not count."""
        if not self._counts.any():
            return 1.0 if len(components) else 0.0
        shares = (self._occupied(components) & self._all).sum(axis=1) / self._all.sum(axis=1)
        return float(shares[self._counts].mean())

    def _occupied(self, components: np.ndarray) -> np.ndarray:
        """Return which bins of each component hold a structure (c, b)."""
        # In one precision, whatever the points come in: an edge must be on the same side for all.
        width = np.maximum(self._highest - self._lowest, ALIKE).astype(np.float64)
        places = (components.astype(np.float64) - self._lowest) / width * N_BINS
        bins = np.clip(places, 0, N_BINS - 1).astype(np.int64)
        rows, columns = np.nonzero((components >= self._lowest) & (components <= self._highest))
        occupied = np.zeros((components.shape[1], N_BINS), dtype=bool)
        occupied[columns, bins[rows, columns]] = True
        return occupied
