import json

import numpy as np
import pytest
from pydantic import ValidationError
from support.errors import refused
from support.sampling import numbers_in, sampling

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.sampling import SAMPLERS, select_frames

SOAP = {'n_max': 4, 'l_max': 3}


def make_settings(kind, **fields):
    if kind in ('fps', 'direct', 'environment'):
        fields.setdefault('descriptor', SOAP)
    if kind == 'stratified':
        fields.setdefault('within', {'kind': 'fps', 'descriptor': SOAP})
    if kind == 'mix':
        fields.setdefault(
            'parts', [{'fraction': 1, 'sampler': {'kind': 'random'}}, {'fraction': 1, 'sampler': {'kind': 'stride'}}]
        )
    return sampling(kind, **fields)


def identities(selection, trajectories):
    return [
        (trajectories[t].seed_id, int(trajectories[t].steps[f]))
        for t, f in zip(selection.trajectory_indices, selection.frame_indices, strict=True)
    ]


@pytest.fixture
def trajectories(make_trajectory, rattled):
    return [
        make_trajectory(rattled(8, random_seed), f'seed{random_seed}', first_step=100 * random_seed)
        for random_seed in range(3)
    ]


@pytest.fixture(params=['random', 'stride', 'fps', 'direct', 'environment', 'stratified', 'mix'])
def kind(request):
    return request.param


def test_the_requested_number_of_different_frames_is_chosen(trajectories, kind):
    selection = select_frames(trajectories, make_settings(kind, n_structures=10), random_seed=1)
    assert len(selection) == len(set(identities(selection, trajectories))) == 10
    assert selection.report['n_selected'] == 10
    assert selection.report['warnings'] == []


def test_the_same_input_gives_the_same_selection(trajectories, kind):
    first, second = (select_frames(trajectories, make_settings(kind, n_structures=10), random_seed=1) for _ in range(2))
    assert identities(first, trajectories) == identities(second, trajectories)
    np.testing.assert_array_equal(first.distances, second.distances)
    assert first.report == second.report


def test_the_order_of_the_trajectories_does_not_matter(trajectories, kind):
    settings = make_settings(kind, n_structures=10)
    first = select_frames(trajectories, settings, random_seed=1)
    second = select_frames(trajectories[::-1], settings, random_seed=1)
    assert identities(first, trajectories) == identities(second, trajectories[::-1])
    assert first.report == second.report


@pytest.mark.parametrize('kind', ['random', 'fps'])
def test_a_larger_selection_contains_the_smaller_one(trajectories, kind):
    few, many = (
        identities(select_frames(trajectories, make_settings(kind, n_structures=n), random_seed=1), trajectories)
        for n in (5, 12)
    )
    assert many[:5] == few


def test_another_random_seed_draws_other_frames(trajectories):
    first, second = (
        identities(select_frames(trajectories, sampling('random', n_structures=10), random_seed=seed), trajectories)
        for seed in (1, 2)
    )
    assert first != second


def test_all_frames_have_the_same_probability(make_trajectory, rattled):
    trajectory = make_trajectory(rattled(10))
    counts = np.zeros(10)
    for random_seed in range(400):
        selection = select_frames([trajectory], sampling('random', n_structures=3), random_seed=random_seed)
        counts[selection.frame_indices] += 1
    # The expected count is 120, with a standard deviation of 9.2.
    assert (np.abs(counts - 120) < 5 * 9.2).all()


def test_if_too_many_frames_are_requested_all_are_chosen_with_a_warning(trajectories, kind):
    selection = select_frames(trajectories, make_settings(kind, n_structures=100), random_seed=1)
    assert len(selection) == 24
    (warning,) = selection.report['warnings']
    assert numbers_in(warning) == [24, 24, 100]


def test_discarded_frames_are_counted_and_never_chosen(trajectories, kind):
    trajectories[0].energies[3] = np.nan
    trajectories[2].forces[5, 0, 1] = np.inf
    selection = select_frames(trajectories, make_settings(kind, n_structures=100), random_seed=1)
    assert {('seed0', 30), ('seed2', 250)}.isdisjoint(identities(selection, trajectories))
    assert selection.report['n_candidates'] == 22
    assert selection.report['discarded'] == {'not_finite': 2, 'in_two_legs': 0, 'duplicate': 0, 'reference_dataset': 0}


def test_frames_beyond_the_limits_are_discarded_and_counted_by_reason(trajectories, kind):
    trajectories[0].forces[3, 1] = [3.0, 4.0, 0.0]
    trajectories[1].energies[:] = 4 * np.linspace(0, 0.7, 8)
    settings = make_settings(kind, n_structures=100, max_force_eV_per_A=4.9, max_excess_energy_eV=0.55)
    selection = select_frames(trajectories, settings, random_seed=1)
    discarded = {('seed0', 30), ('seed1', 160), ('seed1', 170)}
    assert discarded.isdisjoint(identities(selection, trajectories))
    assert selection.report['discarded'] | {'force_too_large': 1, 'energy_too_high': 2} == selection.report['discarded']
    assert len(selection) == 21


def test_a_force_at_the_limit_is_allowed(trajectories):
    trajectories[0].forces[3, 1] = [3.0, 4.0, 0.0]
    selection = select_frames(trajectories, sampling('random', n_structures=100, max_force_eV_per_A=5.0), random_seed=1)
    assert len(selection) == 24


def test_limits_that_discard_all_frames_are_refused(trajectories):
    for trajectory in trajectories:
        trajectory.forces[:] = 1.0
    with refused(Code.CANDIDATES_MISSING, 'force too large (24)'):
        select_frames(trajectories, sampling('random', max_force_eV_per_A=0.1, max_excess_energy_eV=1), random_seed=1)


def test_a_selection_without_finite_frames_is_refused(trajectories, kind):
    for trajectory in trajectories:
        trajectory.energies[:] = np.nan
    with refused(Code.CANDIDATES_MISSING, 'trajectories: 3', 'frames: 24', 'not finite (24)'):
        select_frames(trajectories, make_settings(kind), random_seed=1)
    with refused(Code.CANDIDATES_MISSING, 'trajectories: 0', 'frames: 0'):
        select_frames([], make_settings(kind), random_seed=1)


def test_fps_does_not_choose_a_rotated_copy(make_trajectory, rattled):
    frames = rattled(4)
    copies = [atoms.copy() for atoms in frames]
    for atoms in copies:
        atoms.rotate(50, (1, 1, 0), rotate_cell=True)
    trajectories = [make_trajectory(frames, 'a'), make_trajectory(copies, 'b')]
    selection = select_frames(trajectories, sampling('fps', n_structures=8, descriptor=SOAP), random_seed=1)
    assert sorted(selection.frame_indices) == [0, 1, 2, 3]
    assert selection.report['n_duplicates_of_chosen'] == 4
    assert selection.report['coverage_radius'] < 1e-4
    assert numbers_in(selection.report['warnings'][0]) == [4, 8, 8]


def test_fps_stops_when_all_frames_are_near_a_chosen_frame(trajectories):
    complete = select_frames(trajectories, make_settings('fps', n_structures=24), random_seed=1)
    radius = complete.distances[10]
    selection = select_frames(trajectories, make_settings('fps', coverage_radius=radius), random_seed=1)
    np.testing.assert_array_equal(selection.frame_indices, complete.frame_indices[:10])
    assert selection.report['coverage_radius'] == pytest.approx(radius)
    assert selection.report['warnings'] == []


def test_fps_chooses_an_outlier_before_similar_frames(make_trajectory, rattled):
    frames = [*rattled(20, amplitude=0.02), *rattled(1, random_seed=9, amplitude=0.3)]
    selection = select_frames(
        [make_trajectory(frames)], sampling('fps', n_structures=3, descriptor=SOAP), random_seed=1
    )
    assert selection.frame_indices[1] == 20
    assert np.isnan(selection.distances[0])
    assert selection.distances[1] > selection.distances[2] > selection.report['coverage_radius'] > 0


def test_stride_chooses_the_middle_of_equal_intervals_in_the_order_of_seeds_and_steps(trajectories):
    selection = select_frames(trajectories, make_settings('stride', n_structures=4), random_seed=1)
    assert identities(selection, trajectories) == [('seed0', 30), ('seed1', 110), ('seed1', 170), ('seed2', 250)]


def test_the_report_is_valid_json(trajectories, kind):
    report = select_frames(trajectories, make_settings(kind, n_structures=5), random_seed=1).report
    assert json.loads(json.dumps(report, allow_nan=False)) == report


@pytest.mark.parametrize('fields', [{'n_structures': 0}, {'n_structure': 5}])
def test_invalid_settings_are_refused(kind, fields):
    with pytest.raises(ValidationError):
        sampling(kind, **fields)


def test_an_unknown_kind_is_refused():
    with refused(Code.KIND_UNKNOWN, 'grid', 'direct', 'disagreement', 'environment', 'fps'):
        SAMPLERS.load('grid')


@pytest.mark.parametrize('kind_of_seed', [{'seed0': 'alloy', 'seed1': 'alloy', 'seed2': 'surface'}])
def test_kinds_of_seeds_can_be_strata(trajectories, kind_of_seed):
    settings = make_settings('stratified', by='kind', n_structures=8, near_equilibrium_fraction=0)
    selection = select_frames(trajectories, settings, random_seed=1, kinds=kind_of_seed)
    assert [kind_of_seed[seed] for seed, _ in identities(selection, trajectories)].count('surface') == 4
    assert selection.report['strata'] == [
        {'stratum': 'alloy', 'n_candidates': 16, 'n_selected': 4},
        {'stratum': 'surface', 'n_candidates': 8, 'n_selected': 4},
    ]


def test_labels_of_entries_can_be_strata(trajectories):
    labels = {'seed1': 'hot', 'seed2': 'hot'}
    settings = make_settings('stratified', by='label', n_structures=8, near_equilibrium_fraction=0)
    selection = select_frames(trajectories, settings, random_seed=1, labels=labels)
    assert [labels.get(seed, 'none') for seed, _ in identities(selection, trajectories)].count('none') == 4
    assert selection.report['strata'] == [
        {'stratum': 'hot', 'n_candidates': 16, 'n_selected': 4},
        {'stratum': 'unlabelled', 'n_candidates': 8, 'n_selected': 4},
    ]


@pytest.fixture
def crashing(trajectories):
    """Return trajectories. The first two become unstable just after their last frame."""
    for trajectory in trajectories[:2]:
        trajectory.extra['time_to_crash_fs'] = 20.0 * np.arange(8, 0, -1)
    return trajectories


def count_near_crash(selection, trajectories, window_fs=100.0):
    chosen = zip(selection.trajectory_indices, selection.frame_indices, strict=True)
    return sum(trajectories[t].extra.get('time_to_crash_fs', np.full(8, np.inf))[f] <= window_fs for t, f in chosen)


def test_no_more_than_a_fraction_of_frames_before_a_crash_is_chosen(crashing, kind):
    # Ten frames are less than 100 fs before a crash.
    selection = select_frames(crashing, make_settings(kind, n_structures=24, crash_fraction=0.25), random_seed=1)
    assert count_near_crash(selection, crashing) == 6
    assert selection.report['discarded']['near_crash'] == 4
    assert len(selection) == 20


@pytest.mark.parametrize(('fraction', 'window_fs', 'expected'), [(0.0, 100.0, 14), (1.0, 100.0, 24), (0.0, 39.0, 22)])
def test_fraction_and_time_window_limit_the_number_of_frames_before_a_crash(crashing, fraction, window_fs, expected):
    settings = sampling('random', n_structures=24, crash_fraction=fraction, crash_window_fs=window_fs)
    assert len(select_frames(crashing, settings, random_seed=1)) == expected


def test_all_frames_have_the_gain_of_their_sampler(trajectories, kind):
    selection = select_frames(trajectories, make_settings(kind, n_structures=6), random_seed=1)
    if kind == 'environment':
        assert (selection.gains == selection.gains.astype(int)).all()
        assert selection.gains[0] == selection.gains.max() > 0
    else:
        np.testing.assert_array_equal(selection.gains, selection.distances)
    if kind in ('random', 'stride', 'mix'):
        assert np.isnan(selection.gains).all()


@pytest.mark.parametrize('kind', ['fps', 'direct', 'environment', 'stratified'])
def test_rotation_and_permutation_of_atoms_do_not_change_the_choice(make_trajectory, rattled, kind):
    frames = rattled(12, random_seed=4)
    rotated = []
    for angle, atoms in enumerate(frames, start=17):
        rotated.append(atoms[[2, 0, 3, 1]])
        rotated[-1].rotate(angle, (1, 2, 3), rotate_cell=True)
    settings = make_settings(kind, n_structures=5)
    chosen, again = (select_frames([make_trajectory(some)], settings, random_seed=1) for some in (frames, rotated))
    np.testing.assert_array_equal(chosen.frame_indices, again.frame_indices)
    np.testing.assert_allclose(chosen.gains, again.gains, rtol=1e-3)
