"""The smallest selection of a sampler that reaches a coverage target."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from aiida_mlip_autopipe.descriptors.pca import fit_pca
from aiida_mlip_autopipe.sampling.base import Picks
from aiida_mlip_autopipe.sampling.coverage.score import N_COMPONENTS, CoverageScore, CoverageTarget
from aiida_mlip_autopipe.sampling.pool.describe import describe_pool
from aiida_mlip_autopipe.sampling.pool.frames import FramePool


def pick_fewest(pool: FramePool, target: CoverageTarget, pick: Callable[[int], Picks], n_max: int) -> Picks:
    """Find the smallest number of structures with which a sampler reaches a target, by a guess and bisection.

    The returned selection reaches the target, but the sampler's selection with one structure fewer does not. If each
    shorter selection of the sampler is the start of the longer ones, no smaller selection reaches the target.

    Parameters
    ----------
    pool
        The candidates, and the structures that already count as chosen. The latter contribute to the coverage.
    target
        The score to reach.
    pick
        Runs the sampler for the given number of structures.
    n_max
        The maximum number of structures.

    Returns
    -------
    Picks
        At least one structure; the maximum number, with a warning, if the target cannot be reached.
    """
    features = describe_pool(pool, target.descriptor)
    pca = fit_pca(features.candidates.points).keep(N_COMPONENTS)
    components = pca.apply(features.candidates.points)
    covered = pca.apply(features.chosen.points)
    score = CoverageScore(components)

    def score_of(indices: np.ndarray) -> float:
        return score.of(np.concatenate([components[indices], covered]))

    too_few, enough = 0, min(n_max, len(pool))
    picks = pick(enough)
    found = score_of(picks.indices)
    if found < target.score:
        warning = (
            f'the coverage target of {target.score:g} was not reached; the score is '
            f'{found:.3g} (number of structures: {len(picks.indices)})'
        )
        report = {'coverage_score': found, 'warnings': [*picks.report.get('warnings', []), warning]}
        return replace(picks, report=picks.report | report)
    # If each shorter selection is the start of the longer ones, the guess is right and two further selections confirm
    # it.
    longest = picks.indices
    guess = 1 + bisect_left(range(1, len(longest) + 1), target.score, key=lambda n: score_of(longest[:n]))
    while enough - too_few > 1:
        guesses = [n for n in (guess, guess - 1) if too_few < n < enough]
        middle = guesses[0] if guesses else (too_few + enough) // 2
        fewer = pick(middle)
        if score_of(fewer.indices) >= target.score:
            enough, picks = middle, fewer
        else:
            too_few = middle
    return replace(picks, report=picks.report | {'coverage_score': score_of(picks.indices)}, complete=True)
