r"""How many labels are needed to reach a target, estimated from models trained on a part of the labels.

Learning curves of potentials are close to power laws, :math:`e(n) = a\,n^{-b}`. With a quarter, half and all of the
labels there are three points for two parameters, each with the noise of a training run (order of the data, random
seed) and of a finite test set. A least-squares line would extrapolate this noise, so the estimate is Bayesian: the
prior on :math:`b` is a normal distribution that covers the exponents of published learning curves, the points have a
relative noise with its own prior, and all parameters are drawn from their posterior distribution.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from aiida_mlip_autopipe.core.randomness import make_rng

EXPONENT = (0.35, 0.2)
"""Mean and standard deviation of the prior of the exponent: between 0.1 and 0.7 for most potentials and materials."""
MIN_EXPONENT = 0.02
"""Smaller exponents count as this one: more labels then hardly help."""
NOISE = (0.03, 0.30)
"""Range of the relative noise of an error, with a prior that is uniform in its logarithm."""
INTERVAL = 0.8
MAX_LABELS = 1e7
"""Larger numbers are reported as this one."""
N_GRID = 241
N_SAMPLES = 4000


@dataclass(frozen=True)
class LabelEstimate:
    """Number of labels at which the error is expected to reach the target.

    Attributes
    ----------
    median
        The number is as likely to be above as below this value.
    low, high
        Ends of the interval that contains it with a probability of 80 %.
    exponent
        Median of the exponent :math:`b`.
    """

    median: float
    low: float
    high: float
    exponent: float


def estimate_labels(
    n_labels: Sequence[float], errors: Sequence[float], target: float, random_seed: int
) -> LabelEstimate:
    """Estimate how many labels are needed to reach the target.

    Parameters
    ----------
    n_labels
        Numbers of training labels, such as a quarter, half and all of them.
    errors
        Error of each model on the same test set, in any unit.
    target
        The error to reach, in the same unit.
    random_seed
        The random seed of the campaign.

    Returns
    -------
    LabelEstimate
        The estimate includes the noise of a training run, because the error of the next model will include it, too.

    Raises
    ------
    ValueError
        If there are fewer than two different numbers, or a value is not positive and finite.
    """
    numbers, values = np.asarray(n_labels, dtype=float), np.asarray(errors, dtype=float)
    if numbers.shape != values.shape or len(set(numbers)) < 2:
        raise ValueError('an estimate needs at least two different numbers of labels, each with an error')
    if not (np.isfinite([*numbers, *values, target]).all() and min(*numbers, *values, target) > 0):
        raise ValueError('numbers of labels, errors and the target must be positive and finite')
    # With the origin at the largest number, the offset and the exponent hardly depend on each other.
    x, y = np.log(numbers / numbers.max()), np.log(values)
    rng = make_rng(random_seed, 'label estimate')
    exponents, noises, offsets = _draw_posterior(x, y, rng)
    reached = (offsets + noises * rng.standard_normal(N_SAMPLES) - np.log(target)) / exponents
    estimates = np.minimum(numbers.max() * np.exp(np.minimum(reached, 50.0)), MAX_LABELS)
    low, median, high = np.quantile(estimates, [(1 - INTERVAL) / 2, 0.5, (1 + INTERVAL) / 2])
    return LabelEstimate(float(median), float(low), float(high), float(np.median(exponents)))


def _draw_posterior(
    x: np.ndarray, y: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw exponents, noises and offsets, each (samples,). The prior of the offset is uniform.

    For a given exponent and noise, the offset has a normal distribution, and its integral is known.
    """
    exponents = np.linspace(MIN_EXPONENT, EXPONENT[0] + 5 * EXPONENT[1], N_GRID)[:, None]
    noises = np.geomspace(*NOISE, N_GRID)[None, :]
    residuals = y[None, :] + exponents * x[None, :]
    offsets = residuals.mean(axis=1)
    squares = ((residuals - offsets[:, None]) ** 2).sum(axis=1)[:, None]
    logarithm = -0.5 * squares / noises**2 - (len(x) - 1) * np.log(noises)
    logarithm -= 0.5 * ((exponents - EXPONENT[0]) / EXPONENT[1]) ** 2
    weights = np.exp(logarithm - logarithm.max()).ravel()
    chosen = rng.choice(weights.size, N_SAMPLES, p=weights / weights.sum())
    row, column = np.unravel_index(chosen, logarithm.shape)
    drawn_noises = noises[0, column]
    drawn_offsets = offsets[row] + drawn_noises / np.sqrt(len(x)) * rng.standard_normal(N_SAMPLES)
    return exponents[row, 0], drawn_noises, drawn_offsets
