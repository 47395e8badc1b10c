import hashlib
from pathlib import Path

import pytest
from aiida import orm
from support.errors import refused

from aiida_mlip_autopipe.calculations.model_link import find_model_fault, link_model
from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import ModelMissingError
from aiida_mlip_autopipe.data.model import ModelData
from aiida_mlip_autopipe.data.model_store import FOLDER, PLACED, find_model
from aiida_mlip_autopipe.installation.codes import ensure_computer
from aiida_mlip_autopipe.installation.models import ensure_model_folder, ensure_placed, place_model

SHA256 = hashlib.sha256(b'weights').hexdigest()


@pytest.fixture
def computer(aiida_profile, tmp_path) -> orm.Computer:
    computer, _ = ensure_computer()
    computer.set_property(FOLDER, str(tmp_path / 'models'))
    computer.set_property(PLACED, {})
    return computer


@pytest.fixture
def model(tmp_path) -> Path:
    file = tmp_path / 'tiny.model'
    file.write_bytes(b'weights')
    return file


@pytest.fixture
def code(computer):
    return orm.InstalledCode(label='python', computer=computer, filepath_executable='/usr/bin/python3').store()


@pytest.fixture
def image(computer):
    return orm.ContainerizedCode(
        label='image',
        computer=computer,
        filepath_executable='/python',
        image_name='/mace.sif',
        engine_command='apptainer exec {image_name}',
    ).store()


def test_a_model_is_copied_once_and_again_if_the_copy_is_damaged(computer, model):
    path, copied = place_model(computer, model)
    assert copied
    assert Path(path).read_bytes() == b'weights'
    assert Path(path).name == 'tiny.model'
    assert place_model(computer, model) == (path, False)
    Path(path).write_bytes(b'weight')
    assert place_model(computer, model) == (path, True)
    assert Path(path).read_bytes() == b'weights'
    assert [file.name for file in Path(path).parent.iterdir()] == ['tiny.model']


def test_the_same_content_under_another_name_is_not_copied_again(computer, model):
    path, _ = place_model(computer, model)
    assert place_model(computer, model.rename(model.with_name('renamed.model'))) == (path, False)


def test_models_with_the_same_name_and_different_content_do_not_overwrite_each_other(computer, model):
    first, _ = place_model(computer, model)
    model.write_bytes(b'others')
    second, _ = place_model(computer, model)
    assert Path(first).read_bytes() != Path(second).read_bytes()


def test_a_stored_model_is_copied_from_its_node_once_and_again_if_the_copy_was_removed(code, model):
    node = ModelData.from_file(model, 'mace').store()
    model.unlink()
    path, copied = ensure_placed(node, code)
    assert copied
    assert Path(path).read_bytes() == b'weights'
    assert ensure_placed(node, code) == (path, False)
    Path(path).unlink()
    assert ensure_placed(node, code) == (path, True)
    assert find_model(code.computer, SHA256) == path


def test_a_model_that_is_not_stored_is_read_in_place_on_this_machine(code, model):
    node = ModelData.from_file(model, 'mace', store_bytes=False)
    assert ensure_placed(node, code, model) == (str(model), False)
    assert find_model(code.computer, SHA256) == str(model)
    # A stored model must not depend on the user's file.
    stored, copied = ensure_placed(ModelData.from_file(model, 'mace'), code)
    assert copied
    assert Path(stored) != model


def test_a_model_for_an_image_is_copied_to_the_folder_for_models(image, code, model):
    node = ModelData.from_file(model, 'mace', store_bytes=False)
    ensure_placed(node, code, model)
    path, copied = ensure_placed(node, image, model)
    assert copied
    assert Path(path) != model


def test_a_model_that_is_neither_stored_nor_on_the_computer_is_refused(code, model):
    node = ModelData.from_file(model, 'mace', store_bytes=False)
    other = model.with_name('other.model')
    other.write_bytes(b'others')
    for file in (None, other, model.with_name('missing.model')):
        with refused(Code.MODEL_MISSING, SHA256, 'calculator place FILE --computer localhost') as caught:
            ensure_placed(node, code, file)
        assert caught.value.sha256 == SHA256
    # Once it has been placed, it is found.
    path, _ = place_model(code.computer, model)
    assert ensure_placed(node, code) == (path, False)


def test_a_shipped_model_is_not_copied(code):
    assert ensure_placed(ModelData.from_shipped('7net-0', SHA256, 'sevennet'), code) is None


def test_the_model_of_a_job_is_found_by_its_sha256_and_linked(computer, model):
    path, _ = place_model(computer, model)
    node = ModelData.from_file(model.rename(model.with_name('renamed.model')), 'mace')
    changed, links = link_model({'kind': 'mace'}, node, computer)
    assert changed == {'kind': 'mace', 'model': 'model/renamed.model', 'model_sha256': SHA256}
    assert links == [(computer.uuid, path, 'model/renamed.model')]


def test_a_shipped_model_is_passed_by_name_and_not_linked(computer, model):
    place_model(computer, model)
    shipped = ModelData.from_shipped('7net-0', SHA256, 'sevennet')
    named = {'kind': 'sevennet', 'model': '7net-0', 'model_sha256': SHA256}
    assert link_model({'kind': 'sevennet'}, shipped, computer) == (named, [])
    assert link_model({'kind': 'emt'}, None, computer) == ({'kind': 'emt'}, [])


def test_a_model_that_is_not_on_the_computer_cannot_be_linked(computer, model):
    with pytest.raises(ModelMissingError):
        link_model({'kind': 'mace'}, ModelData.from_file(model, 'mace'), computer)


def test_a_wrong_model_input_is_found_before_the_job_starts(code, model):
    node = ModelData.from_file(model, 'mace')
    inputs = {'code': code, 'calculator': orm.Dict({'kind': 'mace'})}
    assert "'mace'" in find_model_fault(inputs)
    assert 'calculator place FILE --computer localhost' in find_model_fault({**inputs, 'model': node})
    ensure_placed(node, code)
    assert find_model_fault({**inputs, 'model': node}) is None
    assert 'sevennet' in find_model_fault({**inputs, 'model': node, 'calculator': orm.Dict({'kind': 'sevennet'})})
    assert 'input `model`' in find_model_fault({**inputs, 'calculator': orm.Dict({'kind': 'mace', 'model': 'x'})})
    assert find_model_fault({'code': code, 'calculator': orm.Dict({'kind': 'emt'})}) is None


def test_the_folder_for_models_is_created(computer):
    assert Path(ensure_model_folder(computer)).is_dir()


def test_a_missing_model_file_is_refused(computer, tmp_path):
    with refused(Code.FILE_MISSING, str(tmp_path / 'missing.model')):
        place_model(computer, tmp_path / 'missing.model')
