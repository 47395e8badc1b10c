"""Principal component analysis (PCA) of descriptors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from aiida_mlip_autopipe.core.threads import one_thread


@dataclass(frozen=True, eq=False)
class PCA:
    """The result of a PCA.

    Attributes
    ----------
    mean
        The mean of the points (d,).
    directions
        The directions, one in each column, in descending order of the variance (d, c).
    variances
        The variances along all directions, including omitted ones (d,).
    """

    mean: np.ndarray
    directions: np.ndarray
    variances: np.ndarray

    @property
    def explained(self) -> float:
        """Fraction of the variance that the directions explain."""
        total = float(self.variances.sum())
        return float(self.variances[: self.directions.shape[1]].sum()) / total if total > 0 else 1.0

    def keep(self, n_directions: int) -> PCA:
        """Return the PCA with only the first directions, at least one."""
        return PCA(self.mean, self.directions[:, : max(n_directions, 1)], self.variances)

    @one_thread()
    def apply(self, points: np.ndarray) -> np.ndarray:
        """Return the coordinates of points (m, d) along the directions, float32 (m, c)."""
        projected: np.ndarray = (points - self.mean) @ self.directions
        return projected


@one_thread()
def fit_pca(points: np.ndarray) -> PCA:
    """Return the PCA of points (m, d) with all components."""
    mean = points.mean(axis=0, dtype=np.float64)
    centred = points - mean.astype(np.float32)
    covariance = (centred.T @ centred).astype(np.float64) / len(points)
    variances, directions = np.linalg.eigh(covariance)
    return PCA(
        mean.astype(np.float32),
        np.ascontiguousarray(directions[:, ::-1], dtype=np.float32),
        np.maximum(variances[::-1], 0.0),
    )
