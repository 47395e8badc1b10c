"""Samplers choose the same frames with environments from a job as with those that they compute."""

from dataclasses import replace

import numpy as np
import pytest
from support.errors import refused
from support.sampling import sampling, select

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.descriptors import environments
from aiida_mlip_autopipe.descriptors.describe import Descriptors, descriptor_key
from aiida_mlip_autopipe.descriptors.environments import project_environments, report_environments
from aiida_mlip_autopipe.descriptors.soap.settings import SoapSettings
from aiida_mlip_autopipe.sampling.pool.describe import fit_environments
from aiida_mlip_autopipe.sampling.pool.reference_dataset import read_reference_dataset

SMALL = SoapSettings(n_max=3, l_max=2)
WITHIN = {'kind': 'environment', 'descriptor': SMALL.model_dump()}
ENVIRONMENT = sampling('environment', n_structures=6, descriptor=SMALL)
SAMPLERS = [
    ENVIRONMENT,
    sampling('environment', n_structures=6, descriptor=SMALL, max_force_eV_per_A=5.0),
    sampling(
        'mix',
        n_structures=6,
        parts=[{'fraction': 0.5, 'sampler': {'kind': 'stride'}}, {'fraction': 0.5, 'sampler': WITHIN}],
    ),
    sampling('stratified', n_structures=8, by='seed', within=WITHIN),
]


@pytest.fixture
def trajectories(make_trajectory, rattled):
    """Return trajectories with cells of two sizes. Half of the frames of one have a large force."""
    forces = np.zeros((12, 4, 3))
    forces[::2] = 9.0
    small = replace(make_trajectory(rattled(12), seed_id='small'), forces=forces)
    return [make_trajectory([atoms * (2, 1, 1) for atoms in rattled(8, 5)], seed_id='large'), small]


def described(trajectories, reference=(), species=(29, 79)):
    """Return the descriptors as a job computes them."""
    pca = fit_environments(trajectories, species, SMALL)

    def project(structures):
        return np.concatenate(list(project_environments(structures, species, SMALL, pca)))

    features = [project([one.frame(index) for index in range(len(one))]) for one in trajectories]
    report = report_environments(SMALL, species, pca)
    descriptors = Descriptors(features, species, report, project(reference) if reference else None)
    return {descriptor_key(SMALL, 'environments'): descriptors}


@pytest.mark.parametrize('settings', SAMPLERS, ids=lambda settings: settings.kind)
def test_samplers_choose_the_same_frames_with_environments_from_a_job(trajectories, settings, monkeypatch):
    in_place = select(trajectories, settings)
    found = described(trajectories)
    monkeypatch.setattr(environments, 'describe_environments', None)
    by_job = select(trajectories[::-1], settings, described={
        key: replace(one, features=one.features[::-1]) for key, one in found.items()
    })  # fmt: skip
    np.testing.assert_array_equal(1 - by_job.trajectory_indices, in_place.trajectory_indices)
    np.testing.assert_array_equal(by_job.frame_indices, in_place.frame_indices)
    np.testing.assert_array_equal(by_job.gains, in_place.gains)
    assert by_job.report == in_place.report


@pytest.mark.parametrize('element', ['Cu', 'Al'])
def test_environments_of_a_reference_dataset_come_from_a_job(trajectories, tmp_path, element, monkeypatch):
    atoms = trajectories[0].frame(3)
    atoms.symbols[0] = element
    atoms.write(tmp_path / 'reference.traj')
    settings = ENVIRONMENT.model_copy(update={'reference_dataset': tmp_path / 'reference.traj'})
    in_place = select(trajectories, settings)
    reference = read_reference_dataset(tmp_path / 'reference.traj')
    species = sorted({29, 79, *atoms.numbers.tolist()})
    without, found = described(trajectories), described(trajectories, reference, tuple(species))
    # Descriptors from a job that did not have the reference dataset cannot be used.
    assert select(trajectories, settings, described=without).report == in_place.report
    monkeypatch.setattr(environments, 'describe_environments', None)
    by_job = select(trajectories, settings, described=found)
    np.testing.assert_array_equal(by_job.frame_indices, in_place.frame_indices)
    assert by_job.report == in_place.report


def test_the_components_do_not_depend_on_the_discarded_frames(trajectories, rattled, make_trajectory):
    wild = make_trajectory(rattled(4, amplitude=0.5), seed_id='wild')
    wild.energies[0] = np.nan
    with_wild = fit_environments([*trajectories, wild], (29, 79), SMALL)
    assert len(with_wild.mean) == 63
    calm = fit_environments(trajectories, (29, 79), SMALL)
    assert with_wild.variances[1] > 2 * calm.variances[1]
    limited = ENVIRONMENT.model_copy(update={'max_force_eV_per_A': 5.0})
    reports = [select(trajectories, one).report for one in (ENVIRONMENT, limited)]
    assert reports[0]['descriptor'] == reports[1]['descriptor']
    assert reports[0]['n_environments'] == reports[1]['n_environments'] + 6 * 4


def test_a_pca_without_finite_frames_is_refused(trajectories):
    for one in trajectories:
        one.energies[:] = np.nan
    with refused(Code.CANDIDATES_MISSING):
        fit_environments(trajectories, (29, 79), SMALL)


def test_the_environments_are_computed_once_for_a_coverage_target(trajectories, monkeypatch):
    n_described, describe = [], environments.describe_environments

    def count(structures, species, settings):
        for described in describe(structures, species, settings):
            n_described.append(len(described))
            yield described

    monkeypatch.setattr(environments, 'describe_environments', count)
    target = {'score': 0.5, 'descriptor': SMALL}
    settings = sampling('environment', n_structures=20, descriptor=SMALL, coverage_target=target)
    selection = select(trajectories, settings)
    assert 1 < len(selection) < 20
    # Once for the PCA, and once for all candidates.
    assert sum(n_described) == 2 * (12 * 4 + 8 * 8)
