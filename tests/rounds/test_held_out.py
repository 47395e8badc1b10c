import numpy as np
import pytest

from aiida_mlip_autopipe.rounds.held_out import HeldOutErrors


def test_the_error_is_that_of_all_components():
    errors = HeldOutErrors(['a', 'a', 'b', 'c'], np.array([3, 3, 6, 3]), 1)
    found = errors.rmse(np.array([1.0, 4.0, 4.0, 9.0]))
    assert found.value == pytest.approx(np.sqrt((3 * 1 + 3 * 4 + 6 * 4 + 3 * 9) / 15))
    assert found == HeldOutErrors(['a', 'a', 'b', 'c'], np.array([3, 3, 6, 3]), 1).rmse(np.array([1.0, 4.0, 4.0, 9.0]))


def make_squares(rng, n_groups, per_group):
    of_group = np.repeat(np.exp(0.5 * rng.standard_normal(n_groups)), per_group)
    return of_group * rng.chisquare(24, n_groups * per_group) / 24


@pytest.mark.parametrize(('n_groups', 'expected'), [(10, 0.85), (40, 0.89)])
def test_the_upper_limit_is_above_the_true_error_in_about_nine_of_ten_cases(n_groups, expected):
    # E[exp(x/2)] of a standard normal x is exp(1/8).
    true = np.sqrt(np.exp(0.125))
    above, by_frame = [], []
    for number in range(300):
        squares = make_squares(np.random.Generator(np.random.PCG64(number)), n_groups, 5)
        components = np.full(5 * n_groups, 24)
        groups = [str(group) for group in range(n_groups) for _ in range(5)]
        above.append(HeldOutErrors(groups, components, number).rmse(squares).upper_limit > true)
        if number < 50:
            frames = [str(frame) for frame in range(5 * n_groups)]
            by_frame.append(HeldOutErrors(frames, components, number).rmse(squares).upper_limit > true)
    # Three standard errors of 300 cases.
    assert np.mean(above) == pytest.approx(expected, abs=0.06)
    assert np.mean(by_frame) < np.mean(above[:50])


def test_a_paired_limit_is_above_the_true_gain_in_about_nine_of_ten_cases():
    above = []
    for number in range(200):
        rng = np.random.Generator(np.random.PCG64(number))
        squares = make_squares(rng, 20, 3)
        factors = np.exp(0.3 * rng.standard_normal(60))
        gain = HeldOutErrors([str(group) for group in range(20) for _ in range(3)], np.full(60, 24), number).gain(
            squares, 0.81 * np.exp(-0.045) * factors * squares
        )
        above.append(gain.upper_limit > 0.1)
    assert np.mean(above) == pytest.approx(0.88, abs=0.07)


def test_a_paired_gain_is_more_precise_than_the_errors():
    rng = np.random.Generator(np.random.PCG64(1))
    squares = make_squares(rng, 20, 3)
    groups = [str(group) for group in range(20) for _ in range(3)]
    errors = HeldOutErrors(groups, np.full(60, 24), 1)
    gain = errors.gain(squares, 0.81 * squares)
    assert gain.value == pytest.approx(0.1)
    assert gain.upper_limit == pytest.approx(0.1)
    former = errors.rmse(squares)
    assert former.upper_limit > 1.03 * former.value


@pytest.mark.parametrize('groups', ['aaa', 'aba'])
def test_fewer_than_three_groups_give_no_limit(groups):
    with pytest.raises(ValueError, match='3 test groups'):
        HeldOutErrors(list(groups), np.array([3, 3, 3]), 1)
