"""Divide groups of structures among a training, a validation and a test set. No group is in two sets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, get_args

from aiida_mlip_autopipe.core.randomness import derive_random_seed

Split = Literal['train', 'valid', 'test']
SPLITS: tuple[Split, ...] = get_args(Split)
TRAINING_KINDS = ('atom', 'dimer')
"""Kinds of seeds that are only for training. Their few atoms say nothing about the error for condensed matter."""


def assign_groups(
    sizes: Mapping[str, int], *, valid_fraction: float, test_fraction: float, random_seed: int
) -> dict[str, Split]:
    """Draw groups for validation and for testing at random. The others are for training.

    The order of the groups depends only on their names and the random seed, so adding a group moves hardly any of the
    others to another set. The test set is filled first, then the validation set, each until another group would move it
    farther from its fraction. A set whose fraction is above zero gets at least one group, as long as one is left for
    training.

    Parameters
    ----------
    sizes
        Number of structures in each group.
    valid_fraction, test_fraction
        Fractions of all structures.
    random_seed
        The random seed of the campaign.
    """
    ordered = sorted(sizes, key=lambda group: (derive_random_seed(random_seed, 'split', group), group))
    total = sum(sizes.values())
    assigned: dict[str, Split] = {}
    fractions: tuple[tuple[Split, float], ...] = (('test', test_fraction), ('valid', valid_fraction))
    for split, fraction in fractions:
        filled = 0
        for group in ordered:
            n_left = len(sizes) - len(assigned)
            if group in assigned or fraction <= 0 or n_left < 2:
                continue
            if not filled or abs(filled + sizes[group] - fraction * total) <= abs(filled - fraction * total):
                assigned[group] = split
                filled += sizes[group]
    return {group: assigned.get(group, 'train') for group in ordered}
