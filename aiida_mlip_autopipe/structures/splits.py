"""Divide groups of structures into a training, a validation and a test set, so that no group is in two of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, get_args

from aiida_mlip_autopipe.core.randomness import derive_random_seed

Split = Literal['train', 'valid', 'test']
SPLITS: tuple[Split, ...] = get_args(Split)


def assign_groups(
    sizes: Mapping[str, int], *, valid_share: float, test_share: float, random_seed: int
) -> dict[str, Split]:
    """Draw which groups are for validation and which for testing; the others are for training.

    Each group has a place in line that depends on its name and the random seed alone, so that one more group moves
    hardly any other. The test set is filled first, then the validation set, each until one more group would take it
    farther from its share than it is. A share that is not zero gets one group at least, as long as one is left to
    train on.

    Parameters
    ----------
    sizes
        How many structures each group has.
    valid_share, test_share
        Shares of all structures.
    random_seed
        The campaign's number.
    """
    line = sorted(sizes, key=lambda group: (derive_random_seed(random_seed, 'split', group), group))
    total = sum(sizes.values())
    assigned: dict[str, Split] = {}
    shares: tuple[tuple[Split, float], ...] = (('test', test_share), ('valid', valid_share))
    for split, share in shares:
        filled = 0
        for group in line:
            left = len(sizes) - len(assigned)
            if group in assigned or share <= 0 or left < 2:
                continue
            if not filled or abs(filled + sizes[group] - share * total) <= abs(filled - share * total):
                assigned[group] = split
                filled += sizes[group]
    return {group: assigned.get(group, 'train') for group in line}
