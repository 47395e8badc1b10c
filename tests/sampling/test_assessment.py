import json

import numpy as np
import pytest
from support.sampling import sampling

from aiida_mlip_autopipe.descriptors.describe import Descriptors, descriptor_key
from aiida_mlip_autopipe.descriptors.soap.settings import SoapSettings, describe_structures
from aiida_mlip_autopipe.sampling import assessment as module
from aiida_mlip_autopipe.sampling import select_frames
from aiida_mlip_autopipe.sampling.assessment import assess_selection

SOAP = SoapSettings(n_max=4, l_max=3)


@pytest.fixture
def trajectories(make_trajectory, rattled):
    return [
        make_trajectory(rattled(60, 1, amplitude=0.03), 'quiet'),
        make_trajectory(rattled(5, 2, amplitude=0.3), 'wild'),
    ]


def assess(trajectories, kind, n):
    fields = {'descriptor': SOAP} if kind == 'fps' else {}
    settings = sampling(kind, n_structures=n, **fields)
    selection = select_frames(trajectories, settings, random_seed=1)
    return selection, assess_selection(trajectories, selection, SOAP, random_seed=1)


def test_farthest_points_cover_more_than_a_random_selection(trajectories):
    _, assessment = assess(trajectories, 'fps', 10)
    assert assessment['curve']['radius'][-1] < 0.6 * assessment['random_curve']['radius'][-1]
    for name in ('vendi', 'occupied', 'nearest', 'entropy', 'diversity'):
        assert assessment['scores'][name] > assessment['random_scores'][name]


def test_the_last_radius_agrees_with_the_report_of_the_selection(trajectories):
    selection, assessment = assess(trajectories, 'fps', 10)
    assert assessment['curve']['n'][-1] == 10
    assert assessment['curve']['radius'][-1] == pytest.approx(selection.report['coverage_radius'], rel=1e-2)
    assert (np.diff(assessment['curve']['radius']) <= 0).all()


def test_a_selection_of_all_frames_covers_all_frames(trajectories):
    _, assessment = assess(trajectories, 'random', 65)
    assert assessment['scores']['occupied'] == 1.0
    assert assessment['curve']['mean'][-1] < 1e-3
    assert assessment['map']['candidates']['x'] == []


def test_the_vendi_score_is_the_number_of_different_structures(make_trajectory, rattled):
    still = rattled(1)[0]
    copies = [still.copy() for _ in range(6)]
    for i, atoms in enumerate(copies):
        atoms.translate(0.1 * i)
    _, assessment = assess([make_trajectory(copies)], 'random', 6)
    assert assessment['scores']['vendi'] == pytest.approx(1, abs=1e-3)
    elements = [rattled(1)[0] for _ in range(2)]
    elements[1].numbers[:] = 13
    trajectories = [make_trajectory([atoms], str(i)) for i, atoms in enumerate(elements)]
    assert assess(trajectories, 'random', 2)[1]['scores']['vendi'] == pytest.approx(2, abs=0.1)


def test_the_map_contains_the_names_of_all_chosen_frames(trajectories):
    selection, assessment = assess(trajectories, 'fps', 10)
    shown = assessment['map']
    assert [len(shown['chosen'][key]) for key in ('x', 'y', 'name')] == [10, 10, 10]
    assert len(shown['candidates']['x']) == 55
    t, f = selection.trajectory_indices[0], selection.frame_indices[0]
    assert (shown['chosen']['trajectory'][0], shown['chosen']['frame'][0]) == (t, f)
    assert shown['chosen']['name'][0] == (
        f'AuCu3, seed {trajectories[t].seed_id}, step {trajectories[t].steps[f]}, 300 K, 0.000 eV/atom'
    )


def test_an_assessment_is_valid_json(trajectories):
    _, assessment = assess(trajectories, 'fps', 3)
    assert json.loads(json.dumps(assessment, allow_nan=False)) == assessment


def test_selections_from_many_candidates_are_compared_with_a_random_part_of_them(trajectories, monkeypatch):
    _, complete = assess(trajectories, 'fps', 10)
    monkeypatch.setattr(module, 'MAX_COMPARED', 40)
    selection, part = assess(trajectories, 'fps', 10)
    assert (complete['n_candidates'], complete['n_compared']) == (65, 65)
    assert (part['n_candidates'], part['n_compared']) == (65, 40)
    assert part == assess(trajectories, 'fps', 10)[1]
    # The chosen frames are always on the map, whether or not they are compared.
    places = list(zip(part['map']['chosen']['trajectory'], part['map']['chosen']['frame'], strict=True))
    assert places == list(zip(selection.trajectory_indices, selection.frame_indices, strict=True))
    assert 30 <= len(part['map']['candidates']['x']) <= 40
    for curve in ('curve', 'random_curve'):
        assert part[curve]['n'] == complete[curve]['n']
        assert part[curve]['radius'][-1] <= complete[curve]['radius'][-1] + 1e-6
        assert part[curve]['mean'] == pytest.approx(complete[curve]['mean'], rel=0.3)
    same = ('vendi', 'nearest', 'entropy', 'diversity', 'force_95_eV_A', 'atoms_cubed')
    assert [part['scores'][name] for name in same] == pytest.approx([complete['scores'][name] for name in same])


def test_the_curve_is_the_distance_to_the_nearest_chosen_frame(trajectories):
    selection, assessment = assess(trajectories, 'random', 7)
    frames = [one.frame(index) for one in trajectories for index in range(len(one))]
    features = describe_structures(frames, len(frames), [29, 79], SOAP).astype(np.float64)
    chosen = np.cumsum([0, *map(len, trajectories)])[selection.trajectory_indices] + selection.frame_indices
    distances = np.linalg.norm(features[:, None] - features[chosen], axis=2)
    for n, radius, mean in zip(*(assessment['curve'][name] for name in ('n', 'radius', 'mean')), strict=True):
        nearest = distances[:, : int(n)].min(axis=1)
        assert (radius, mean) == pytest.approx((nearest.max(), nearest.mean()), rel=1e-3)


def test_descriptors_of_jobs_are_used(trajectories, monkeypatch):
    selection, computed = assess(trajectories, 'fps', 10)
    features = [
        describe_structures([one.frame(index) for index in range(len(one))], len(one), [29, 79], SOAP)
        for one in trajectories
    ]
    described = {descriptor_key(SOAP): Descriptors(features, (29, 79), {})}
    monkeypatch.delattr('aiida_mlip_autopipe.sampling.pool.describe.describe_structures')
    found = assess_selection(trajectories, selection, SOAP, described=described, random_seed=1)
    assert found['curve'] == computed['curve']
    assert found['scores'] == computed['scores']
