import json

import numpy as np
import pytest
from support.sampling import sampling

from aiida_mlip_autopipe.descriptors.soap.settings import SoapSettings
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
