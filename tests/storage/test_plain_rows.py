import sqlite3
import subprocess
import sys

import numpy as np
import pytest
from ase.build import bulk, molecule
from ase.calculators.singlepoint import SinglePointCalculator
from ase.constraints import FixAtoms
from ase.db import connect

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.storage.dataset import Dataset, read_row, read_rows
from aiida_mlip_autopipe.storage.plain_rows import ASE_FORMAT, COLUMNS, read_plain
from aiida_mlip_autopipe.structures.rows.row import Row


def _row(atoms, number):
    if number != 2:  # one row has no labels
        rng = np.random.default_rng(number)
        results = {'energy': -1.5, 'forces': rng.normal(size=(len(atoms), 3))}
        results |= {'stress': rng.normal(size=6)} if atoms.pbc.all() else {}
        atoms.calc = SinglePointCalculator(atoms, **results)
        atoms.calc.name = 'emt'
    return Row(atoms, {'step': number, 'note': 'text "Å"'}, {'record': {'pair': [1, 2]}, 'seed': {'kind': 'bulk'}})


@pytest.fixture
def path(tmp_path):
    structures = [bulk('Cu', cubic=True), molecule('H2O'), bulk('Au'), bulk('NaCl', 'rocksalt', a=5.6)]
    structures[3].pbc = (True, False, True)
    path = tmp_path / 'a file?.db'
    with Dataset(path, create=True) as dataset:
        dataset.create([_row(atoms, number) for number, atoms in enumerate(structures)])
        dataset.delete([1])
    return path


def _content(row):
    atoms = row.atoms
    results = {} if atoms.calc is None else {'name': atoms.calc.name} | atoms.calc.results
    return row.id, row.key_value_pairs, row.data, dict(atoms.arrays), atoms.cell.array, atoms.pbc, results


def test_the_rows_are_those_of_the_dataset(path):
    with Dataset(path) as dataset:
        expected = list(dataset.query())
    found = read_plain(path)
    assert [row.id for row in found] == [2, 3, 4]
    for row, other in zip(found, expected, strict=True):
        np.testing.assert_equal(_content(row), _content(other))
        np.testing.assert_equal(_content(read_row(path, row.id)), _content(other))
        row.atoms.positions += 1.0  # the arrays can be changed
    assert [row.id for row in read_rows(path)] == [2, 3, 4]


def test_the_columns_are_those_of_ase(path):
    with connect(path) as database:
        assert tuple(database.columnnames[: len(COLUMNS)]) == COLUMNS
        database.count()
        assert database.version == ASE_FORMAT


@pytest.mark.parametrize('what', ['constraints', 'arrays'])
def test_a_row_that_only_ase_can_read_is_read_by_ase(path, what):
    atoms, data = bulk('Cu', cubic=True), {}
    if what == 'constraints':
        atoms.set_constraint(FixAtoms([0]))
    else:
        data = {'forces_before': np.arange(3.0)}
    with Dataset(path) as dataset:
        (row_id,) = dataset.create([Row(atoms, {'step': 9}, data)])
    assert read_plain(path) is None
    assert read_plain(path, row_id) is None
    assert [one.id for one in read_plain(path, 2)] == [2]
    row = read_row(path, row_id)
    assert [one.todict() for one in row.atoms.constraints] == [one.todict() for one in atoms.constraints]
    np.testing.assert_equal(row.data, data)
    assert [one.id for one in read_rows(path)] == [2, 3, 4, row_id]


def test_a_row_of_another_version_is_left_to_ase(path):
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE information SET value = '8' WHERE name = 'version'")
    assert read_plain(path) is None


def test_a_row_that_does_not_exist_is_an_error(path):
    with pytest.raises(AutopipeError) as error:
        read_row(path, 1)
    assert error.value.code is Code.ROW_MISSING


@pytest.mark.parametrize('content', [b'no database', None])
def test_a_file_that_is_not_a_dataset_is_an_error(tmp_path, content):
    path = tmp_path / 'other.db'
    if content is not None:
        path.write_bytes(content)
    for read in (read_rows, lambda path: read_row(path, 1)):
        with pytest.raises(AutopipeError):
            read(path)
    assert path.exists() is (content is not None)


def test_a_row_is_read_without_the_database_module_of_ase(path):
    program = (
        'import sys\n'
        'from pathlib import Path\n'
        'from aiida_mlip_autopipe.storage.dataset import read_row\n'
        'assert read_row(Path(sys.argv[1]), 2).id == 2\n'
        'assert "ase.db" not in sys.modules and "scipy" not in sys.modules\n'
    )
    subprocess.run([sys.executable, '-c', program, path], check=True)
