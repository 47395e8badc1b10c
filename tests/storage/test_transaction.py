import numpy as np
import pytest
from ase.db.core import bytes_to_object, object_to_bytes
from ase.db.sqlite import SQLite3Database

from aiida_mlip_autopipe.storage.transaction import TransactionalDatabase

OBJECTS = (
    {'provenance': {'campaign': 'cu', 'distance': 1 / 3, 'kept': None, 'pair': (1, 2)}, 'text': 'Å "quoted"'},
    {'labels_before': {'mlip:emt': {'forces': np.arange(6.0).reshape(2, 3), 'energy': np.float64(-1.5)}}},
    {'dipole': 1 + 2j, 'marked': {'__key': 1}},
)


@pytest.fixture
def database(tmp_path):
    return TransactionalDatabase(str(tmp_path / 'cu.db'))


@pytest.mark.parametrize('data', OBJECTS)
def test_data_have_the_bytes_of_ase_and_are_read_like_ase_reads_them(database, data):
    encoded = database.encode(data, binary=True)
    assert encoded == object_to_bytes(data)
    found, expected = database.decode(encoded, lazy=True), bytes_to_object(encoded)
    found = bytes_to_object(found) if isinstance(found, bytes) else found
    np.testing.assert_equal(found, expected)


@pytest.mark.parametrize('pairs', [{'step': 3, 'label': 'a __b'}, {'lists': [1, 2]}, {'nested': {'a': 1.5}}])
def test_text_is_decoded_like_ase_decodes_it(database, pairs):
    text = database.encode(pairs)
    ase = SQLite3Database(database.filename, use_lock_file=False)
    assert text == ase.encode(pairs)
    np.testing.assert_equal(database.decode(text), ase.decode(text))
