import sqlite3

import pytest
from support.errors import refused

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.storage import Dataset, export_dataset
from aiida_mlip_autopipe.storage.formats.export import convert_rows
from aiida_mlip_autopipe.storage.relabel import relabel
from aiida_mlip_autopipe.structures.rows.labels import RowLabels
from aiida_mlip_autopipe.structures.rows.level import LevelOfTheory


@pytest.fixture
def path(tmp_path):
    return tmp_path / 'cu_au.db'


def contents(path):
    """Return the content of all tables, without times and random identifiers."""
    with sqlite3.connect(path) as database:
        names = [row[1] for row in database.execute('PRAGMA table_info(systems)')]
        kept = ', '.join(name for name in names if name not in ('ctime', 'mtime', 'unique_id'))
        tables = ['species', 'keys', 'text_key_values', 'number_key_values', 'information']
        return [database.execute(f'SELECT {kept} FROM systems').fetchall()] + [
            database.execute(f'SELECT * FROM {table}').fetchall() for table in tables
        ]


def test_rows_are_written_in_order(path, make_rows):
    assert export_dataset(path, iter(make_rows(4))) == 4
    with Dataset(path) as dataset:
        assert [row.provenance.rank for row in dataset.query()] == [0, 1, 2, 3]


def test_databases_of_the_same_rows_differ_only_in_times_and_random_identifiers(tmp_path, make_rows):
    first, second = tmp_path / 'a.db', tmp_path / 'b.db'
    export_dataset(first, make_rows(3))
    export_dataset(second, make_rows(3))
    assert contents(first) == contents(second)


def test_an_existing_file_is_refused_and_unchanged(path, make_rows):
    path.write_text('precious')
    with refused(Code.FILE_EXISTS, path.name):
        export_dataset(path, make_rows(1))
    assert path.read_text() == 'precious'


def test_overwrite_replaces_an_existing_file(path, make_rows):
    export_dataset(path, make_rows(3))
    export_dataset(path, make_rows(1), overwrite=True)
    with Dataset(path) as dataset:
        assert len(dataset) == 1


def test_a_refused_row_leaves_the_existing_file_unchanged(path, make_rows):
    export_dataset(path, make_rows(3))
    before = path.read_bytes()
    rows = make_rows(2)
    rows[1].key_value_pairs['rank'] = None
    with refused(Code.ROW_REFUSED, 'row 1'):
        export_dataset(path, rows, overwrite=True)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_a_dataset_without_rows_is_refused(path):
    with refused(Code.DATASET_EMPTY, path.name):
        export_dataset(path, [])
    assert not list(path.parent.iterdir())


def test_a_missing_folder_is_refused(path, make_rows):
    with refused(Code.FOLDER_MISSING, str(path.parent / 'no')):
        export_dataset(path.parent / 'no' / 'a.db', make_rows(1))


@pytest.mark.parametrize('name', ['deepmd', 'nep', 'gap', 'ace'])
def test_the_chosen_labels_are_written_as_if_the_rows_had_no_others(name, tmp_path, varied):
    rows = [row for row in varied if row.atoms.pbc.all()]
    level = LevelOfTheory(method='dft', code='gpaw', name='dft:gpaw:pbe')
    both = [relabel(row, RowLabels(row.labels | {'energy': row.labels['energy'] - 100}, level)) for row in rows]
    for target, source, labels in (('mlip', rows, None), ('chosen', both, 'mlip'), ('dft', both, 'dft')):
        convert_rows(tmp_path / target, source, format=name, labels=labels)
    files = {target: files_of(tmp_path / target) for target in ('mlip', 'chosen', 'dft')}
    assert files['chosen'] == files['mlip'] != files['dft']


def files_of(path):
    """Return the content of a file, or of the files of a folder."""
    if path.is_file():
        return path.read_bytes()
    return {file.relative_to(path): file.read_bytes() for file in path.rglob('*') if file.is_file()}
