import numpy as np
import pytest
from support.sampling import numbers_in, sampling

from aiida_mlip_autopipe.sampling import select_frames
from aiida_mlip_autopipe.sampling.pool.frames import collect_frames
from aiida_mlip_autopipe.sampling.pool.shares import report_few_chosen
from aiida_mlip_autopipe.structures.disagreement import LARGEST

KINDS = {'alloy': 'bulk', 'pure': 'bulk', 'slab': 'surface'}


@pytest.fixture
def trajectories(make_trajectory, rattled):
    """Return 20 frames of an alloy in bulk, 20 of a pure metal, and 20 of a surface of the alloy."""
    pure = rattled(20, 1)
    for atoms in pure:
        atoms.numbers[:] = 29
    frames = {'alloy': rattled(20, 2), 'pure': pure, 'slab': rattled(20, 3)}
    return [make_trajectory(structures, name) for name, structures in frames.items()]


def groups_in(pool, n_chosen):
    """Return the groups that are reported if this number of frames of each trajectory is chosen."""
    chosen = np.concatenate([20 * place + np.arange(n) for place, n in enumerate(n_chosen)])
    return {group['group']: group['n_selected'] for group in report_few_chosen(pool, chosen)['few_chosen']}


@pytest.mark.parametrize(
    ('n_chosen', 'expected'),
    [
        ((8, 8, 8), {}),
        ((12, 2, 10), {}),
        ((12, 1, 11), {'Cu': 1}),
        ((12, 12, 0), {'surface': 0}),
        # A proportional selection has four frames of each trajectory, which are too few for a conclusion.
        ((6, 0, 6), {}),
    ],
)
def test_groups_far_below_their_fraction_of_the_candidates_are_reported(trajectories, n_chosen, expected):
    assert groups_in(collect_frames(trajectories, kind_of_seed=KINDS), n_chosen) == expected


def test_a_selection_warns_of_each_group_from_which_few_frames_are_chosen(trajectories):
    for trajectory in trajectories:
        trajectory.extra[LARGEST] = np.full(20, 1.0 if trajectory.seed_id == 'alloy' else 0.0)
    settings = sampling('disagreement', n_structures=18, pool_factor=1, descriptor={'n_max': 3, 'l_max': 2})
    report = select_frames(trajectories, settings, random_seed=1, kinds=KINDS).report
    assert [(group['by'], group['group']) for group in report['few_chosen']] == [
        ('composition', 'Cu'),
        ('kind', 'surface'),
    ]
    assert [numbers_in(warning) for warning in report['warnings']] == [[0, 0, 33.3]] * 2


def test_a_proportional_selection_gives_no_warning(trajectories):
    report = select_frames(trajectories, sampling('stride', n_structures=18), random_seed=1, kinds=KINDS).report
    assert report['few_chosen'] == report['warnings'] == []
