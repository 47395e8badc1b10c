"""The inputs and files of a training job."""

import pytest
from aiida import orm
from support.trainings import *  # noqa: F403

from aiida_mlip_autopipe.calculations.training.train import TrainingCalculation, write_job
from aiida_mlip_autopipe.jobs.contract import JOB_FILE
from aiida_mlip_autopipe.jobs.environment import Environment
from aiida_mlip_autopipe.training.contract import TrainingJob
from aiida_mlip_autopipe.training.errors import read_frames

pytestmark = pytest.mark.mlip


def test_the_files_of_a_job_are_its_sets_and_its_settings(training_inputs, tmp_path):
    folder = tmp_path / 'job'
    folder.mkdir()
    environment = Environment.model_validate(training_inputs['environment'].get_dict())
    training_inputs['dataset'].store()
    write_job(training_inputs, {'kind': 'sevennet', 'model': '7net-0'}, folder, environment=environment)
    assert {path.name for path in folder.iterdir()} == {JOB_FILE, 'set-train.extxyz', 'set-valid.extxyz'}
    job = TrainingJob.model_validate_json((folder / JOB_FILE).read_text())
    assert (job.random_seed, job.training) == (3, {'kind': 'sevennet', 'n_epochs': 2})
    assert job.calculator == {'kind': 'sevennet', 'model': '7net-0'}
    assert {split: len(read_frames(folder / name)) for split, name in job.sets.items()} == {'train': 4, 'valid': 2}


@pytest.mark.parametrize(
    ('changes', 'words'),
    [
        ({'splits': ['train'] * 6}, ['splits', "'valid'"]),
        ({'splits': ['train', 'valid']}, ['splits', '2', '6']),
        ({'splits': ['train', 'dev', *['valid'] * 4]}, ['splits', 'dev']),
        ({'training': {'kind': 'sevennet', 'n_epochs': 0}}, ['training.n_epochs']),
        ({'training': {'kind': 'torch'}}, ['training.kind', 'torch']),
        ({'training': {'kind': 'sevennet', 'model': '7net-0'}}, ['training.model']),
        ({'random_seed': -1}, ['random_seed']),
    ],
)
def test_invalid_inputs_are_refused(training_inputs, changes, words):
    ports = TrainingCalculation.spec().inputs
    valid = dict(ports.pre_process(dict(training_inputs)))
    assert ports.validate(valid) is None
    message = ports.validate(valid | {name: orm.to_aiida_type(value) for name, value in changes.items()}).message
    assert [word for word in words if word not in message] == []


def test_a_training_job_without_a_model_is_refused(training_inputs):
    ports = TrainingCalculation.spec().inputs
    valid = dict(ports.pre_process(dict(training_inputs)))
    del valid['model']
    assert 'model' in ports.validate(valid).message


def test_unfinished_training_jobs_are_not_taken_from_the_cache():
    codes = TrainingCalculation.exit_codes
    assert all(code.invalidates_cache for code in (codes.ERROR_OUT_OF_WALLTIME, codes.ERROR_TRAINING_FAILED))
