"""Samplers choose the same frames with descriptors from a job as with those that they compute."""

from dataclasses import replace

import numpy as np
import pytest
from ase.build import bulk
from support.errors import refused
from support.sampling import sampling, select

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.descriptors.describe import Descriptors, descriptor_key
from aiida_mlip_autopipe.descriptors.learned import LearnedSettings
from aiida_mlip_autopipe.descriptors.soap.settings import SoapSettings, describe_structures

SMALL = SoapSettings(n_max=3, l_max=2)


@pytest.fixture
def trajectories(make_trajectory, rattled):
    return [make_trajectory(rattled(12, number), seed_id=f'seed {number}') for number in range(2)]


def described(trajectories, settings=SMALL, species=(29, 79)):
    features = [
        describe_structures([one.frame(index) for index in range(len(one))], len(one), species, SMALL)
        for one in trajectories
    ]
    return {descriptor_key(settings): Descriptors(features, species, {'n_features': features[0].shape[1]})}


SAMPLERS = [
    sampling('fps', n_structures=6, descriptor=SMALL),
    sampling('direct', n_structures=6, descriptor=SMALL),
    sampling('stratified', n_structures=6, within={'kind': 'fps', 'descriptor': SMALL}),
    sampling(
        'mix',
        n_structures=6,
        parts=[
            {'fraction': 0.5, 'sampler': {'kind': 'stride'}},
            {'fraction': 0.5, 'sampler': {'kind': 'fps', 'descriptor': SMALL.model_dump()}},
        ],
    ),
]


@pytest.mark.parametrize('settings', SAMPLERS, ids=lambda settings: settings.kind)
def test_samplers_choose_the_same_frames_with_descriptors_from_a_job(trajectories, settings, monkeypatch):
    in_place = select(trajectories, settings)
    found = described(trajectories)
    monkeypatch.setattr('aiida_mlip_autopipe.sampling.pool.describe.describe_structures', None)
    by_job = select(trajectories, settings, described=found)
    np.testing.assert_array_equal(by_job.trajectory_indices, in_place.trajectory_indices)
    np.testing.assert_array_equal(by_job.frame_indices, in_place.frame_indices)
    np.testing.assert_array_equal(by_job.distances, in_place.distances)


def test_descriptors_with_other_settings_are_ignored(trajectories):
    """The descriptors from the job are wrong, but they are for other settings, so the selection ignores them."""
    wrong = described(trajectories, SoapSettings(n_max=4, l_max=2))
    settings = sampling('fps', n_structures=6, descriptor=SMALL)
    plain = select(trajectories, settings)
    for descriptors in wrong.values():
        for features in descriptors.features:
            features[:] = 0.0
    again = select(trajectories, settings, described=wrong)
    np.testing.assert_array_equal(again.frame_indices, plain.frame_indices)


@pytest.mark.parametrize('element', ['Cu', 'Al'])
def test_descriptors_of_a_reference_dataset_are_computed_in_addition_to_those_from_a_job(
    trajectories, tmp_path, element
):
    """If an element of the reference dataset was not in the job, all descriptors are computed again."""
    atoms = bulk('Cu', cubic=True)
    atoms.symbols[0] = element
    atoms.write(tmp_path / 'reference.traj')
    settings = sampling('fps', n_structures=6, descriptor=SMALL, reference_dataset=tmp_path / 'reference.traj')
    plain = select(trajectories, settings)
    by_job = select(trajectories, settings, described=described(trajectories))
    np.testing.assert_array_equal(by_job.frame_indices, plain.frame_indices)


def test_samplers_support_learned_descriptors(trajectories):
    settings = sampling('fps', n_structures=6, descriptor=LearnedSettings())
    found = described(trajectories, LearnedSettings())
    by_job = select(trajectories, settings, described=found)
    soap = select(trajectories, sampling('fps', n_structures=6, descriptor=SMALL))
    np.testing.assert_array_equal(by_job.frame_indices, soap.frame_indices)
    assert by_job.report['descriptor']['kind'] == 'learned'


def test_learned_descriptors_of_a_reference_dataset_come_from_a_job(trajectories, tmp_path):
    """The descriptors of the reference structure are those of the first frame of the first seed."""
    bulk('Al').write(tmp_path / 'reference.traj')
    ((key, descriptors),) = described(trajectories, LearnedSettings()).items()
    found = {key: replace(descriptors, reference=descriptors.features[0][:1])}
    settings = sampling(
        'fps', n_structures=24, descriptor=LearnedSettings(), reference_dataset=tmp_path / 'reference.traj'
    )
    selection = select(trajectories, settings, described=found)
    assert len(selection) == 23
    assert np.isfinite(selection.distances[0])
    with refused(Code.DESCRIPTORS_MISSING):
        select(trajectories, settings, described={key: descriptors})


def test_learned_descriptors_without_a_job_are_refused(trajectories):
    with refused(Code.DESCRIPTORS_MISSING, 'soap'):
        select(trajectories, sampling('fps', descriptor=LearnedSettings()))


def test_candidates_in_a_subset_have_the_correct_descriptors(trajectories):
    """Half of the frames are discarded, so that the rows of the pool and of the descriptors differ."""
    forces = np.zeros((12, 4, 3))
    forces[::2] = 9.0
    harder = [replace(trajectories[0], forces=forces), trajectories[1]]
    settings = sampling('fps', n_structures=5, descriptor=SMALL, max_force_eV_per_A=5.0)
    plain = select(harder, settings)
    by_job = select(harder, settings, described=described(harder))
    np.testing.assert_array_equal(by_job.frame_indices, plain.frame_indices)
    np.testing.assert_array_equal(by_job.trajectory_indices, plain.trajectory_indices)
