"""Frames that are labelled because they were drawn at random, before any selection.

Selected frames are not representative: their errors are larger than those of the frames that a user will compute. Only
frames that were drawn at random, none of them removed because of its error, show how good a model is.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from aiida_mlip_autopipe.core.randomness import make_rng

N_RANDOM = 20
"""Number of frames that a round draws at random. With one frame of each group, half of them suffice for a bound that
holds for 90 % of the groups."""


@dataclass(frozen=True)
class RandomShare:
    """Frames that were drawn at random.

    Attributes
    ----------
    calibration
        Indices of the frames that calibrate the bounds and may be used for training afterwards.
    test
        Indices of the frames that join the test set, which is never trained on.
    """

    calibration: tuple[int, ...]
    test: tuple[int, ...]


def draw_frames(
    groups: Sequence[str], random_seed: int, *labels: str, n_drawn: int = N_RANDOM, max_groups: int | None = None
) -> list[int]:
    """Draw frames at random: one of each group, in a random order of the groups, then a second one, and so on.

    Each group contributes the same number of frames to within one, unless it has too few. The frames thus represent a
    random frame of a random group, and come from as many groups as possible, because the frames of one exploration
    resemble one another.

    Parameters
    ----------
    groups
        The group of each frame, such as the seed from which it was explored.
    random_seed
        The random seed of the campaign.
    labels
        Labels of the random number generator, such as the number of the round; see `make_rng`.
    n_drawn
        Number of frames to draw; all frames if there are fewer.
    max_groups
        Maximum number of groups, so that some are left for other purposes; by default, all groups may be drawn.

    Returns
    -------
    list of int
        Indices of the frames in the order in which they were drawn. The order of the frames and of the other groups
        has no effect on the order within a group.
    """
    frames: dict[str, list[int]] = {}
    for index, group in enumerate(groups):
        frames.setdefault(group, []).append(index)
    names = sorted(frames)
    make_rng(random_seed, *labels, 'groups').shuffle(names)
    names = names[:max_groups]
    for name in names:
        make_rng(random_seed, *labels, 'frames', name).shuffle(frames[name])
    drawn: list[int] = []
    while len(drawn) < n_drawn and any(frames[name] for name in names):
        drawn += [frames[name].pop() for name in names if frames[name]]
    return drawn[:n_drawn]


def divide(
    groups: Sequence[str], *, test_groups: Collection[str] = (), training_groups: Collection[str] = ()
) -> RandomShare:
    """Divide frames that were drawn at random between calibration and testing, so that no group is in both.

    A group whose frames were used for testing or training before keeps this role. The others, in the order in which
    they were drawn, go to the set that has fewer frames, and to the test set if both have equally many.

    Parameters
    ----------
    groups
        The group of each frame in the order in which they were drawn.
    test_groups
        Groups of the test set so far.
    training_groups
        Groups of the labels that a model was trained on.

    Raises
    ------
    ValueError
        If a group is in both.
    """
    if both := set(test_groups) & set(training_groups):
        raise ValueError(f'groups of the test set that were trained on: {", ".join(sorted(both))}')
    members: dict[str, list[int]] = {}
    for index, group in enumerate(groups):
        members.setdefault(group, []).append(index)
    test = [index for group in members if group in test_groups for index in members[group]]
    calibration = [index for group in members if group in training_groups for index in members[group]]
    for group, frames in members.items():
        if group not in test_groups and group not in training_groups:
            (test if len(test) <= len(calibration) else calibration).extend(frames)
    return RandomShare(tuple(sorted(calibration)), tuple(sorted(test)))
