import numpy as np
import pytest
from ase.db.core import bytes_to_object, object_to_bytes
from ase.db.sqlite import SQLite3Database

from aiida_mlip_autopipe.storage.bulk_select import decode_together
from aiida_mlip_autopipe.storage.dataset import to_entry
from aiida_mlip_autopipe.storage.transaction import TransactionalDatabase

TABLES = ('species', 'keys', 'text_key_values', 'number_key_values')
OBJECTS = (
    {'provenance': {'campaign': 'cu', 'distance': 1 / 3, 'kept': None, 'pair': (1, 2)}, 'text': 'Å "quoted"'},
    {'labels_before': {'mlip:emt': {'forces': np.arange(6.0).reshape(2, 3), 'energy': np.float64(-1.5)}}},
    {'dipole': 1 + 2j, 'marked': {'__key': 1}},
)


@pytest.fixture
def database(tmp_path):
    return TransactionalDatabase(str(tmp_path / 'cu.db'))


@pytest.mark.parametrize('data', OBJECTS)
def test_data_have_the_bytes_of_ase_and_are_read_as_ase_reads_them(database, data):
    encoded = database.encode(data, binary=True)
    assert encoded == object_to_bytes(data)
    found, expected = database.decode(encoded, lazy=True), bytes_to_object(encoded)
    found = bytes_to_object(found) if isinstance(found, bytes) else found
    np.testing.assert_equal(found, expected)


@pytest.mark.parametrize('pairs', [{'step': 3, 'label': 'a __b'}, {'lists': [1, 2]}, {'nested': {'a': 1.5}}])
def test_text_is_decoded_as_ase_decodes_it(database, pairs):
    text = database.encode(pairs)
    ase = SQLite3Database(database.filename, use_lock_file=False)
    assert text == ase.encode(pairs)
    np.testing.assert_equal(database.decode(text), ase.decode(text))


def test_objects_that_are_decoded_together_keep_their_order_and_share_their_keys(database):
    objects = [{'a_long_key': 1}, {'array': np.arange(3)}, {'lists': [1, 'a, [b]']}, {'a_long_key': 2}]
    for binary in (False, True):
        encoded = [database.encode(one, binary=binary) for one in objects]
        found = decode_together(database, encoded)
        np.testing.assert_equal(found, [database.decode(one) for one in encoded])
        assert next(iter(found[0])) is next(iter(found[3]))


def test_all_rows_keep_their_pairs_although_a_pair_is_checked_once(database, make_rows):
    rows = make_rows(3)
    ase = SQLite3Database(str(database.filename).replace('cu.db', 'ase.db'), use_lock_file=False)
    for row in rows:
        for each in (database, ase):
            each.write(to_entry(row, 'a row'), row.key_value_pairs, row.data)
    tables = []
    for each in (database, ase):
        assert [found.key_value_pairs for found in each.select()] == [row.key_value_pairs for row in rows]
        assert len(list(each.select(architecture='emt'))) == 3
        with each.managed_connection() as connection:
            tables.append([connection.execute(f'SELECT * FROM {name}').fetchall() for name in TABLES])
    assert tables[0] == tables[1]


@pytest.mark.parametrize('pairs', [{'step': '12'}, {'energy': 1.0}, {'note': [1]}, {'bad key': 1}])
def test_a_pair_that_ase_refuses_is_refused_in_each_row(database, slab, pairs):
    database.write(slab, {'step': 12, 'note': 'a'})
    for _ in range(2):
        with pytest.raises(ValueError, match=r'.'):
            database.write(slab, pairs)
