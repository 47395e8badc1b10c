from pathlib import Path

from support.errors import refused

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.storage import StorageSettings


def test_the_database_is_named_by_the_caller_unless_set():
    assert StorageSettings().database is None
    assert StorageSettings(database='out/a.db').database == Path('out/a.db')


def test_a_database_of_another_suffix_is_refused_and_the_right_name_told():
    with refused(Code.FILE_SUFFIX, '.db') as error:
        StorageSettings(database='a.json')
    assert error.value.errors()[0]['ctx']['nearest'] == 'a.db'
