"""Farthest point sampling, which repeatedly chooses the point that is farthest from all chosen points."""

from __future__ import annotations

import numpy as np

# Squared distances count as equal if they differ by less than this fraction of the largest squared norm. This
# allows for rounding errors of float64.
TIE = 1e-12
# Number of rows processed at a time, so that a block fits into the cache.
BLOCK = 256


def farthest_points(
    points: np.ndarray, n_points: int, *, tolerance: float = 0.0, already_chosen: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Choose points by the greedy 2-approximation of the k-centre problem.

    The algorithm is that of Gonzalez, Theoretical Computer Science 38, 293 (1985). The distances of all points are
    updated in float32 with a bounded error. For all points that may be the farthest within this error, the distances
    are computed again in float64. The choice is therefore the same as in exact arithmetic, for any number of threads.

    Parameters
    ----------
    points
        The points, one in each row (m, d).
    n_points
        The maximum number of points to choose.
    tolerance
        The search stops when no point is farther than this from the chosen points.
    already_chosen
        Points that already count as chosen (g, d). Without them, the first chosen point is the one nearest to the mean
        of all points, and its distance is NaN. Of several equally distant points, the one with the lowest index is
        chosen.

    Returns
    -------
    indices : numpy.ndarray
        The indices of the chosen points (k,), in the order in which they were chosen.
    distances : numpy.ndarray
        Distance of each chosen point to those chosen before it (k,), in descending order.
    nearest : numpy.ndarray
        Distance of each point to the nearest point that counts as chosen (m,), with an error below 0.1 %.
    """
    if not len(points):
        return np.empty(0, dtype=np.int64), np.empty(0), np.empty(0)
    search = _Search(points, n_points, already_chosen)
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
    """The state of a selection: the squared distance of each point to the nearest chosen point, and its error.

    Parameters
    ----------
    points, n_points, already_chosen
        See `farthest_points`.
    """

    def __init__(self, points: np.ndarray, n_points: int, already_chosen: np.ndarray | None):
        self.points = np.asarray(points, dtype=np.float32)
        # Coordinates relative to the mean are smaller, so the rounding errors of their differences are smaller, too.
        self.mean = self.points.mean(axis=0, dtype=np.float64)
        self.centred = self.points - self.mean.astype(np.float32)
        self.norms = np.einsum('ij,ij->i', self.centred, self.centred)
        start = (
            np.empty((0, points.shape[1]), np.float32)
            if already_chosen is None
            else np.asarray(already_chosen, dtype=np.float32)
        )
        start_centred = start - self.mean.astype(np.float32)
        start_norms = np.einsum('ij,ij->i', start_centred, start_centred)
        largest = max(float(self.norms.max(initial=0.0)), float(start_norms.max(initial=0.0)))
        # There are three sums of d products, one of them doubled. The error of a sum is below sqrt(d) rounding errors.
        # Centring adds further rounding errors.
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
        """Return the index of the point nearest to the mean."""
        return int(np.flatnonzero(self.norms <= self.norms.min() + self.error)[0])

    def farthest(self) -> tuple[int, float]:
        """Return the index of the point farthest from the chosen points, and its distance."""
        candidates = np.flatnonzero(self.squared >= self.squared.max() - 2.0 * self.error)
        self._compute_exactly(candidates[~self.exact[candidates]])
        squared = self.squared[candidates]
        largest = squared.max()
        index = int(candidates[np.flatnonzero(squared >= largest - self.tie)[0]])
        return index, float(np.sqrt(max(self.squared[index], 0.0)))

    def choose(self, index: int) -> None:
        """Add a point to the chosen ones, and update the distances."""
        self.chosen[self.n_chosen] = self.points[index] - self.mean
        self.n_chosen += 1
        squared = self.norms + self.norms[index] - 2.0 * (self.centred @ self.centred[index])
        # An exact distance remains exact only if the new point is definitely farther away.
        self.exact &= squared > self.squared + self.error
        np.minimum(self.squared, squared, out=self.squared)
        self.squared[index] = 0.0
        self.exact[index] = True

    def nearest(self) -> np.ndarray:
        """Return the distance of each point to the nearest chosen point, with an error below 0.1 %."""
        self._compute_exactly(np.flatnonzero(~self.exact & (self.squared < 500.0 * self.error)))
        distances: np.ndarray = np.sqrt(np.maximum(self.squared, 0.0))
        return distances

    def _compute_exactly(self, rows: np.ndarray) -> None:
        chosen = self.chosen[: self.n_chosen]
        norms = np.einsum('ij,ij->i', chosen, chosen)
        for begin in range(0, len(rows), BLOCK):
            block = rows[begin : begin + BLOCK]
            points = self.points[block] - self.mean
            squared = np.einsum('ij,ij->i', points, points)[:, None] + norms - 2.0 * (points @ chosen.T)
            self.squared[block] = squared.min(axis=1)
            self.exact[block] = True
