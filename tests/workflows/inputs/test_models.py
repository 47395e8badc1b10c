"""The models of a campaign are found by their content, tested once, copied to computers and linked into jobs."""

import shutil
from pathlib import Path

import pytest
from aiida import orm
from aiida.engine import run_get_node
from ase.build import bulk
from support.errors import refused

from aiida_mlip_autopipe.aiida_internals import use_cache
from aiida_mlip_autopipe.calculations.explore import ExplorationCalculation, exploration_inputs
from aiida_mlip_autopipe.calculators import base
from aiida_mlip_autopipe.calculators.kinds.mace import MACESettings
from aiida_mlip_autopipe.calculators.kinds.sevennet import SevenNetSettings
from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError, ModelMissingError
from aiida_mlip_autopipe.data.model import ModelData
from aiida_mlip_autopipe.data.model_store import FOLDER, PLACED, find_model, record_model
from aiida_mlip_autopipe.data.seed import SeedData
from aiida_mlip_autopipe.exploration import RUNNER_VERSION, CalculatorRefusedError, ExplorationSettings, resolve_model
from aiida_mlip_autopipe.installation.codes import RECORDED, TESTED_MODELS, ensure_code, read_tested_models
from aiida_mlip_autopipe.jobs.resources import JobResources
from aiida_mlip_autopipe.structures.seed import Seed
from aiida_mlip_autopipe.workflows.exploration import ExplorationWorkChain
from aiida_mlip_autopipe.workflows.inputs import models
from aiida_mlip_autopipe.workflows.inputs.environments import Environments
from aiida_mlip_autopipe.workflows.inputs.job_code import JobCode
from aiida_mlip_autopipe.workflows.inputs.models import model_node, place_models


@pytest.fixture(scope='module')
def local_code(emt_code, tmp_path_factory):
    code, _ = ensure_code(emt_code.computer, 'sevennet')
    code.computer.set_property(FOLDER, str(tmp_path_factory.mktemp('models')))
    kept = code.base.extras.all
    yield code
    # Remove the invented results of self-tests.
    code.base.extras.reset(kept)


@pytest.fixture(scope='module')
def remote_code(aiida_profile):
    computer = orm.Computer(
        label='far',
        hostname='nowhere',
        transport_type='core.ssh_async',
        scheduler_type='core.slurm',
        workdir='/scratch',
    ).store()
    return orm.InstalledCode(label='python', computer=computer, filepath_executable='/usr/bin/python3').store()


@pytest.fixture
def file(tmp_path):
    path = tmp_path / 'my.model'
    path.write_bytes(b'weights')
    return path


def test_a_model_shipped_only_with_the_code_is_known_from_its_self_test(remote_code, monkeypatch):
    monkeypatch.setattr(base, 'find_spec', lambda name: None)
    settings = SevenNetSettings(model='7net-0')
    with refused(Code.VALUE_MISSING, 'calculator.model_sha256', '--model 7net-0'):
        model_node(settings, remote_code)
    about = {'name': '7net-0', 'shipped': True, 'elements': ['Cu'], 'cutoff_A': 5.0, 'versions': {'sevenn': '0.13'}}
    about[RECORDED] = '2026-01-02'
    older = {**about, RECORDED: '2026-01-01'}
    remote_code.base.extras.set(TESTED_MODELS, {'f' * 64: about, '0' * 64: older})
    node = model_node(settings, remote_code)
    assert (node.sha256, node.is_shipped, node.has_bytes) == ('f' * 64, True, False)
    assert node.base.attributes.get('elements') == ['Cu']
    assert node.base.attributes.get('versions') == {'sevenn': '0.13'}


def test_equal_nodes_are_shared_by_campaigns(remote_code, file):
    node = model_node(MACESettings(model=str(file)), remote_code)
    assert not node.is_stored
    assert model_node(MACESettings(model=str(file)), remote_code).uuid != node.uuid
    node.store()
    assert model_node(MACESettings(model=str(file)), remote_code).uuid == node.uuid
    assert model_node(MACESettings(model=str(file), store_model=False), remote_code).uuid != node.uuid


def test_a_file_with_an_unexpected_sha256_is_refused_at_submission(remote_code, file):
    with pytest.raises(CalculatorRefusedError) as caught:
        model_node(MACESettings(model=str(file), model_sha256='0' * 64), remote_code)
    assert caught.value.code == Code.MODEL_MISMATCH


def test_a_missing_file_is_replaced_by_a_stored_node_or_refused_with_its_sha256(remote_code, tmp_path):
    settings = MACESettings(model=str(tmp_path / 'missing.model'), model_sha256='a' * 64)
    with pytest.raises(ModelMissingError) as caught:
        model_node(settings, remote_code)
    assert caught.value.sha256 == 'a' * 64
    node = ModelData.from_shipped('x', 'a' * 64, 'mace').store()
    assert model_node(settings, remote_code).pk == node.pk


def test_a_model_that_cannot_be_loaded_is_refused_at_submission(local_code, monkeypatch, tmp_path):
    broken = tmp_path / 'broken.pth'
    broken.write_bytes(b'no weights')

    def fail(calculator, code):
        raise AutopipeError(Code.SELF_TEST_FAILED, calculator['model'])

    monkeypatch.setattr(models, 'self_test', fail)
    with refused(Code.SELF_TEST_FAILED, str(broken)):
        model_node(SevenNetSettings(model=str(broken)), local_code)


def test_a_file_is_tested_once_with_a_local_code(local_code, monkeypatch, file):
    calls = []

    def succeed(calculator, code):
        calls.append(calculator)
        about = {'model_name': 'my.model', 'model_is_shipped': False, 'elements': ['Cu'], 'cutoff_A': 5.0}
        return {**about, 'model_sha256': base.file_sha256(file), 'versions': {}, 'environment': {}}

    monkeypatch.setattr(models, 'self_test', succeed)
    first, second = (model_node(SevenNetSettings(model=str(file)), local_code) for _ in range(2))
    assert len(calls) == 1
    assert 'store_model' not in calls[0]
    assert first.base.attributes.get('elements') == second.base.attributes.get('elements') == ['Cu']


def inputs_of(job_code, environment, n_steps=2):
    return {
        **job_code.inputs(environment),
        'seed': SeedData.from_seed(Seed(bulk('Al', cubic=True), {'kind': 'structures'})),
        'random_seed': orm.Int(1),
        **exploration_inputs(ExplorationSettings(temperature_K=300, n_steps=n_steps, frame_interval=1)),
        'runner_version': orm.Str(RUNNER_VERSION),
    }


def test_an_exploration_whose_model_is_not_on_the_computer_is_refused_with_the_command_that_places_it(emt_code, file):
    file.write_bytes(b'weights that no other test places on this machine')
    model = ModelData.from_file(file, 'mace')
    job_code = JobCode(emt_code, MACESettings(model=str(file)), JobResources(), model=model)
    emt = JobCode(emt_code, models.CALCULATORS.load('emt').settings_class(), JobResources())
    job = inputs_of(job_code, Environments().node(emt))
    for process, inputs in ((ExplorationCalculation, job), (ExplorationWorkChain, {'job': job})):
        with pytest.raises(ValueError, match='calculator place FILE --computer localhost'):
            run_get_node(process, **inputs)


@pytest.mark.integration
@pytest.mark.mlip
def test_the_cache_identifies_a_model_by_its_content_alone(local_code, tmp_path):
    """A copy of the deleted file hits the cache, another file does not, and a missing file gives exit code 325."""

    def explore(name, **changed):
        path = tmp_path / name / 'model.pth'
        path.parent.mkdir()
        shutil.copy(resolve_model(SevenNetSettings(model='7net-0')), path)
        settings = SevenNetSettings(model=str(path), device='cpu', **changed)
        one = JobCode(local_code, settings, JobResources(), model=model_node(settings, local_code))
        environment = Environments().node(one)
        place_models([one], lambda message: None)
        path.unlink()
        return run(inputs_of(one, environment))

    def run(inputs):
        with use_cache('mlip_autopipe.explore', True):
            return run_get_node(ExplorationCalculation, **inputs)[1]

    first = explore('here')
    assert first.is_finished_ok, first.exit_message
    model = first.inputs.model
    assert first.outputs.result['model_sha256'] == model.sha256
    assert first.inputs.calculator.get_dict().keys().isdisjoint({'model', 'model_sha256', 'device'})
    assert {'Al', 'Cu'} <= set(model.base.attributes.get('elements'))
    assert (model.base.attributes.get('cutoff_A'), list(read_tested_models(local_code))[-1]) == (5.0, model.sha256)

    again = explore('there', store_model=False)
    assert again.base.caching.get_cache_source() == first.uuid
    assert again.inputs.model.pk != model.pk

    computer = local_code.computer
    computer.set_property(PLACED, {})
    assert find_model(computer, model.sha256) is None
    record_model(computer, model.sha256, '/no/such/model.pth')
    one = JobCode(local_code, SevenNetSettings(device='cpu'), JobResources(), model=model)
    lost = run(inputs_of(one, first.inputs.environment, n_steps=3))
    assert lost.exit_status == ExplorationCalculation.exit_codes.ERROR_MODEL_MISSING.status
    assert model.sha256 in lost.exit_message

    (tmp_path / 'others.pth').write_bytes(b'others')
    others = ModelData.from_file(tmp_path / 'others.pth', 'sevennet')
    record_model(computer, others.sha256, '/no/such/model.pth')
    one = JobCode(local_code, SevenNetSettings(device='cpu'), JobResources(), model=others)
    missed = run(inputs_of(one, first.inputs.environment))
    assert not missed.base.caching.is_created_from_cache
    # A missing file is placed again.
    place_models([JobCode(local_code, SevenNetSettings(), JobResources(), model=model)], lambda message: None)
    assert Path(find_model(computer, model.sha256)).is_file()
