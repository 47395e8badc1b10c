"""Farthest-point selection: always the point that is farthest from all chosen so far."""

from __future__ import annotations

import numpy as np

# Squared distances that agree to this share of the largest squared norm are tied: float64 resolves no more.
TIE = 1e-12
# Rows measured at a time, so that a block stays in the cache.
BLOCK = 256


def farthest_points(
    points: np.ndarray, n_points: int, *, tolerance: float = 0.0, given: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Choose points by the greedy 2-approximation of the k-centre problem.

    Gonzalez, Theoretical Computer Science 38, 293 (1985). Distances of all points are updated in float32 with an
    error that is bounded; every point that may be the farthest within this error is measured again in float64. The
    choice is therefore that of exact arithmetic, whatever the number of threads.

    Parameters
    ----------
    points
        One point a row (m, d).
    n_points
        How many to choose at most.
    tolerance
        Stop when no point is farther than this from those chosen.
    given
        Points that count as chosen before the first (g, d). Without them the first is the one nearest to the mean
        of all points, and its distance is NaN. Of points that are tied the first in order is taken.

    Returns
    -------
    indices : numpy.ndarray
        The points chosen (k,), in order.
    distances : numpy.ndarray
        Distance of each to those chosen before it (k,); it never grows.
    nearest : numpy.ndarray
        Distance of every point to the nearest chosen or given one (m,), good to 0.1 %.
    """
    if not len(points):
        return np.empty(0, dtype=np.int64), np.empty(0), np.empty(0)
    search = _Search(points, n_points, given)
    indices: list[int] = []
    distances: list[float] = []
    while len(indices) < min(n_points, len(points)):
        if search.n_chosen:
            index, distance = search.farthest()
            if distance <= tolerance:
                break
        else:
            index, distance = search.most_central(), np.nan
        search.choose(index)
        indices.append(index)
        distances.append(distance)
    return np.array(indices, dtype=np.int64), np.array(distances), search.nearest()


class _Search:
    """The state of one selection: squared distances of all points to the nearest chosen one, and how far to trust them.

    Parameters
    ----------
    points, n_points, given
        See `farthest_points`.
    """

    def __init__(self, points: np.ndarray, n_points: int, given: np.ndarray | None):
        self.points = np.asarray(points, dtype=np.float32)
        # Around the mean the numbers are smaller, and so is what rounding takes off their differences.
        self.mean = self.points.mean(axis=0, dtype=np.float64)
        self.centred = self.points - self.mean.astype(np.float32)
        self.norms = np.einsum('ij,ij->i', self.centred, self.centred)
        start = np.empty((0, points.shape[1]), np.float32) if given is None else np.asarray(given, dtype=np.float32)
        start_centred = start - self.mean.astype(np.float32)
        start_norms = np.einsum('ij,ij->i', start_centred, start_centred)
        largest = max(float(self.norms.max(initial=0.0)), float(start_norms.max(initial=0.0)))
        # Three sums of d products, one of them doubled, each off by less than sqrt(d) roundings, and those of centring.
        self.error = 4.0 * np.finfo(np.float32).eps * (np.sqrt(points.shape[1]) + 4.0) * largest
        self.tie = TIE * largest
        self.squared = np.full(len(points), np.inf)
        self.exact = np.zeros(len(points), dtype=bool)
        self.chosen = np.empty((len(start) + min(n_points, len(points)), points.shape[1]))
        self.chosen[: len(start)] = start - self.mean
        self.n_chosen = len(start)
        for begin in range(0, len(start), BLOCK):
            block = slice(begin, begin + BLOCK)
            squared = self.norms[:, None] + start_norms[block] - 2.0 * (self.centred @ start_centred[block].T)
            np.minimum(self.squared, squared.min(axis=1), out=self.squared)

    def most_central(self) -> int:
        """Return the point nearest to the mean."""
        return int(np.flatnonzero(self.norms <= self.norms.min() + self.error)[0])

    def farthest(self) -> tuple[int, float]:
        """Return the point farthest from those chosen, and its distance."""
        candidates = np.flatnonzero(self.squared >= self.squared.max() - 2.0 * self.error)
        self._measure(candidates[~self.exact[candidates]])
        squared = self.squared[candidates]
        largest = squared.max()
        index = int(candidates[np.flatnonzero(squared >= largest - self.tie)[0]])
        return index, float(np.sqrt(max(self.squared[index], 0.0)))

    def choose(self, index: int) -> None:
        """Take a point."""
        self.chosen[self.n_chosen] = self.points[index] - self.mean
        self.n_chosen += 1
        squared = self.norms + self.norms[index] - 2.0 * (self.centred @ self.centred[index])
        # A measured distance stays measured only where the new point is farther beyond doubt.
        self.exact &= squared > self.squared + self.error
        np.minimum(self.squared, squared, out=self.squared)
        self.squared[index] = 0.0
        self.exact[index] = True

    def nearest(self) -> np.ndarray:
        """Return the distances of all points to the nearest chosen one, good to 0.1 %."""
        self._measure(np.flatnonzero(~self.exact & (self.squared < 500.0 * self.error)))
        distances: np.ndarray = np.sqrt(np.maximum(self.squared, 0.0))
        return distances

    def _measure(self, rows: np.ndarray) -> None:
        chosen = self.chosen[: self.n_chosen]
        norms = np.einsum('ij,ij->i', chosen, chosen)
        for begin in range(0, len(rows), BLOCK):
            block = rows[begin : begin + BLOCK]
            points = self.points[block] - self.mean
            squared = np.einsum('ij,ij->i', points, points)[:, None] + norms - 2.0 * (points @ chosen.T)
            self.squared[block] = squared.min(axis=1)
            self.exact[block] = True
