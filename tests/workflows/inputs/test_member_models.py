"""The models of a committee are separate inputs of a job, identified by their content."""

import json
import shutil
from copy import deepcopy

import pytest
from aiida import orm
from support.environments import environment_of
from support.errors import refused

from aiida_mlip_autopipe.calculations.model_link import find_model_fault, link_models
from aiida_mlip_autopipe.calculations.validators import calculator as validate_calculator
from aiida_mlip_autopipe.calculators.kinds.committee import CommitteeSettings
from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.data.model import ModelData
from aiida_mlip_autopipe.data.model_store import PLACED, record_model
from aiida_mlip_autopipe.installation.codes import TESTED_MODELS, read_tested_models, store_self_test
from aiida_mlip_autopipe.jobs.resources import JobResources
from aiida_mlip_autopipe.workflows.inputs.job_code import JobCode
from aiida_mlip_autopipe.workflows.inputs.models import member_models


@pytest.fixture(scope='module')
def code(aiida_profile):
    """A code on another computer, so that no self-test loads the files of these tests."""
    computer = orm.Computer(
        label='far-with-members',
        hostname='nowhere',
        transport_type='core.ssh_async',
        scheduler_type='core.slurm',
        workdir='/scratch',
    ).store()
    return orm.InstalledCode(label='python', computer=computer, filepath_executable='/usr/bin/python3').store()


@pytest.fixture
def make(code, tmp_path):
    """Return a function that makes a code with a committee of EMT and two files with some content."""

    def make(first=b'first', second=b'second', folder='here', **changed):
        (tmp_path / folder).mkdir(exist_ok=True)
        members = [{'kind': 'emt'}]
        for name, content in (('a.model', first), ('b.model', second)):
            path = tmp_path / folder / f'{folder}-{name}'
            path.write_bytes(content)
            members.append({'kind': 'mace', 'model': str(path), **changed})
        settings = CommitteeSettings.model_validate({'members': members})
        return JobCode(code, settings, JobResources(), member_models=member_models(settings, code))

    return make


def hashes_of(job_code):
    inputs = job_code.inputs(orm.Dict(environment_of().model_dump(mode='json')))
    nodes = inputs | inputs.pop('member_models')
    return {name: node.store().base.caching.compute_hash() for name, node in nodes.items()}


def test_the_models_are_named_by_their_members_and_the_settings_contain_no_path(make, tmp_path):
    one = make()
    assert {name: model.name for name, model in one.member_models.items()} == {
        'member_1': 'here-a.model',
        'member_2': 'here-b.model',
    }
    inputs = one.inputs(orm.Dict())
    assert 'here' not in json.dumps(inputs['calculator'].get_dict())
    assert inputs['member_models'] == one.member_models


def test_moving_the_files_changes_no_input_but_other_content_or_another_order_does(make):
    expected, key = hashes_of(make()), make().key
    assert expected.keys() == {'code', 'calculator', 'environment', 'member_1', 'member_2'}
    for moved in (make(folder='there'), make(folder='hash-only', store_model=False)):
        assert (hashes_of(moved), moved.key) == (expected, key)
    for other in (make(second=b'other'), make(b'second', b'first')):
        assert hashes_of(other) != expected
        assert other.key != key


def test_files_may_be_deleted_once_their_models_are_inputs(make, tmp_path):
    one = make()
    expected = hashes_of(one)
    shutil.rmtree(tmp_path / 'here')
    assert hashes_of(one) == expected
    assert all(model.has_bytes for model in one.member_models.values())


def test_a_file_with_an_unexpected_sha256_is_refused_with_its_member(code, tmp_path):
    file = tmp_path / 'a.model'
    file.write_bytes(b'first')
    member = {'kind': 'mace', 'model': str(file), 'model_sha256': '0' * 64}
    settings = CommitteeSettings.model_validate({'members': [{'kind': 'emt'}, member]})
    with refused(Code.MODEL_MISMATCH, 'calculator.members[1].model_sha256: '):
        member_models(settings, code)


def test_each_model_is_linked_into_its_own_folder_and_a_shipped_one_is_passed_by_name(code, make):
    one = make()
    models = {**one.member_models, 'member_2': ModelData.from_shipped('7net-0', 'f' * 64, 'sevennet')}
    sha256 = models['member_1'].sha256
    record_model(code.computer, sha256, '/models/a.model')
    members = [{'kind': 'emt'}, {'kind': 'mace'}, {'kind': 'sevennet'}]
    settings, links = link_models({'kind': 'committee', 'members': members}, {'member_models': models}, code.computer)
    link = 'model/member_1/here-a.model'
    assert settings['members'] == [
        {'kind': 'emt'},
        {'kind': 'mace', 'model': link, 'model_sha256': sha256},
        {'kind': 'sevennet', 'model': '7net-0', 'model_sha256': 'f' * 64},
    ]
    assert links == [(code.computer.uuid, '/models/a.model', link)]


@pytest.fixture
def inputs(code, make):
    """The inputs of a job whose models are on the computer."""
    one = make()
    for model in one.member_models.values():
        record_model(code.computer, model.sha256, f'/models/{model.name}')
    yield one.inputs(orm.Dict({'device': 'cpu'}))
    code.computer.set_property(PLACED, {})


def test_complete_models_are_accepted(inputs):
    assert validate_calculator(inputs, ()) is None


@pytest.mark.parametrize(
    ('change', 'place'),
    [
        (lambda models: {'member_1': models['member_1']}, 'member_models.member_2: missing'),
        (lambda models: {**models, 'member_0': models['member_1']}, 'member_models.member_0: this model'),
        (lambda models: {**models, 'member_3': models['member_1']}, 'member_models.member_3: '),
        (
            lambda models: {**models, 'member_1': ModelData.from_shipped('7net-0', 'f' * 64, 'sevennet')},
            'member_models.member_1: this model',
        ),
        (lambda models: {**models, 'member_2': models['member_1']}, 'calculator'),
    ],
)
def test_models_that_do_not_match_the_members_are_refused(inputs, change, place):
    found = validate_calculator({**inputs, 'member_models': change(inputs['member_models'])}, ())
    assert found is not None
    assert found.startswith(place)
    assert len(found.splitlines()) == 1


def test_a_model_that_is_not_on_the_computer_or_in_the_settings_is_refused(code, inputs):
    calculator = deepcopy(inputs['calculator'].get_dict())
    calculator['members'][1]['model'] = 'a.model'
    assert '`member_models.member_1`' in find_model_fault({**inputs, 'calculator': orm.Dict(calculator)})
    code.computer.set_property(PLACED, {})
    assert [line.partition(':')[0] for line in find_model_fault(inputs).splitlines()] == [
        'member_models.member_1',
        'member_models.member_2',
    ]


def test_a_calculator_without_members_takes_no_models_of_members(inputs):
    changed = {**inputs, 'calculator': orm.Dict({'kind': 'emt', 'cutoff_A': 6.6})}
    assert len(validate_calculator(changed, ()).splitlines()) == 2


def test_a_self_test_records_the_model_of_each_member(code):
    def facts(name):
        about = {'model_name': name, 'model_is_shipped': False, 'elements': [name], 'cutoff_A': 5.0, 'versions': {}}
        return {**about, 'model_sha256': name * 32}

    report = {'model_sha256': None, 'members': [facts('Cu'), facts('Au')], 'environment': {}}
    store_self_test(code, {'kind': 'committee'}, report)
    assert {sha256: found['elements'] for sha256, found in read_tested_models(code).items()} == {
        'Cu' * 32: ['Cu'],
        'Au' * 32: ['Au'],
    }
    code.base.extras.delete(TESTED_MODELS)
