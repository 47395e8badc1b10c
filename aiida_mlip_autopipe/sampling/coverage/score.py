"""The coverage score of DIRECT, and a target for this score."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from aiida_mlip_autopipe.core.settings import Settings
from aiida_mlip_autopipe.descriptors.describe import AnyDescriptor
from aiida_mlip_autopipe.descriptors.soap.settings import SoapSettings

# Number of bins along each principal component, and number of principal components.
N_BINS, N_COMPONENTS = 50, 10
# Components along which the descriptors vary by no more than this are ignored, because the descriptors of equivalent
# structures vary by as much.
ALIKE = 1e-4


class CoverageTarget(Settings):
    """A coverage score at which the selection is large enough."""

    score: float = Field(gt=0, le=1)
    """The coverage score to reach: the number of bins that the selection occupies, divided by the number of bins that
    all candidates occupy, averaged over the principal components (Qi et al., npj Comput. Mater. 10, 43, 2024)."""
    descriptor: AnyDescriptor = SoapSettings()
    """The descriptor for the score. The sampler may use another one."""


class CoverageScore:
    """Fraction of the bins of the candidates that a selection also occupies, averaged over the principal components.

    Parameters
    ----------
    components
        Coordinates of the candidates along the principal components of their descriptors (m, c).
    """

    def __init__(self, components: np.ndarray):
        self._min, self._max = components.min(axis=0), components.max(axis=0)
        self._varies = self._max - self._min > ALIKE
        self._all = self._occupied(components)

    def of(self, components: np.ndarray) -> float:
        """Return the score of a selection (k, c), from 0 to 1.

        Structures outside the range of the candidates are ignored.
        """
        if not self._varies.any():
            return 1.0 if len(components) else 0.0
        fractions = (self._occupied(components) & self._all).sum(axis=1) / self._all.sum(axis=1)
        return float(fractions[self._varies].mean())

    def _occupied(self, components: np.ndarray) -> np.ndarray:
        """Return which bins of each component contain a structure (c, b)."""
        # Use the same precision for all points, so that a point on the edge of a bin always gets the same bin.
        width = np.maximum(self._max - self._min, ALIKE).astype(np.float64)
        scaled = (components.astype(np.float64) - self._min) / width * N_BINS
        bins = np.clip(scaled, 0, N_BINS - 1).astype(np.int64)
        rows, columns = np.nonzero((components >= self._min) & (components <= self._max))
        occupied = np.zeros((components.shape[1], N_BINS), dtype=bool)
        occupied[columns, bins[rows, columns]] = True
        return occupied
