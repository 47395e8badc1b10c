"""The inputs and files of a training job."""

import pytest
from aiida import orm
from aiida.common import LinkType
from ase.build import bulk
from support.trainings import *  # noqa: F403

from aiida_mlip_autopipe.calculations.training.replay import replay_node
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


@pytest.mark.parametrize(
    ('recipe', 'has_model', 'has_replay', 'word'),
    [
        ('naive', True, False, None),
        ('replay', True, True, None),
        ('scratch', False, False, None),
        ('naive', False, False, 'model'),
        ('replay', False, True, 'model'),
        ('scratch', True, False, 'model'),
        ('naive', True, True, 'replay'),
        ('scratch', False, True, 'replay'),
    ],
)
def test_inputs_must_match_the_recipe(training_inputs, recipe, has_model, has_replay, word):
    ports = TrainingCalculation.spec().inputs
    inputs = dict(ports.pre_process({**training_inputs, 'training': orm.Dict({'kind': 'sevennet', 'recipe': recipe})}))
    if not has_model:
        del inputs['model']
    if has_replay:
        inputs['replay'] = replay_node([bulk('SiC', 'zincblende', a=4.4)])
    error = ports.validate(inputs)
    assert error is None if word is None else word in error.message


@pytest.mark.parametrize(
    ('code', 'n_done', 'valid'),
    [
        ('ERROR_OUT_OF_WALLTIME', 2, True),
        ('ERROR_KILLED', 2, True),
        # Without a new epoch, a repeated job would get the same failure from the cache.
        ('ERROR_OUT_OF_WALLTIME', 1, False),
        ('ERROR_KILLED', 1, False),
        ('ERROR_TRAINING_FAILED', 2, False),
        ('ERROR_CHECKPOINT_UNREADABLE', 2, False),
    ],
)
def test_a_job_that_stopped_after_an_epoch_is_taken_from_the_cache(emt_code, code, n_done, valid):
    node = orm.CalcJobNode(computer=emt_code.computer, process_type=TrainingCalculation.build_process_type())
    node.store()
    node.set_process_state('finished')
    node.set_exit_status(TrainingCalculation.exit_codes[code].status)
    result = orm.Dict({'first_step': 1, 'last_step': n_done}).store()
    result.base.links.add_incoming(node, LinkType.CREATE, 'result')
    assert TrainingCalculation.is_valid_cache(node) == valid
