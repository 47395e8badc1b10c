"""The smallest selection of a sampler that reaches a target of coverage."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from aiida_mlip_autopipe.descriptors.projection import fit_projection
from aiida_mlip_autopipe.sampling.base import Picks
from aiida_mlip_autopipe.sampling.coverage.score import N_COMPONENTS, CoverageScore, CoverageTarget
from aiida_mlip_autopipe.sampling.pool.describe import describe_pool
from aiida_mlip_autopipe.sampling.pool.frames import FramePool


def pick_fewest(pool: FramePool, target: CoverageTarget, pick: Callable[[int], Picks], n_most: int) -> Picks:
    """Search the number of structures with which a sampler reaches the target, by a guess and by halving.

    With as many as are returned the target is reached, with one fewer it is not. Where a sampler's shorter selections
    are the beginnings of its longer ones, none smaller reaches it.

    Parameters
    ----------
    pool
        The candidates, and the structures that count as chosen: they cover too.
    target
        The score to reach.
    pick
        Lets the sampler choose so many structures of the pool.
    n_most
        How many may be chosen at most.

    Returns
    -------
    Picks
        At least one; as many as may be chosen, with a warning, where the target is out of reach.
    """
    features = describe_pool(pool, target.descriptor)
    projection = fit_projection(features.candidates.points).keep(N_COMPONENTS)
    components = projection.apply(features.candidates.points)
    covered = projection.apply(features.chosen.points)
    score = CoverageScore(components)

    def reached(indices: np.ndarray) -> float:
        return score.of(np.concatenate([components[indices], covered]))

    too_few, enough = 0, min(n_most, len(pool))
    picks = pick(enough)
    found = reached(picks.indices)
    if found < target.score:
        warning = (
            f'the coverage target of {target.score:g} was not reached: {len(picks.indices)} structures have a score of '
            f'{found:.3g}'
        )
        report = {'coverage_score': found, 'warnings': [*picks.report.get('warnings', []), warning]}
        return replace(picks, report=picks.report | report)
    # Where shorter selections begin longer ones, the beginning that is enough is the answer, and two picks show it.
    longest = picks.indices
    guess = 1 + bisect_left(range(1, len(longest) + 1), target.score, key=lambda n: reached(longest[:n]))
    while enough - too_few > 1:
        guesses = [n for n in (guess, guess - 1) if too_few < n < enough]
        middle = guesses[0] if guesses else (too_few + enough) // 2
        fewer = pick(middle)
        if reached(fewer.indices) >= target.score:
            enough, picks = middle, fewer
        else:
            too_few = middle
    return replace(picks, report=picks.report | {'coverage_score': reached(picks.indices)}, complete=True)
