import sqlite3
from pathlib import Path

import pytest
from aiida.plugins import DataFactory
from ase.build import bulk
from ase.db import connect
from ase.io import write
from disk_objectstore import Container
from support.errors import refused

from aiida_mlip_autopipe.campaigns.export import write_node
from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.data.dataset import DatasetData
from aiida_mlip_autopipe.sampling.pool.reference_dataset import label_sources


def write_database(path):
    with connect(path) as database:
        for number, split in enumerate(('train', 'train', 'test')):
            atoms = bulk('CuAu', 'rocksalt', a=5.0 + number) if number else bulk('Al')
            database.write(atoms, label_source='dft:vasp:pbe', split=split)
    return path


@pytest.fixture
def database(tmp_path):
    return write_database(tmp_path / 'old.db')


def test_the_attributes_of_a_node_describe_the_dataset(database):
    attributes = DataFactory('mlip_autopipe.dataset').from_file(database).store().base.attributes
    assert attributes.get('n_structures') == 3
    assert attributes.get('n_atoms') == 5
    assert attributes.get('elements') == ['Al', 'Au', 'Cu']
    assert attributes.get('label_sources') == ['dft:vasp:pbe']
    assert attributes.get('splits') == {'test': 1, 'train': 2}


def test_a_stored_dataset_does_not_need_the_original_file(database):
    expected = [row.toatoms() for row in connect(database).select()]
    node = DatasetData.from_file(database).store()
    database.unlink()
    assert node.structures() == expected
    assert label_sources(node.structures()) == ['dft:vasp:pbe']


def test_the_hash_of_a_dataset_depends_only_on_its_content(database, tmp_path):
    (tmp_path / 'elsewhere').mkdir()
    moved = database.rename(tmp_path / 'elsewhere' / 'new_name.db')
    nodes = [DatasetData.from_file(moved).store(), DatasetData.from_file(moved.rename(database)).store()]
    with sqlite3.connect(database) as connection:
        connection.execute('UPDATE systems SET ctime = ctime + 1')
    changed = DatasetData.from_file(database).store()
    assert nodes[0].base.caching.get_hash() == nodes[1].base.caching.get_hash()
    assert nodes[0].filename != nodes[1].filename
    assert changed.base.caching.get_hash() != nodes[0].base.caching.get_hash()


def test_every_format_that_ase_reads_is_supported(tmp_path):
    atoms = bulk('Cu')
    atoms.info['label_source'] = 'mlip:emt'
    write(tmp_path / 'old.extxyz', [atoms, atoms])
    node = DatasetData.from_file(tmp_path / 'old.extxyz')
    assert len(node.structures()) == node.base.attributes.get('n_structures') == 2
    assert node.base.attributes.get('label_sources') == ['mlip:emt']
    assert node.base.attributes.get('splits') == {}


def test_a_missing_or_unreadable_file_is_refused(tmp_path):
    with refused(Code.FILE_MISSING, str(tmp_path / 'no.db')):
        DatasetData.from_file(tmp_path / 'no.db')
    (tmp_path / 'bad.xyz').write_text('three\n')
    with refused(Code.FILE_UNREADABLE, str(tmp_path / 'bad.xyz')):
        DatasetData.from_file(tmp_path / 'bad.xyz')


@pytest.fixture
def stored(database, aiida_profile):
    """Return a stored dataset and the path of its file in AiiDA's repository."""
    node = DatasetData.from_file(database).store()
    (one,) = node.base.repository.metadata['o'].values()
    path = Path(aiida_profile.storage_config['filepath'], 'container', 'loose', one['k'][:2], one['k'][2:])
    path.chmod(0o600)
    return node, path


@pytest.mark.chaos
@pytest.mark.integration
@pytest.mark.parametrize('damage', ['changed', 'truncated', 'missing'])
def test_a_dataset_that_is_damaged_in_the_repository_is_refused(stored, tmp_path, damage):
    node, path = stored
    content = path.read_bytes()
    path.unlink()
    if damage == 'truncated':
        path.write_bytes(content[:-1])
    elif damage == 'changed':
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    for read in (node.rows, node.structures, lambda: write_node(node, tmp_path / 'new.db')):
        with refused(Code.DATASET_DAMAGED, str(node.pk)):
            read()
    assert not (tmp_path / 'new.db').exists()
    path.write_bytes(content)
    assert write_node(node, tmp_path / 'new.db') == 3


@pytest.mark.chaos
@pytest.mark.integration
def test_a_dataset_whose_compressed_copy_is_damaged_is_refused(stored, aiida_profile):
    node, path = stored
    with Container(path.parents[2]) as container:
        container.pack_all_loose(compress=True)
        container.clean_storage()
        where = container.get_object_meta(''.join(path.parts[-2:]))
        pack = path.parents[2] / 'packs' / str(where['pack_id'])
    assert len(node.structures()) == 3
    content = bytearray(pack.read_bytes())
    content[where['pack_offset'] + where['pack_length'] // 2] ^= 1
    pack.write_bytes(content)
    with refused(Code.DATASET_DAMAGED, str(node.pk)):
        node.structures()
    content[where['pack_offset'] + where['pack_length'] // 2] ^= 1
    pack.write_bytes(content)
