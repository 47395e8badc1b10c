import numpy as np
import pytest

from aiida_mlip_autopipe.sampling.pool.frames import collect_frames


def identities(pool):
    return [
        (pool.trajectories[t].seed_id, int(pool.trajectories[t].steps[f]))
        for t, f in zip(pool.trajectory_indices, pool.frame_indices, strict=True)
    ]


def test_candidates_are_sorted_by_seed_and_step_for_any_order_of_the_legs(make_trajectory, rattled):
    frames = rattled(6)
    legs = [
        make_trajectory(frames[:2], 'b'),
        make_trajectory(frames[2:4], 'a', first_step=20),
        make_trajectory(frames[4:], 'a'),
    ]
    expected = [('a', 0), ('a', 10), ('a', 20), ('a', 30), ('b', 0), ('b', 10)]
    assert identities(collect_frames(legs)) == expected
    assert identities(collect_frames(legs[::-1])) == expected


def test_a_frame_that_is_in_two_legs_is_a_candidate_once(make_trajectory, rattled):
    frames = rattled(4)
    pool = collect_frames([make_trajectory(frames[:3]), make_trajectory(frames[2:], first_step=20)])
    assert identities(pool) == [('seed', 0), ('seed', 10), ('seed', 20), ('seed', 30)]
    assert pool.discarded == {'not_finite': 0, 'in_two_legs': 1, 'duplicate': 0, 'reference_dataset': 0}


@pytest.mark.parametrize('name', ['energies', 'forces', 'positions', 'cells'])
def test_a_frame_that_is_not_finite_is_discarded(make_trajectory, rattled, name):
    trajectory = make_trajectory(rattled(3))
    getattr(trajectory, name)[1] = np.inf
    pool = collect_frames([trajectory])
    assert pool.frame_indices.tolist() == [0, 2]
    assert pool.discarded['not_finite'] == 1


def test_a_frame_without_stress_is_a_candidate(make_trajectory, rattled):
    trajectory = make_trajectory(rattled(1))
    trajectory.stresses[:] = np.nan
    assert len(collect_frames([trajectory])) == 1


def test_only_bitwise_identical_structures_of_other_seeds_are_duplicates(make_trajectory, rattled):
    first = rattled(1)[0]
    other = first.copy()
    other.positions[0, 0] = np.nextafter(other.positions[0, 0], 1)
    pool = collect_frames([make_trajectory([first], 'a'), make_trajectory([first], 'b'), make_trajectory([other], 'c')])
    assert [identity[0] for identity in identities(pool)] == ['a', 'c']
    assert pool.discarded['duplicate'] == 1


def test_the_same_positions_with_other_elements_are_not_a_duplicate(make_trajectory, rattled):
    first = rattled(1)[0]
    other = first.copy()
    other.numbers = first.numbers[::-1]
    assert len(collect_frames([make_trajectory([first], 'a'), make_trajectory([other], 'b')])) == 2
