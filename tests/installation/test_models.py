import hashlib
from pathlib import Path

import pytest
from aiida import orm

from aiida_mlip_autopipe.calculations.model_link import link_model
from aiida_mlip_autopipe.errors import AutopipeError
from aiida_mlip_autopipe.installation.codes import ensure_computer
from aiida_mlip_autopipe.installation.models import ensure_model_folder, place_model
from aiida_mlip_autopipe.model_store import FOLDER


@pytest.fixture
def computer(aiida_profile, tmp_path) -> orm.Computer:
    computer, _ = ensure_computer()
    computer.set_property(FOLDER, str(tmp_path / 'models'))
    return computer


@pytest.fixture
def model(tmp_path) -> Path:
    file = tmp_path / 'tiny.model'
    file.write_bytes(b'weights')
    return file


def test_a_model_is_copied_once_and_mended_where_it_was_damaged(computer, model):
    path, copied = place_model(computer, model)
    assert copied
    assert Path(path).read_bytes() == b'weights'
    assert Path(path).name == 'tiny.model'
    assert place_model(computer, model) == (path, False)
    Path(path).write_bytes(b'weight')
    assert place_model(computer, model) == (path, True)
    assert Path(path).read_bytes() == b'weights'


def test_models_of_one_name_and_other_content_lie_side_by_side(computer, model):
    first, _ = place_model(computer, model)
    model.write_bytes(b'others')
    second, _ = place_model(computer, model)
    assert Path(first).read_bytes() != Path(second).read_bytes()


def test_a_job_is_linked_to_its_model_by_the_sha256_and_not_by_the_name(computer, model):
    path, _ = place_model(computer, model)
    sha256 = hashlib.sha256(b'weights').hexdigest()
    settings = {'kind': 'mace', 'model': '/elsewhere/renamed.model', 'model_sha256': sha256}
    changed, links = link_model(settings, computer)
    assert changed == {**settings, 'model': 'model/renamed.model'}
    assert links == [(computer.uuid, path, 'model/renamed.model')]


def test_weights_that_a_package_ships_are_never_linked(computer, model):
    place_model(computer, model)
    settings = {'kind': 'sevennet', 'model': '7net-0', 'model_sha256': hashlib.sha256(b'weights').hexdigest()}
    assert link_model(settings, computer) == (settings, [])
    assert link_model({'kind': 'emt'}, computer) == ({'kind': 'emt'}, [])


def test_the_folder_of_models_is_made(computer):
    assert Path(ensure_model_folder(computer)).is_dir()


def test_a_model_that_is_not_there_is_told(computer, tmp_path):
    with pytest.raises(AutopipeError, match=r'no model file .*gone\.model'):
        place_model(computer, tmp_path / 'gone.model')
