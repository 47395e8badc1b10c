import numpy as np
import pytest

from aiida_mlip_autopipe.rounds.label_estimate import EXPONENT, MAX_LABELS, NOISE, estimate_labels


def test_a_power_law_without_noise_is_continued():
    n = np.array([25, 50, 100])
    found = estimate_labels(n, 0.4 * (n / 100) ** -0.5, 0.2, 1)
    assert found.low < 400 < found.high
    assert found.median == pytest.approx(400, rel=0.25)
    assert found.exponent == pytest.approx(0.5, abs=0.05)
    assert found == estimate_labels(n, 0.4 * (n / 100) ** -0.5, 0.2, 1)


def test_four_of_five_intervals_contain_the_number_of_labels_that_reaches_the_target():
    rng = np.random.Generator(np.random.PCG64(7))
    n, inside, total = np.array([20, 40, 80]), 0, 400
    for number in range(total):
        exponent = -1.0
        while exponent <= 0.02:
            exponent = rng.normal(*EXPONENT)
        noise = np.exp(rng.uniform(*np.log(NOISE)))
        errors = 0.5 * (n / 80) ** -exponent * np.exp(noise * rng.standard_normal(3))
        found = estimate_labels(n, errors, 0.3, number)
        # The training at this number of labels has the same noise.
        reached = min(80 * np.exp((np.log(0.5 / 0.3) + noise * rng.standard_normal()) / exponent), MAX_LABELS)
        inside += found.low <= reached <= found.high
    # Three standard errors of 400 intervals.
    assert inside / total == pytest.approx(0.8, abs=3 * np.sqrt(0.8 * 0.2 / total))


def test_errors_that_do_not_decrease_give_a_wide_interval_with_a_large_upper_end():
    found = estimate_labels([20, 40, 80], [0.3, 0.31, 0.3], 0.1, 1)
    assert found.median > 1000
    assert found.high > 20 * found.low


def test_a_target_that_is_reached_takes_no_more_labels():
    found = estimate_labels([20, 40, 80], [0.4, 0.3, 0.22], 0.5, 1)
    assert found.median < 20


@pytest.mark.parametrize(
    ('numbers', 'errors', 'target', 'message'),
    [
        ([40, 40], [0.1, 0.1], 0.1, 'different numbers'),
        ([20, 40], [0.1, 0.0], 0.1, 'positive'),
        ([20, 40], [0.1, np.nan], 0.1, 'finite'),
        ([20, 40], [1, 1], 0, 'positive'),
    ],
)
def test_values_that_determine_no_curve_are_refused(numbers, errors, target, message):
    with pytest.raises(ValueError, match=message):
        estimate_labels(numbers, errors, target, 1)
