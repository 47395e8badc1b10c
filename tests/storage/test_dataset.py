import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.db import connect
from support.errors import refused

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.storage import Dataset, Row, make_row


@pytest.fixture
def path(tmp_path):
    return tmp_path / 'cu_au.db'


@pytest.fixture
def dataset(path, make_rows):
    """Return the path of a closed dataset of five rows."""
    with Dataset(path, create=True) as dataset:
        dataset.create(make_rows(5))
    return path


def energies(path):
    with Dataset(path) as dataset:
        return [row.atoms.get_potential_energy() for row in dataset.query()]


def test_a_row_is_read_exactly_as_written(path, slab, make_provenance, seed_record):
    row = make_row(slab, make_provenance(distance=1 / 3), seed_record)
    with Dataset(path, create=True) as dataset:
        (row_id,) = dataset.create([row])
    with Dataset(path) as dataset:
        found = dataset.read(row_id)
    for name in ('numbers', 'positions', 'tags', 'initial_magmoms'):
        np.testing.assert_array_equal(found.atoms.arrays[name], slab.arrays[name], strict=True)
    np.testing.assert_array_equal(found.atoms.cell.array, slab.cell.array)
    np.testing.assert_array_equal(found.atoms.pbc, slab.pbc)
    np.testing.assert_array_equal(found.atoms.constraints[0].index, [0, 1, 2, 3])
    assert set(found.atoms.calc.results) == {'energy', 'forces', 'stress'}
    for name in ('energy', 'forces', 'stress'):
        np.testing.assert_array_equal(found.atoms.calc.results[name], slab.calc.results[name])
    assert found.atoms.calc.name == 'emt'
    assert found.key_value_pairs == row.key_value_pairs
    assert found.data == row.data
    assert found.provenance == row.provenance
    assert found.id == row_id


def test_labels_in_single_precision_are_read_exactly(path, slab, make_provenance):
    forces = slab.calc.results['forces'].astype(np.float32)
    slab.calc.results.update(energy=np.float32(-1.5), forces=forces)
    with Dataset(path, create=True) as dataset:
        dataset.create([make_row(slab, make_provenance(), {})])
        found = dataset.read(1).atoms
    np.testing.assert_array_equal(found.calc.results['forces'], forces)
    assert found.calc.results['energy'] == -1.5


def test_forces_in_single_precision_are_written_in_double_precision(path, make_rows):
    (row,) = make_rows(1)
    forces = row.atoms.calc.results['forces'].astype(np.float32)
    row.atoms.calc.results['forces'] = forces
    with Dataset(path, create=True) as dataset:
        dataset.create([row])
        np.testing.assert_array_equal(dataset.read(1).labels['forces'], forces)


def test_the_ids_of_rows_follow_their_order(dataset):
    with Dataset(dataset) as rows:
        assert [(row.id, row.provenance.rank) for row in rows.query()] == [(1, 0), (2, 1), (3, 2), (4, 3), (5, 4)]
        assert len(rows) == 5


def test_rows_are_found_by_their_key_value_pairs(dataset):
    with Dataset(dataset) as rows:
        assert [row.id for row in rows.query('step>=2,step<4')] == [3, 4]
        assert [row.id for row in rows.query(seed='seed-1234567890123456', rank=1)] == [2]
        assert [row.id for row in rows.query('Cu>2', label_source='mlip:emt')] == [1, 2, 3, 4, 5]
        assert list(rows.query(campaign='other')) == []


def test_update_replaces_a_row(dataset):
    with Dataset(dataset) as rows:
        row = rows.read(2)
        changed = make_row(row.atoms, row.provenance.model_copy(update={'campaign': 'again'}), {})
        rows.update(Row(changed.atoms, changed.key_value_pairs, changed.data, row.id))
    with Dataset(dataset) as rows:
        assert rows.read(2).key_value_pairs['campaign'] == 'again'
        assert rows.read(2).data['seed'] == {}
        assert rows.read(1).key_value_pairs['campaign'] == 'cu_au'
        assert [row.id for row in rows.query(campaign='again')] == [2]


def test_rows_of_another_dataset_are_added_without_replacing_rows(dataset, tmp_path):
    with Dataset(dataset) as rows, Dataset(tmp_path / 'other.db', create=True) as other:
        assert other.create(rows.query('step>=2')) == [1, 2, 3]
        assert other.create(rows.query('step<2')) == [4, 5]
        assert [row.provenance.step for row in other.query()] == [2, 3, 4, 0, 1]


def test_rows_are_deleted(dataset):
    with Dataset(dataset) as rows:
        rows.delete([1, 3])
    with Dataset(dataset) as rows:
        assert [row.id for row in rows.query()] == [2, 4, 5]


def test_an_exception_in_a_block_discards_its_changes(dataset, make_rows):
    before = energies(dataset)

    def change_and_raise():
        with Dataset(dataset) as rows:
            rows.create(make_rows(3))
            rows.delete([1, 2])
            rows.update(Row(rows.read(3).atoms, {'campaign': 'x'}, {}, 3))
            raise RuntimeError('stop')

    with pytest.raises(RuntimeError, match='stop'):
        change_and_raise()
    assert energies(dataset) == before
    with Dataset(dataset) as rows:
        assert rows.read(3).key_value_pairs['campaign'] == 'cu_au'


def test_a_refused_row_also_discards_the_rows_before_it(dataset, make_rows):
    rows = make_rows(3)
    rows[2].key_value_pairs['energy'] = 1.0
    with refused(Code.ROW_REFUSED, 'row 2', 'energy'), Dataset(dataset) as opened:
        opened.create(rows)
    assert len(energies(dataset)) == 5


def test_a_structure_that_was_changed_after_labelling_is_refused(dataset, make_rows):
    (row,) = make_rows(1)
    row.atoms.rattle(1e-6)
    with refused(Code.LABELS_OUTDATED, 'row 0'), Dataset(dataset) as opened:
        opened.create([row])


def test_thousands_of_rows_are_one_transaction(path):
    rows = [*[Row(Atoms('Cu'))] * 5001, Row(Atoms('Cu'), {'energy': 1.0})]
    with refused(Code.ROW_REFUSED, 'row 5001', 'energy'), Dataset(path, create=True) as dataset:
        dataset.create(rows)
    assert energies(path) == []


@pytest.mark.parametrize('action', ['read', 'delete', 'update'])
def test_a_missing_row_is_refused(dataset, make_rows, action):
    row = make_rows(1)[0]
    argument = {'read': 9, 'delete': [1, 9], 'update': Row(row.atoms, {}, {}, 9)}[action]
    with refused(Code.ROW_MISSING, 'row 9', dataset.name), Dataset(dataset) as rows:
        getattr(rows, action)(argument)
    assert len(energies(dataset)) == 5


def test_a_row_without_an_id_cannot_be_updated(dataset, make_rows):
    with refused(Code.ROW_MISSING, 'create'), Dataset(dataset) as rows:
        rows.update(make_rows(1)[0])


def test_a_missing_file_is_refused_and_not_created(path):
    with refused(Code.FILE_MISSING, path.name):
        Dataset(path)
    assert not path.exists()


def test_a_missing_folder_is_refused(tmp_path):
    with refused(Code.FOLDER_MISSING, str(tmp_path / 'no')):
        Dataset(tmp_path / 'no' / 'a.db', create=True)


def test_a_file_in_another_format_is_refused(path):
    path.write_text('not a database, but long enough to be read as the header of one' * 20)
    with refused(Code.FILE_UNREADABLE, path.name), Dataset(path):
        pass


@pytest.mark.timeout(10)
def test_the_lock_file_of_a_killed_process_is_ignored(dataset, make_rows):
    Path(f'{dataset}.lock').touch()
    with Dataset(dataset) as rows:
        rows.create(make_rows(1))
    assert len(energies(dataset)) == 6


def test_the_ase_command_reads_a_dataset(dataset):
    columns = ['--columns', 'id,formula,calculator,energy,campaign,label_source']
    command = [sys.executable, '-m', 'ase', 'db', dataset, 'rank<2', *columns]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert lines[1].replace(' ', '').startswith('1|Au4Cu8|emt|')
    assert lines[1].replace(' ', '').endswith('|cu_au|mlip:emt')
    assert 'Rows: 2' in done.stdout


def test_ase_reads_labels_and_provenance(dataset, seed_record):
    row = connect(dataset).get(rank=3)
    assert row.toatoms().get_potential_energy() == energies(dataset)[3]
    assert row.exploration == '6a2f41a3-c54c-fce8-32d2-0324e1c32e22'
    assert row.data.seed == seed_record
    assert json.loads(json.dumps(row.data)) == row.data


def test_a_dataset_does_not_contain_the_name_of_the_user(dataset, monkeypatch, tmp_path, make_rows):
    monkeypatch.setenv('USER', 'somebody')
    with Dataset(tmp_path / 'b.db', create=True) as rows:
        rows.create(make_rows(1))
    assert b'somebody' not in (tmp_path / 'b.db').read_bytes()


def test_the_first_row_for_each_text_value_of_a_key_and_all_rows_without_it_are_found(path, make_rows):
    rows = make_rows(5)
    for row, kind in zip(rows, ('alloy', 'surface', 'alloy', None, None), strict=True):
        row.key_value_pairs.pop('kind')
        row.key_value_pairs.update({} if kind is None else {'kind': kind})
        row.data.pop('seed')
    with Dataset(path, create=True) as dataset:
        dataset.create(rows)
        assert [row.id for row in dataset.first_rows('kind')] == [1, 2, 4, 5]
