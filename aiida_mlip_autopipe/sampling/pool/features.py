"""Descriptors of the candidates of a pool and of the structures that already count as chosen."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np


@dataclass(frozen=True, eq=False)
class Points:
    """Descriptors of some structures, with one or several points for each structure.

    Attributes
    ----------
    points
        The points of all structures, in the order of the structures, float32 (p, d).
    n_points
        Number of points of each structure (s,): one, or its number of atoms.
    """

    points: np.ndarray
    n_points: np.ndarray

    def __len__(self) -> int:
        return len(self.n_points)

    def take(self, structures: np.ndarray) -> Points:
        """Return the points of some structures by index. If these are all structures in order, nothing is copied."""
        if np.array_equal(structures, np.arange(len(self))):
            return self
        n_points = self.n_points[structures]
        shifts = _starts(self.n_points)[structures] - _starts(n_points)
        return Points(self.points[np.arange(n_points.sum()) + np.repeat(shifts, n_points)], n_points)

    def join(self, others: Points) -> Points:
        """Return these points followed by others. They are not copied if there are no others."""
        if not len(others):
            return self
        return Points(np.concatenate([self.points, others.points]), np.concatenate([self.n_points, others.n_points]))

    def means(self) -> np.ndarray:
        """Return the mean point of each structure (s, d)."""
        if not len(self):
            return np.empty((0, self.points.shape[1]))
        means: np.ndarray = np.add.reduceat(self.points, _starts(self.n_points), axis=0) / self.n_points[:, None]
        return means


@dataclass(frozen=True, eq=False)
class Features:
    """The descriptors of a pool. The subsets of a pool share one array of points.

    Attributes
    ----------
    described
        Points of all candidates of the original pool.
    reference
        Points of the structures that counted as chosen in the original pool.
    report
        Kind, elements, compression and length of the descriptor, as JSON.
    candidate_places
        Indices in ``described`` of the candidates of this pool (m,).
    counted_places
        Indices in ``described`` of the candidates that count as chosen only in this pool (c,).
    """

    described: Points
    reference: Points
    report: dict[str, Any]
    candidate_places: np.ndarray
    counted_places: np.ndarray

    @classmethod
    def of_all(cls, described: Points, reference: Points, report: dict[str, Any]) -> Features:
        """Return the features of an original pool."""
        return cls(described, reference, report, np.arange(len(described)), np.empty(0, dtype=np.int64))

    @property
    def candidates(self) -> Points:
        """Points of the candidates, in the order of the pool."""
        return self.described.take(self.candidate_places)

    @property
    def chosen(self) -> Points:
        """Points of all structures that count as chosen: the reference dataset, followed by the frames."""
        return self.reference.join(self.described.take(self.counted_places))

    def subset(self, indices: np.ndarray, counted: np.ndarray) -> Features:
        """Return the features of some candidates. Those in ``counted`` also count as chosen."""
        return replace(
            self,
            candidate_places=self.candidate_places[indices],
            counted_places=np.concatenate([self.counted_places, self.candidate_places[counted]]),
        )


def _starts(counts: np.ndarray) -> np.ndarray:
    starts: np.ndarray = np.cumsum(counts) - counts
    return starts
