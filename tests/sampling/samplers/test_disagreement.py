"""Selection by disagreement. The disagreement on each frame is known."""

from dataclasses import replace

import numpy as np
import pytest
from support.errors import refused
from support.sampling import numbers_in, sampling

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.sampling import select_frames
from aiida_mlip_autopipe.structures.disagreement import ENERGY, LARGEST, MEASURES, RELATIVE


@pytest.fixture
def evaluated(make_trajectory, rattled):
    """Return forty frames with increasing disagreement and decreasing relative disagreement."""
    trajectory = make_trajectory(rattled(40))
    values = np.linspace(0.01, 0.4, 40)
    measures = dict.fromkeys(MEASURES, values) | {RELATIVE: values[::-1]}
    return replace(trajectory, extra=measures)


def chosen(trajectories, settings):
    return sorted(select_frames(trajectories, settings, random_seed=1).frame_indices.tolist())


def test_only_frames_with_the_largest_disagreement_are_chosen(evaluated):
    picked = chosen([evaluated], sampling('disagreement', n_structures=4, pool_factor=2))
    assert len(picked) == 4
    assert min(picked) >= 32
    # With a factor of one, farthest point sampling has no choice.
    assert chosen([evaluated], sampling('disagreement', n_structures=4, pool_factor=1)) == [36, 37, 38, 39]


def test_farthest_point_sampling_chooses_among_these_frames(evaluated):
    settings = sampling('disagreement', n_structures=5, pool_factor=2)
    hardest = replace(
        evaluated,
        **{name: getattr(evaluated, name)[30:] for name in ('steps', 'positions', 'cells', 'energies', 'forces')},
        stresses=evaluated.stresses[30:],
        temperatures=evaluated.temperatures[30:],
        extra={},
    )
    farthest = select_frames([hardest], sampling('fps', n_structures=5), random_seed=1)
    picks = select_frames([evaluated], settings, random_seed=1)
    assert picks.frame_indices.tolist() == (30 + farthest.frame_indices).tolist()
    np.testing.assert_array_equal(picks.distances, farthest.distances)


def test_frames_can_be_chosen_by_relative_disagreement(evaluated):
    assert chosen([evaluated], sampling('disagreement', n_structures=3, pool_factor=1, by='relative')) == [0, 1, 2]


def test_frames_that_were_not_evaluated_are_never_chosen(evaluated, make_trajectory, rattled):
    values = np.where(np.arange(40) < 38, evaluated.extra[LARGEST], np.nan)
    partly = replace(evaluated, extra=dict.fromkeys(MEASURES, values))
    other = make_trajectory(rattled(5, random_seed=9), seed_id='not evaluated')
    selection = select_frames([partly, other], sampling('disagreement', n_structures=50), random_seed=1)
    assert len(selection) == 38
    assert set(selection.trajectory_indices) == {0}
    assert selection.report['n_without_disagreement'] == 7
    (warning,) = selection.report['warnings']
    assert numbers_in(warning) == [0, 38, 50]


def test_frames_with_less_than_the_minimum_disagreement_are_not_chosen(evaluated):
    assert min(chosen([evaluated], sampling('disagreement', n_structures=40, min_disagreement=0.3))) == 29


def test_frames_without_a_committee_are_refused(make_trajectory, rattled):
    with refused(Code.COMMITTEE_MISSING, '4', 'exploration.committee'):
        select_frames([make_trajectory(rattled(4))], sampling('disagreement'), random_seed=1)


def test_the_sampler_can_be_part_of_a_mix(evaluated):
    parts = [
        {'fraction': 0.5, 'sampler': {'kind': 'stride'}},
        {'fraction': 0.5, 'sampler': {'kind': 'disagreement', 'pool_factor': 1}},
    ]
    picked = chosen([evaluated], sampling('mix', n_structures=6, parts=parts))
    assert len(picked) == 6
    assert {37, 38, 39} <= set(picked)


def test_the_report_contains_the_disagreement_of_the_committee(evaluated):
    report = select_frames([evaluated], sampling('fps', n_structures=5), random_seed=1).report['committee']
    assert report['candidates']['n_evaluated'] == 40
    assert report['candidates']['max_eV_per_A'] == pytest.approx(0.4)
    assert report['selected']['n_evaluated'] == 5


def test_a_constant_energy_difference_for_each_composition_does_not_contribute_to_the_spread(make_trajectory, rattled):
    def make(shift, number):
        structures = rattled(4, random_seed=number)
        for atoms in structures:
            atoms.numbers[:] = number
        energies = shift + np.array([0.1, -0.1, 0.1, -0.1])
        measures = {name: np.ones(4) for name in MEASURES} | {ENERGY: energies}
        return replace(make_trajectory(structures, seed_id=str(number)), extra=measures)

    report = select_frames([make(3.0, 29), make(-2.0, 79)], sampling('fps', n_structures=2), random_seed=1).report
    assert report['committee']['energy_spread_eV'] == pytest.approx(0.1)
