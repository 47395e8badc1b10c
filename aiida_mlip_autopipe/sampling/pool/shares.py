"""Groups of candidates that are under-represented in a selection."""

from __future__ import annotations

from typing import Any

import numpy as np

from aiida_mlip_autopipe.sampling.pool.frames import FramePool

# A group is reported if its fraction of the selection is less than this, relative to its fraction of the candidates.
FAR_BELOW = 0.25
# Groups are ignored if a proportional selection would contain fewer of their frames than this, because so small a
# number is too uncertain.
MIN_EXPECTED = 5.0


def report_few_chosen(pool: FramePool, chosen: np.ndarray) -> dict[str, Any]:
    """Report the compositions and the kinds from which a sampler chose few frames.

    Parameters
    ----------
    pool
        The candidates of the sampler.
    chosen
        Indices in the pool of the frames that it chose.

    Returns
    -------
    dict
        ``few_chosen``, as JSON: for each group the property (``by``), its value (``group``), its fraction of the
        candidates and of the selection, and the number of frames. A group is listed if its fraction of the selection is
        less than a quarter of its fraction of the candidates, and if a proportional selection would contain at least
        five of its frames.
    """
    found = []
    for by, names in (('composition', pool.compositions()), ('kind', pool.kinds())):
        groups, numbers, sizes = np.unique(names, return_inverse=True, return_counts=True)
        n_chosen = np.bincount(numbers[chosen], minlength=len(groups))
        expected = sizes * len(chosen) / max(len(pool), 1)
        found += [
            {
                'by': by,
                'group': str(groups[i]),
                'fraction_of_candidates': float(sizes[i] / len(pool)),
                'fraction_of_selection': float(n_chosen[i] / len(chosen)),
                'n_selected': int(n_chosen[i]),
            }
            for i in np.flatnonzero((expected >= MIN_EXPECTED) & (n_chosen < FAR_BELOW * expected))
        ]
    return {'few_chosen': found}


def warn_of_few_chosen(few_chosen: list[dict[str, Any]]) -> list[str]:
    """Return a warning for each group in the report of `report_few_chosen`."""
    return [
        f'the {group["by"]} {group["group"]} accounts for only {group["n_selected"]} of the chosen structures '
        f'({group["fraction_of_selection"]:.1%}), but for {group["fraction_of_candidates"]:.1%} of the candidates; to '
        f'choose more of them, use the sampler stratified with by: {group["by"]}'
        for group in few_chosen
    ]
