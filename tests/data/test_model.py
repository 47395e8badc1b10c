import hashlib

import pytest
from aiida import orm
from aiida.common.exceptions import ValidationError
from support.errors import refused

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.data.model import MODEL_VERSION, ModelData, find_model_node
from aiida_mlip_autopipe.data.schema_version import SCHEMA_VERSION

SHA256 = hashlib.sha256(b'weights').hexdigest()


@pytest.fixture
def write(tmp_path):
    """Return a function that writes a model file and returns its path."""

    def write_file(name='my.model', content=b'weights'):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
        return path

    return write_file


def hash_of(node):
    return node.store().base.caching.get_hash()


def test_a_model_stores_its_bytes_and_facts(write, tmp_path):
    facts = {'elements': ['O', 'Cu'], 'cutoff_A': 5.0, 'versions': {'mace-torch': '0.3'}}
    node = ModelData.from_file(write('mace-mpa-0.model'), 'mace', facts=facts).store()
    attributes = orm.load_node(node.pk).base.attributes.all
    assert attributes == {
        SCHEMA_VERSION: MODEL_VERSION,
        'architecture': 'mace',
        'sha256': SHA256,
        'name': 'mace-mpa-0.model',
        'shipped': False,
        'stored': True,
        'elements': ['Cu', 'O'],
        'cutoff_A': 5.0,
        'licence': 'MIT',
        'versions': {'mace-torch': '0.3'},
    }
    folder = tmp_path / 'written'
    folder.mkdir()
    assert node.write(folder).read_bytes() == b'weights'
    assert node.base.repository.list_object_names() == [ModelData.FILE]


def test_the_hash_depends_only_on_architecture_and_content(write):
    known = hash_of(ModelData.from_file(write(), 'mace'))
    assert hash_of(ModelData.from_file(write('elsewhere/other.pt'), 'mace', facts={'elements': ['Cu']})) == known
    assert hash_of(ModelData.from_file(write(), 'mace', store_bytes=False)) == known
    assert hash_of(ModelData.from_shipped('small', SHA256, 'mace')) == known
    assert hash_of(ModelData.from_file(write(), 'sevennet')) != known
    assert hash_of(ModelData.from_file(write(content=b'others'), 'mace')) != known


def test_the_same_bytes_are_stored_once(write):
    first = ModelData.from_file(write(), 'mace').store()
    second = ModelData.from_file(write('other.model'), 'mace').store()
    keys = [node.base.repository.metadata['o'][ModelData.FILE]['k'] for node in (first, second)]
    assert keys[0] == keys[1]


@pytest.mark.parametrize(
    ('attribute', 'value', 'in_message'),
    [('sha256', '0' * 64, '0' * 64), ('stored', False, '`stored`'), ('shipped', True, 'shipped')],
)
def test_a_node_with_attributes_that_contradict_its_bytes_is_not_stored(write, attribute, value, in_message):
    node = ModelData.from_file(write(), 'mace')
    node.base.attributes.set(attribute, value)
    with pytest.raises(ValidationError, match=in_message):
        node.store()


def test_a_node_without_attributes_is_not_stored(aiida_profile):
    with pytest.raises(ValidationError, match='sha256'):
        ModelData().store()


def test_a_model_without_stored_bytes_cannot_be_written(write, tmp_path):
    with refused(Code.MODEL_MISSING, SHA256):
        ModelData.from_file(write(), 'mace', store_bytes=False).write(tmp_path)


def test_the_model_in_a_node_of_a_newer_version_is_not_written(write, tmp_path):
    node = ModelData.from_file(write(), 'mace')
    node.base.attributes.set(SCHEMA_VERSION, MODEL_VERSION + 1)
    with refused(Code.SCHEMA_VERSION, node.uuid):
        node.write(tmp_path)


def test_a_stored_model_is_found_by_its_content_and_nodes_with_bytes_are_preferred(write):
    content, sha256 = b'only here', hashlib.sha256(b'only here').hexdigest()
    assert find_model_node('mace', sha256) is None
    without = ModelData.from_file(write(content=content), 'mace', store_bytes=False).store()
    assert find_model_node('mace', sha256).pk == without.pk
    node = ModelData.from_file(write(content=content), 'mace').store()
    assert find_model_node('mace', sha256).pk == node.pk
    assert find_model_node('sevennet', sha256) is None
