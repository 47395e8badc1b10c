"""Principal components: the few directions in which descriptors differ."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Projection:
    """Directions of largest variance.

    Attributes
    ----------
    mean
        The centre (d,).
    directions
        One direction a column, the largest variance first (d, c).
    variances
        Variance along each of all directions, not only those kept (d,).
    """

    mean: np.ndarray
    directions: np.ndarray
    variances: np.ndarray

    @property
    def explained(self) -> float:
        """Share of the variance that the directions kept explain."""
        total = float(self.variances.sum())
        return float(self.variances[: self.directions.shape[1]].sum()) / total if total > 0 else 1.0

    def keep(self, n_directions: int) -> Projection:
        """Return the projection on the first directions only, at least one."""
        return Projection(self.mean, self.directions[:, : max(n_directions, 1)], self.variances)

    def apply(self, points: np.ndarray) -> np.ndarray:
        """Return the coordinates of points (m, d) along the directions, float32 (m, c)."""
        projected: np.ndarray = (points - self.mean) @ self.directions
        return projected


def fit_projection(points: np.ndarray) -> Projection:
    """Find all principal components of points (m, d)."""
    mean = points.mean(axis=0, dtype=np.float64)
    centred = points - mean.astype(np.float32)
    covariance = (centred.T @ centred).astype(np.float64) / len(points)
    variances, directions = np.linalg.eigh(covariance)
    return Projection(
        mean.astype(np.float32),
        np.ascontiguousarray(directions[:, ::-1], dtype=np.float32),
        np.maximum(variances[::-1], 0.0),
    )
