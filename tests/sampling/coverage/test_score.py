"""The coverage score of points whose score is known."""

import numpy as np
import pytest

from aiida_mlip_autopipe.sampling.coverage.score import CoverageScore


def column(*values):
    return np.array(values, dtype=np.float32)[:, None]


def test_the_score_is_the_fraction_of_the_bins_that_are_occupied():
    # The width of a bin is 0.02. The candidates occupy four bins, one of them with two candidates.
    candidates = column(0.0, 0.005, 0.3, 0.7, 1.0)
    score = CoverageScore(candidates)
    assert score.of(candidates[:2]) == 0.25
    assert score.of(candidates[1:4]) == 0.75
    assert score.of(candidates) == 1.0
    assert score.of(candidates[:0]) == 0.0


def test_the_score_is_averaged_over_the_components():
    candidates = np.array([[0.0, 0.0], [1.0, 0.0], [0.5, 0.2], [0.25, 0.1]], dtype=np.float32)
    assert CoverageScore(candidates).of(candidates[:2]) == pytest.approx((2 / 4 + 1 / 3) / 2)


def test_structures_outside_the_range_and_in_empty_bins_are_ignored():
    score = CoverageScore(column(0.0, 0.5, 1.0))
    assert score.of(column(-0.01, 1.5, 0.25)) == 0.0
    assert score.of(column(0.25, 0.505)) == pytest.approx(1 / 3)


def test_components_without_variation_are_ignored():
    candidates = np.array([[0.0, 0.0], [1.0, 5e-5], [0.5, 1e-5]], dtype=np.float32)
    assert CoverageScore(candidates).of(candidates[:1]) == pytest.approx(1 / 3)
    assert CoverageScore(candidates[:, 1:]).of(candidates[:1, 1:]) == 1.0
