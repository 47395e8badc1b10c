from collections import Counter

import numpy as np
import pytest

from aiida_mlip_autopipe.rounds.random_share import divide, draw_frames

GROUPS = [f'seed-{number}' for number in range(15) for _ in range(10)]


def test_frames_come_from_as_many_groups_as_possible():
    drawn = draw_frames(GROUPS, 1)
    assert len(set(drawn)) == 20
    assert len({GROUPS[frame] for frame in drawn}) == 15
    assert set(Counter(GROUPS[frame] for frame in drawn).values()) == {1, 2}


def test_each_frame_is_drawn_with_the_same_probability():
    counts = np.bincount(np.concatenate([draw_frames(GROUPS, seed) for seed in range(1500)]), minlength=150)
    expected = 1500 * 20 / 150
    chi2 = ((counts - expected) ** 2 / expected).sum()
    # 149 degrees of freedom: mean 149, standard deviation 17.3.
    assert chi2 < 149 + 4 * 17.3


def test_the_draw_depends_on_the_seed_and_the_label_only():
    assert draw_frames(GROUPS, 1, 'round 1') == draw_frames(GROUPS, 1, 'round 1')
    assert draw_frames(GROUPS, 1, 'round 1') != draw_frames(GROUPS, 1, 'round 2')
    assert draw_frames(GROUPS, 1) != draw_frames(GROUPS, 2)


def test_small_pools_are_drawn_completely():
    assert sorted(draw_frames(['a', 'b', 'b'], 1)) == [0, 1, 2]
    assert draw_frames([], 1) == []


def test_no_group_is_in_both_halves():
    groups = [GROUPS[frame] for frame in draw_frames(GROUPS, 1)]
    share = divide(groups)
    calibration, test = ({groups[index] for index in half} for half in (share.calibration, share.test))
    assert not calibration & test
    assert sorted((*share.calibration, *share.test)) == list(range(20))
    assert abs(len(share.calibration) - len(share.test)) <= 2


def test_groups_keep_the_role_of_earlier_rounds():
    share = divide(['a', 'b', 'c', 'd', 'a'], test_groups={'a', 'd'}, training_groups={'b'})
    assert share.test == (0, 3, 4)
    assert share.calibration == (1, 2)
    with pytest.raises(ValueError, match='a'):
        divide(['a'], test_groups={'a'}, training_groups={'a'})
