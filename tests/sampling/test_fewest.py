"""All samplers stop at a coverage target. The descriptors of the frames are known."""

from importlib.metadata import EntryPoint
from typing import Literal

import numpy as np
import pytest
from ase.io import write
from pydantic import ValidationError
from support.sampling import numbers_in, sampling, select

from aiida_mlip_autopipe.descriptors.describe import Descriptors, descriptor_key
from aiida_mlip_autopipe.descriptors.learned import LearnedSettings
from aiida_mlip_autopipe.descriptors.soap.settings import SoapSettings
from aiida_mlip_autopipe.sampling import SAMPLERS, Picks, Sampler, SamplerSettings
from aiida_mlip_autopipe.sampling.pool import describe as descriptors
from aiida_mlip_autopipe.structures.disagreement import LARGEST

LEARNED = {'kind': 'learned'}
SMALL = {'n_max': 3, 'l_max': 2}
FIELDS = {
    'random': {},
    'stride': {},
    'fps': {'descriptor': LEARNED},
    'direct': {'descriptor': LEARNED},
    'environment': {'descriptor': SMALL, 'n_clusters': 20},
    'disagreement': {'descriptor': LEARNED},
    'stratified': {'within': {'kind': 'fps', 'descriptor': LEARNED}},
    'mix': {'parts': [{'fraction': 1, 'sampler': {'kind': 'random'}}, {'fraction': 1, 'sampler': {'kind': 'stride'}}]},
}


class BackwardSettings(SamplerSettings):
    kind: Literal['backward'] = 'backward'


class BackwardSampler(Sampler):
    """A sampler of another package, which has no code for coverage targets."""

    settings_class = BackwardSettings

    def pick(self, pool, n_structures, rng):
        indices = np.arange(len(pool))[::-1][:n_structures]
        return Picks(indices, np.full(len(indices), np.nan))


@pytest.fixture(params=[*FIELDS, 'backward'])
def kind(request, monkeypatch):
    point = EntryPoint('backward', f'{__name__}:BackwardSampler', SAMPLERS.group)
    monkeypatch.setitem(SAMPLERS._entry_points, 'backward', point)
    return request.param


@pytest.fixture
def trajectories(make_trajectory, rattled):
    made = [make_trajectory(rattled(20, number), f'seed{number}') for number in range(2)]
    for one in made:
        one.extra[LARGEST] = np.linspace(1.0, 0.1, 20)
    return made


@pytest.fixture
def known_descriptors():
    """Return descriptors on a line. The frames of the first seed share a bin; each of the second has a separate one."""
    crowd = np.linspace(0.0, 0.015, 20)
    apart = np.linspace(0.05, 1.0, 20)
    features = [np.stack([x, 0.0 * x], axis=1).astype(np.float32) for x in (crowd, apart)]
    return {descriptor_key(LearnedSettings()): Descriptors(features, (29, 79), {'n_features': 2})}


def choose(trajectories, known_descriptors, kind, score, n_structures=40, **fields):
    target = {'score': score, 'descriptor': LEARNED}
    fields = FIELDS.get(kind, {}) | fields
    settings = sampling(kind, n_structures=n_structures, coverage_target=target, **fields)
    return select(trajectories, settings, described=known_descriptors)


def occupied(selection):
    """Return the known score: there are 21 bins, one of which contains all frames of the first seed."""
    first = int((selection.trajectory_indices == 0).any())
    return (first + int((selection.trajectory_indices == 1).sum())) / 21


def test_the_target_is_reached_but_not_with_one_structure_fewer(trajectories, known_descriptors, kind):
    selection = choose(trajectories, known_descriptors, kind, 0.5)
    assert 11 <= len(selection) < 40
    assert selection.report['coverage_score'] == pytest.approx(occupied(selection))
    assert occupied(selection) >= 0.5
    assert selection.report['warnings'] == []
    fewer = choose(trajectories, known_descriptors, kind, 0.5, n_structures=len(selection) - 1)
    assert len(fewer) == len(selection) - 1
    assert occupied(fewer) < 0.5


@pytest.mark.parametrize('kind', ['fps', 'backward'], indirect=True)
def test_samplers_that_choose_each_bin_once_need_one_structure_per_bin(trajectories, known_descriptors, kind):
    selection = choose(trajectories, known_descriptors, kind, 0.9)
    assert len(selection) == 19
    # 0.9 of 21 bins is 18.9.
    assert occupied(selection) == pytest.approx(19 / 21)


def test_for_an_unreachable_target_the_maximum_number_is_chosen_with_a_warning(trajectories, known_descriptors, kind):
    selection = choose(trajectories, known_descriptors, kind, 1.0, n_structures=6)
    assert len(selection) == 6
    (warning,) = selection.report['warnings']
    score = selection.report['coverage_score']
    assert score == pytest.approx(occupied(selection))
    assert numbers_in(warning) == pytest.approx([score, 1, 6], rel=1e-2)


def test_all_frames_together_reach_any_target(trajectories, known_descriptors):
    selection = choose(trajectories, known_descriptors, 'stride', 1.0, n_structures=1000)
    assert selection.report['coverage_score'] == 1.0
    assert selection.report['warnings'] == []


@pytest.mark.parametrize(('kind', 'n_at_most'), [('random', 3), ('fps', 3), ('stride', 8)], indirect=['kind'])
def test_few_selections_are_needed_to_find_the_number(trajectories, known_descriptors, kind, n_at_most, monkeypatch):
    sampler, numbers = SAMPLERS.load(kind), []
    pick = sampler.pick

    def count(self, pool, n_structures, rng):
        numbers.append(n_structures)
        return pick(self, pool, n_structures, rng)

    monkeypatch.setattr(sampler, 'pick', count)
    selection = choose(trajectories, known_descriptors, kind, 0.5)
    assert numbers[0] == 40
    assert {len(selection), len(selection) - 1} <= set(numbers)
    assert len(numbers) <= n_at_most


def test_the_reference_dataset_contributes_to_the_coverage(trajectories, tmp_path):
    frames = [one.frame(place) for one in trajectories for place in range(20)]
    frames[0].write(tmp_path / 'one.traj')
    for atoms in frames:
        atoms.rotate(90, 'z', rotate_cell=True)
    write(tmp_path / 'all.traj', frames)
    target = {'score': 0.9, 'descriptor': SMALL}
    numbers = [
        len(select(trajectories, sampling('random', coverage_target=target, reference_dataset=tmp_path / name)))
        for name in ('one.traj', 'all.traj')
    ]
    assert numbers[0] > 10
    assert numbers[1] == 1


def test_descriptors_are_computed_once(trajectories, monkeypatch):
    calls, describe = [], descriptors.describe_structures

    def count(structures, n_structures, species, settings):
        calls.append(n_structures)
        return describe(structures, n_structures, species, settings)

    monkeypatch.setattr(descriptors, 'describe_structures', count)
    settings = sampling('fps', n_structures=40, descriptor=SMALL, coverage_target={'score': 0.5, 'descriptor': SMALL})
    chosen = select(trajectories, settings)
    assert calls == [40]
    plain = select(trajectories, sampling('fps', n_structures=len(chosen), descriptor=SMALL))
    np.testing.assert_array_equal(chosen.frame_indices, plain.frame_indices)
    np.testing.assert_array_equal(chosen.distances, plain.distances)


def test_the_sizes_of_held_out_sets_are_fractions_of_the_maximum_number(trajectories, known_descriptors):
    # With different energies, no frame is a copy of a frame in the other group.
    trajectories[0].energies[:] = 1.0
    selection = choose(trajectories, known_descriptors, 'random', 0.1, n_structures=20, test_fraction=0.2)
    assert selection.splits.count('test') == 4
    assert 1 <= selection.splits.count('train') < 16


def test_the_descriptor_of_the_target_is_soap_by_default():
    assert sampling('random', coverage_target={'score': 0.9}).coverage_target.descriptor == SoapSettings()


@pytest.mark.parametrize('target', [{}, {'score': 0}, {'score': 1.1}, {'score': 0.5, 'descriptor': {'kind': 'x'}}])
def test_an_invalid_target_is_refused(target):
    with pytest.raises(ValidationError):
        sampling('random', coverage_target=target)
