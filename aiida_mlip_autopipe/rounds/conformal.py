r"""Bounds on the errors of single frames, by split conformal prediction.

A model predicts how uncertain it is about a frame, for example by the disagreement :math:`u` of three models. This is
an indicator, not an error bar. Labels of frames that were drawn at random, and that no model has been trained on, turn
it into a bound: with the scores :math:`s_{ki} = e_{ki} / (u_{ki} + u_0)` of frame :math:`i` of group :math:`k`, where
:math:`e` is the error, the bound of a new frame is :math:`q\,(u + u_0)`.

The frames of a group (those explored from the seeds of one parent) resemble one another, so only groups are
exchangeable. Therefore :math:`q` is the quantile of

.. math:: \sum_{k=1}^{K} \frac{1}{K + 1} \sum_{i=1}^{N_k} \frac{1}{N_k} \delta(s_{ki}) + \frac{1}{K + 1} \delta(\infty),

in which each group has the same weight. For a frame of a new group that is exchangeable with the others, the error is
below the bound with at least the requested probability, whatever :math:`u` is [1]. The bound is infinite if there are
fewer than :math:`p / (1 - p)` groups for the probability :math:`p`: 9 groups for 90 %.

[1] Y. Lee, R. F. Barber and R. Willett, Distribution-free inference with hierarchical data, arXiv:2306.06342.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

COVERAGE = 0.9
"""Fraction of frames whose error is below the bound."""
MIN_OF_KIND = 20
"""A kind with at least this many calibration frames has a separate quantile."""


def conformal_quantile(scores: np.ndarray, groups: Sequence[str], coverage: float = COVERAGE) -> float:
    """Return the quantile of scores that bounds a frame of a new group.

    Parameters
    ----------
    scores
        Scores (f,) of the calibration frames.
    groups
        Group of each frame.
    coverage
        Fraction of frames whose score is at most the quantile.

    Returns
    -------
    float
        Infinite if there are too few groups.
    """
    names, of_frame, counts = np.unique(np.asarray(groups), return_inverse=True, return_counts=True)
    weights = 1.0 / (counts[of_frame] * (len(names) + 1.0))
    order = np.argsort(scores, kind='stable')
    total = np.cumsum(weights[order])
    # Rounding errors must not exclude the score at which the sum is exactly the coverage.
    reached = np.flatnonzero(total >= coverage - 1e-12)
    return float(np.asarray(scores)[order][reached[0]]) if len(reached) else float('inf')


@dataclass(frozen=True)
class ErrorBounds:
    """Calibrated bounds on the errors of frames.

    Attributes
    ----------
    floor
        The constant :math:`u_0` in the unit of the errors. Without it, a frame on which the models agree by symmetry
        would have a bound of zero.
    pooled
        The quantile of all calibration frames.
    of_kind
        The quantiles of the kinds with enough calibration frames.
    coverage
        The fraction of frames whose errors are below their bounds.
    n_scores, n_groups
        Number of calibration frames, and of their groups.
    """

    floor: float
    pooled: float
    of_kind: dict[str, float] = field(default_factory=dict)
    coverage: float = COVERAGE
    n_scores: int = 0
    n_groups: int = 0

    def bound(self, uncertainties: np.ndarray, kinds: Sequence[str]) -> np.ndarray:
        """Return the bounds (f,) on the errors of frames, in their unit.

        Parameters
        ----------
        uncertainties
            Uncertainty (f,) that the model predicts for each frame, in the same unit as the calibration.
        kinds
            Kind of the seed of each frame.
        """
        quantiles = np.array([self.of_kind.get(kind, self.pooled) for kind in kinds])
        return quantiles * (np.asarray(uncertainties) + self.floor)


def calibrate(
    errors: np.ndarray,
    uncertainties: np.ndarray,
    groups: Sequence[str],
    kinds: Sequence[str],
    *,
    coverage: float = COVERAGE,
    min_of_kind: int = MIN_OF_KIND,
) -> ErrorBounds:
    """Calibrate error bounds with frames that were drawn at random and not trained on.

    Parameters
    ----------
    errors
        Errors (f,) of one quantity, one for each frame: the root mean square over the force components of the frame in
        eV/Å, that over the stress components in GPa, or the absolute error of the energy per atom in eV.
    uncertainties
        Uncertainty (f,) that the model predicts for each frame, in the same unit.
    groups
        Group of the seed from which each frame was explored.
    kinds
        Kind of this seed. All frames of a group have the same kind.
    coverage
        Fraction of frames whose errors should be below their bounds.
    min_of_kind
        A kind with at least this many frames has a separate quantile, unless it has too few groups for a finite one.

    Raises
    ------
    ValueError
        If there are no frames, or an error or uncertainty is negative or not finite.
    """
    errors, uncertainties = np.asarray(errors, dtype=float), np.asarray(uncertainties, dtype=float)
    if not len(errors):
        raise ValueError('a calibration needs at least one frame')
    for values in (errors, uncertainties):
        if not (np.isfinite(values).all() and (values >= 0).all()):
            raise ValueError('errors and uncertainties must be finite and not negative')
    # The median is a typical uncertainty. A far smaller one only says that the error is small, not how small.
    floor = float(np.median(uncertainties)) or float(np.median(errors)) or 1.0
    scores = errors / (uncertainties + floor)
    of_kind = {}
    for kind in sorted(set(kinds)):
        chosen = [index for index, one in enumerate(kinds) if one == kind]
        quantile = conformal_quantile(scores[chosen], [groups[index] for index in chosen], coverage)
        if len(chosen) >= min_of_kind and np.isfinite(quantile):
            of_kind[kind] = quantile
    pooled = conformal_quantile(scores, groups, coverage)
    return ErrorBounds(floor, pooled, of_kind, coverage, len(errors), len(set(groups)))


@dataclass(frozen=True)
class MeasuredCoverage:
    """How often the errors of new random labels were below their bounds.

    Attributes
    ----------
    fraction
        Fraction of the frames of a group whose errors are below their bounds, averaged over the groups.
    standard_error
        Standard error of this mean; NaN for one group.
    n_errors, n_groups
        Number of frames, and of their groups.
    """

    fraction: float
    standard_error: float
    n_errors: int
    n_groups: int


def measure_coverage(errors: np.ndarray, bounds: np.ndarray, groups: Sequence[str]) -> MeasuredCoverage:
    """Return the fraction of frames whose errors (f,) are at most their bounds (f,); each group has the same weight."""
    below = np.asarray(errors) <= np.asarray(bounds)
    names, of_frame, counts = np.unique(np.asarray(groups), return_inverse=True, return_counts=True)
    fractions = np.bincount(of_frame, weights=below) / counts
    n_groups = len(names)
    spread = float(fractions.std(ddof=1) / np.sqrt(n_groups)) if n_groups > 1 else float('nan')
    return MeasuredCoverage(float(fractions.mean()), spread, len(below), n_groups)
