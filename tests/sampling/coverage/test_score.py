"""The coverage score of points of which it can be told by hand."""

import numpy as np
import pytest

from aiida_mlip_autopipe.sampling.coverage.score import CoverageScore


def column(*values):
    return np.array(values, dtype=np.float32)[:, None]


def test_it_is_the_share_of_the_occupied_bins_that_the_selection_occupies():
    # From 0 to 1 a bin is 0.02 wide: the candidates occupy four of them, one twice.
    candidates = column(0.0, 0.005, 0.3, 0.7, 1.0)
    score = CoverageScore(candidates)
    assert score.of(candidates[:2]) == 0.25
    assert score.of(candidates[1:4]) == 0.75
    assert score.of(candidates) == 1.0
    assert score.of(candidates[:0]) == 0.0


def test_it_is_the_mean_over_the_components():
    candidates = np.array([[0.0, 0.0], [1.0, 0.0], [0.5, 0.2], [0.25, 0.1]], dtype=np.float32)
    assert CoverageScore(candidates).of(candidates[:2]) == pytest.approx((2 / 4 + 1 / 3) / 2)


def test_structures_beyond_the_candidates_and_in_empty_bins_do_not_count():
    score = CoverageScore(column(0.0, 0.5, 1.0))
    assert score.of(column(-0.01, 1.5, 0.25)) == 0.0
    assert score.of(column(0.25, 0.505)) == pytest.approx(1 / 3)


def test_a_component_along_which_candidates_are_alike_tells_nothing():
    candidates = np.array([[0.0, 0.0], [1.0, 5e-5], [0.5, 1e-5]], dtype=np.float32)
    assert CoverageScore(candidates).of(candidates[:1]) == pytest.approx(1 / 3)
    assert CoverageScore(candidates[:, 1:]).of(candidates[:1, 1:]) == 1.0
