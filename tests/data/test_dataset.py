import sqlite3

import pytest
from aiida.plugins import DataFactory
from ase.build import bulk
from ase.db import connect
from ase.io import write
from support.errors import refused

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
