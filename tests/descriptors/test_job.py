"""A descriptor job computes the same descriptors as are computed without a job, or reports why it cannot."""

import numpy as np
import pytest
from support.sampling import numbers_in

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.descriptors import DESCRIPTORS_VERSION
from aiida_mlip_autopipe.descriptors.contract import DESCRIPTORS_FILE, STRUCTURES_FILE
from aiida_mlip_autopipe.descriptors.environments import project_environments, report_environments
from aiida_mlip_autopipe.descriptors.soap.settings import SoapSettings, describe_structures
from aiida_mlip_autopipe.jobs.contract import STOP_FILE
from aiida_mlip_autopipe.sampling.pool.describe import fit_environments
from aiida_mlip_autopipe.structures.structures_file import Structures, write_structures

SMALL = SoapSettings(n_max=3, l_max=2)


def test_structures_are_read_without_loss_of_precision(trajectories, tmp_path):
    write_structures(tmp_path / 'structures.npz', trajectories)
    read = list(Structures(tmp_path / 'structures.npz'))
    frames = [one.frame(index) for one in trajectories for index in range(len(one))]
    assert len(read) == len(frames) == 9
    for one, other in zip(read, frames, strict=True):
        for array in ('numbers', 'positions', 'cell', 'pbc'):
            np.testing.assert_array_equal(getattr(one, array), getattr(other, array))


def test_soap_of_a_job_is_bitwise_identical_to_that_of_a_selection(trajectories, describe):
    result = describe(trajectories, descriptor=SMALL.model_dump())
    assert (result.outcome, result.n_frames) == ('completed', 9)
    features = np.load(describe.folder / DESCRIPTORS_FILE)
    assert features.dtype == np.float32
    structures = [one.frame(index) for one in trajectories for index in range(len(one))]
    np.testing.assert_array_equal(features, describe_structures(structures, 9, (1, 8, 29, 79), SMALL))
    assert result.statistics == {'n_features': features.shape[1], 'compression': 'off'}


def test_environments_of_a_job_are_bitwise_identical_to_those_of_a_selection(trajectories, describe):
    species = (1, 8, 29, 79)
    pca = fit_environments(trajectories, species, SMALL)
    result = describe(trajectories, descriptor=SMALL.model_dump(), components=pca)
    assert (result.outcome, result.n_frames) == ('completed', 9)
    structures = [one.frame(index) for one in trajectories for index in range(len(one))]
    expected = np.concatenate(list(project_environments(structures, species, SMALL, pca)))
    features = np.load(describe.folder / DESCRIPTORS_FILE)
    assert features.dtype == np.float32
    assert features.shape == (3 * 4 + 4 * 8 + 2 * 3, expected.shape[1])
    np.testing.assert_array_equal(features, expected)
    assert result.statistics == report_environments(SMALL, species, pca)


def test_a_stopped_environment_job_reports_the_number_of_finished_structures(trajectories, describe):
    pca = fit_environments(trajectories, (1, 8, 29, 79), SMALL)
    (describe.folder / STOP_FILE).touch()
    result = describe(trajectories, descriptor=SMALL.model_dump(), components=pca)
    assert (result.outcome, result.n_frames) == ('stopped', 1)
    assert numbers_in(result.message) == [1, 9]


def test_an_unsupported_element_is_refused(trajectories, describe):
    result = describe(trajectories, species=(29, 79))
    assert (result.outcome, result.code) == ('refused', Code.ELEMENT_UNSUPPORTED)
    assert 'H, O' in result.message
    assert 'Cu' not in result.message


@pytest.mark.parametrize(
    ('changes', 'code', 'values'),
    [
        ({'contract_version': 99}, Code.CONTRACT_VERSION, ['job.json', '99']),
        ({'descriptors_version': '0'}, Code.CONTRACT_VERSION, ['job.json', ' 0 ', 'descriptors', DESCRIPTORS_VERSION]),
        ({'descriptor': {'kind': 'sope'}}, Code.SETTINGS_REFUSED, ['descriptor', 'sope']),
        ({'descriptor': {'kind': 'soap', 'n_max': 0}}, Code.SETTINGS_REFUSED, ['descriptor', 'n_max']),
        ({'descriptor': {'kind': 'learned'}}, Code.SETTINGS_REFUSED, ['calculator']),
        ({'descriptor': {'kind': 'learned'}, 'calculator': {'kind': 'emt'}}, Code.SETTINGS_REFUSED, ["'emt'"]),
        ({'structures': 'other.npz'}, Code.FILE_UNREADABLE, ['structures', 'other.npz']),
        ({'pca': 'other.npz'}, Code.FILE_UNREADABLE, ['components', 'other.npz']),
        ({'image_sha256': 'a' * 64}, Code.MODEL_MISMATCH, ['image', 'a' * 12]),
    ],
)
def test_an_invalid_job_is_refused(trajectories, describe, changes, code, values):
    result = describe(trajectories, **changes)
    assert (result.outcome, result.code) == ('refused', code)
    assert [value for value in values if value not in result.message] == []


def test_a_stopped_job_reports_the_number_of_finished_structures(trajectories, describe, monkeypatch):
    monkeypatch.setattr('aiida_mlip_autopipe.descriptors.soap.settings.BLOCK', 4)
    # The size of a block is proportional to the number of threads.
    monkeypatch.setenv('OMP_NUM_THREADS', '1')
    (describe.folder / STOP_FILE).touch()
    result = describe(trajectories, descriptor=SMALL.model_dump())
    assert result.outcome == 'stopped'
    assert numbers_in(result.message) == [4, 9]


def test_descriptors_that_are_not_finite_fail_the_job(trajectories, describe, monkeypatch):
    block = np.zeros((9, 2))
    block[5:, 1] = np.nan
    monkeypatch.setattr('aiida_mlip_autopipe.descriptors.job.describe_in_blocks', lambda *_: iter([block]))
    result = describe(trajectories)
    assert result.outcome == 'failed'
    assert numbers_in(result.message) == [5]


def test_the_structures_file_is_small(trajectories, tmp_path):
    """An atom takes 24 bytes for its position and 8 for its element. A frame takes about 90 more."""
    many = [trajectories[1]] * 100
    write_structures(tmp_path / STRUCTURES_FILE, many)
    assert (tmp_path / STRUCTURES_FILE).stat().st_size < 400 * (8 * 32 + 100) + 2000
