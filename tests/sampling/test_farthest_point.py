import numpy as np
import pytest

from aiida_mlip_autopipe.sampling.farthest_point import farthest_points


def brute_force(points, first, n):
    """Choose points as in the definition, with all distances in float64."""
    points = points.astype(float)
    between = np.linalg.norm(points[:, None] - points[None], axis=2)
    indices, distances = [first], [np.nan]
    while len(indices) < n:
        nearest = between[:, indices].min(axis=1)
        indices.append(int(nearest.argmax()))
        distances.append(nearest.max())
    return indices, distances, between[:, indices].min(axis=1)


def test_the_middle_of_a_line_is_chosen_first_then_its_ends_then_the_points_between_them():
    line = np.arange(9.0)[:, None]
    indices, distances, nearest = farthest_points(line, 5)
    assert indices.tolist() == [4, 0, 8, 2, 6]
    np.testing.assert_allclose(distances, [np.nan, 4, 4, 2, 2])
    np.testing.assert_allclose(nearest, [0, 1, 0, 1, 0, 1, 0, 1, 0])


@pytest.mark.parametrize('random_seed', range(5))
@pytest.mark.parametrize('spread', [1.0, 1e-3])
def test_the_choice_agrees_with_brute_force(random_seed, spread):
    rng = np.random.default_rng(random_seed)
    centres = rng.normal(size=(7, 40))
    points = (centres[rng.integers(0, 7, 300)] + spread * rng.normal(size=(300, 40))).astype(np.float32)
    indices, distances, nearest = farthest_points(points, 120)
    expected = brute_force(points, indices[0], 120)
    assert indices.tolist() == expected[0]
    np.testing.assert_allclose(distances, expected[1], rtol=1e-4)
    np.testing.assert_allclose(nearest, expected[2], rtol=1e-3, atol=1e-6)


def test_points_far_from_the_origin_are_distinguished():
    points = (np.random.default_rng(0).normal(size=(100, 10)) * 1e-3 + 5.0).astype(np.float32)
    indices, _, _ = farthest_points(points, 50)
    assert indices.tolist() == brute_force(points, indices[0], 50)[0]


def test_the_first_of_equally_distant_points_is_chosen():
    corners = np.array([[1, 1], [1, -1], [-1, -1], [-1, 1], [0, 0]], dtype=float)
    assert farthest_points(corners, 5)[0].tolist() == [4, 0, 1, 2, 3]


def test_distances_do_not_increase():
    points = np.random.default_rng(1).random((200, 5), dtype=np.float32)
    distances = farthest_points(points, 200)[1][1:]
    assert (np.diff(distances) <= 1e-7).all()


def test_a_point_and_its_copy_are_not_both_chosen():
    points = np.random.default_rng(2).random((20, 3), dtype=np.float32)
    indices, _, _ = farthest_points(np.concatenate([points, points]), 40)
    assert len(indices) == 20
    assert len(set(indices % 20)) == 20


def test_points_within_the_tolerance_of_a_chosen_point_are_not_chosen():
    assert farthest_points(np.array([[0.0], [0.3], [1.0], [2.0]]), 4, tolerance=0.5)[0].tolist() == [2, 0, 3]


def test_the_choice_continues_from_points_that_are_already_chosen():
    line = np.arange(9.0)[:, None]
    indices, distances, nearest = farthest_points(line, 2, already_chosen=np.array([[0.0], [1.0]]))
    assert indices.tolist() == [8, 4]
    np.testing.assert_allclose(distances, [7, 3])
    np.testing.assert_allclose(nearest, [0, 0, 1, 1, 0, 1, 2, 1, 0], atol=1e-6)


def test_no_points_give_an_empty_choice():
    assert [len(part) for part in farthest_points(np.empty((0, 3)), 5, already_chosen=np.zeros((1, 3)))] == [0, 0, 0]


def test_a_request_for_too_many_points_returns_all_points():
    assert sorted(farthest_points(np.arange(3.0)[:, None], 10)[0]) == [0, 1, 2]


def test_the_choice_agrees_with_scikit_matter():
    points = np.random.RandomState(7).normal(size=(60, 8)).astype(np.float32)
    # FPS(n_to_select=20, initialize=...).fit(points).selected_idx_ of skmatter 0.4.1, started at 26.
    expected = [26, 5, 57, 24, 43, 20, 19, 46, 38, 7, 48, 52, 44, 37, 12, 39, 4, 30, 32, 33]
    assert farthest_points(points, 20)[0].tolist() == expected
