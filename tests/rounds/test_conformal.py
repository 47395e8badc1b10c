import numpy as np
import pytest

from aiida_mlip_autopipe.rounds.conformal import ErrorBounds, calibrate, conformal_quantile, measure_coverage


def test_the_quantile_of_single_frames_is_that_of_split_conformal_prediction():
    scores = np.arange(1.0, 20.0)  # 19 groups: the 18th of 19, since ceil(20 · 0.9) = 18
    assert conformal_quantile(scores, [str(i) for i in range(19)], 0.9) == 18.0
    assert conformal_quantile(scores[:9], list('abcdefghi'), 0.9) == 9.0
    assert conformal_quantile(scores[:8], list('abcdefgh'), 0.9) == np.inf


def test_a_group_with_many_frames_counts_as_much_as_one_with_few():
    # Nine groups of one frame, and one of 91 frames with large scores: by frames, the quantile would be 100.
    scores = np.array([1.0] * 9 + [100.0] * 91)
    groups = [str(i) for i in range(9)] + ['large'] * 91
    assert conformal_quantile(scores, groups, 0.8) == 1.0
    assert conformal_quantile(scores, groups, 0.9) == 100.0


def make_frames(rng, n_groups, per_group):
    """Errors that share a factor within each group, and uncertainties that are only roughly proportional to them."""
    groups = [str(group) for group in range(n_groups) for _ in range(per_group)]
    of_group = np.repeat(np.exp(0.8 * rng.standard_normal(n_groups)), per_group)
    uncertainties = np.exp(rng.standard_normal(len(groups)))
    errors = 0.1 * of_group * uncertainties * np.abs(rng.standard_normal(len(groups)))
    return errors, uncertainties, groups


def test_nine_of_ten_errors_of_new_groups_are_below_their_bounds():
    fractions, by_frame = [], []
    for number in range(300):
        rng = np.random.Generator(np.random.PCG64(number))
        errors, uncertainties, groups = make_frames(rng, 12, 5)
        bounds = calibrate(errors, uncertainties, groups, ['bulk'] * 60)
        new, new_uncertainties, new_groups = make_frames(rng, 40, 5)
        fractions.append(measure_coverage(new, bounds.bound(new_uncertainties, ['bulk'] * 200), new_groups).fraction)
        # For comparison: the quantile if the frames were counted as independent.
        scores = errors / (uncertainties + bounds.floor)
        quantile = conformal_quantile(scores, [str(i) for i in range(60)], 0.9)
        by_frame.append(np.mean(new <= quantile * (new_uncertainties + bounds.floor)))
    mean, error = np.mean(fractions), np.std(fractions, ddof=1) / np.sqrt(300)
    assert mean >= 0.9 - 2 * error
    # A bound that always holds would be useless: the surplus is at most 1 / (number of groups + 1).
    assert mean <= 0.9 + 1 / 13 + 2 * error
    assert np.mean(by_frame) < mean


def test_the_bound_follows_the_uncertainty_and_has_a_floor():
    rng = np.random.Generator(np.random.PCG64(3))
    errors, uncertainties, groups = make_frames(rng, 20, 2)
    bounds = calibrate(errors, uncertainties, groups, ['bulk'] * 40)
    low, middle, high = bounds.bound(np.array([0.0, 1.0, 2.0]), ['bulk'] * 3)
    assert 0 < low == pytest.approx(bounds.pooled * np.median(uncertainties))
    assert high - middle == pytest.approx(middle - low)
    assert (bounds.n_scores, bounds.n_groups) == (40, 20)


def test_a_kind_with_enough_frames_has_its_own_quantile():
    rng = np.random.Generator(np.random.PCG64(4))
    errors, uncertainties, groups = make_frames(rng, 40, 1)
    kinds = ['bulk'] * 22 + ['slab'] * 18
    errors[:22] *= 0.01
    bounds = calibrate(errors, uncertainties, groups, kinds)
    assert set(bounds.of_kind) == {'bulk'}
    assert bounds.of_kind['bulk'] < 0.1 * bounds.pooled
    bulk, slab = bounds.bound(np.ones(2), ['bulk', 'slab'])
    assert bulk < 0.1 * slab


def test_a_kind_with_many_frames_of_few_groups_is_pooled():
    rng = np.random.Generator(np.random.PCG64(5))
    errors, uncertainties, groups = make_frames(rng, 8, 5)
    others, more, names = make_frames(rng, 12, 1)
    groups += [f'slab-{name}' for name in names]
    bounds = calibrate(np.append(errors, others), np.append(uncertainties, more), groups, ['bulk'] * 40 + ['slab'] * 12)
    assert bounds.of_kind == {}
    assert np.isfinite(bounds.pooled)


def test_models_that_agree_everywhere_give_one_bound_for_all_frames():
    bounds = calibrate(np.linspace(0.1, 1.0, 10), np.zeros(10), list('abcdefghij'), ['bulk'] * 10)
    assert bounds.bound(np.zeros(3), ['bulk'] * 3) == pytest.approx([1.0] * 3)


@pytest.mark.parametrize(
    ('errors', 'uncertainties', 'message'),
    [([], [], 'at least one'), ([np.nan], [1.0], 'finite'), ([0.1], [-1.0], 'not negative')],
)
def test_values_that_are_not_errors_are_refused(errors, uncertainties, message):
    with pytest.raises(ValueError, match=message):
        calibrate(np.array(errors), np.array(uncertainties), ['a'] * len(errors), ['bulk'] * len(errors))


def test_the_measured_coverage_weights_groups_equally():
    found = measure_coverage(np.array([1, 1, 1, 3.0]), np.full(4, 2.0), ['a', 'a', 'a', 'b'])
    assert (found.fraction, found.standard_error, found.n_errors, found.n_groups) == (0.5, 0.5, 4, 2)
    assert np.isnan(measure_coverage(np.ones(2), np.ones(2), ['a', 'a']).standard_error)


def test_too_few_groups_give_an_infinite_bound():
    bounds = calibrate(np.ones(8), np.ones(8), list('abcdefgh'), ['bulk'] * 8)
    assert bounds == ErrorBounds(1.0, np.inf, {}, 0.9, 8, 8)
    assert bounds.bound(np.ones(1), ['bulk']) == [np.inf]
