"""The features of a subset of a subset belong to its candidates."""

import numpy as np
import pytest

from aiida_mlip_autopipe.sampling.pool.features import Features, Points

SIZES = np.array([2, 1, 3, 1, 2])


@pytest.fixture
def features():
    """Return the features of five candidates. Each point consists of the indices of its candidate and its atom."""
    points = np.array([[candidate, atom] for candidate, n in enumerate(SIZES) for atom in range(n)], dtype=np.float32)
    reference = Points(np.array([[9, 0], [9, 1]], dtype=np.float32), np.array([2]))
    return Features.of_all(Points(points, SIZES), reference, {})


def test_a_subset_of_a_subset_has_the_points_of_its_candidates_and_of_the_chosen_frames(features):
    part = features.subset(np.array([4, 2, 0]), np.array([1])).subset(np.array([1, 0]), np.array([2]))
    assert part.candidates.points.tolist() == [[2, 0], [2, 1], [2, 2], [4, 0], [4, 1]]
    assert part.candidates.n_points.tolist() == [3, 2]
    assert part.chosen.points.tolist() == [[9, 0], [9, 1], [1, 0], [0, 0], [0, 1]]
    assert part.chosen.n_points.tolist() == [2, 1, 2]
    assert part.candidates.points.dtype == np.float32


def test_means_are_computed_for_each_candidate(features):
    assert features.candidates.means().tolist() == [[0, 0.5], [1, 0], [2, 1], [3, 0], [4, 0.5]]


def test_the_subset_of_all_candidates_is_not_copied(features):
    complete = features.subset(np.arange(5), np.empty(0, dtype=np.int64))
    assert complete.candidates.points is features.described.points
    assert complete.chosen.points is features.reference.points
