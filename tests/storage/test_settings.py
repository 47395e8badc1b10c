from pathlib import Path

from support.errors import refused

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.storage import StorageSettings


def test_the_database_has_no_default_path():
    assert StorageSettings().database is None
    assert StorageSettings(database='out/a.db').database == Path('out/a.db')


def test_an_unsupported_suffix_of_the_database_is_refused_and_the_correct_name_is_proposed():
    with refused(Code.FILE_SUFFIX, '.db') as error:
        StorageSettings(database='a.json')
    assert error.value.errors()[0]['ctx']['nearest'] == 'a.db'
