import sqlite3

import numpy as np
import pytest
from ase import Atoms
from ase.build import add_adsorbate, fcc111, molecule
from ase.calculators.singlepoint import SinglePointCalculator
from ase.constraints import FixAtoms
from ase.db import connect
from ase.db.sqlite import SQLite3Database

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.storage import bulk_insert, bulk_select
from aiida_mlip_autopipe.storage.dataset import Dataset, to_entry
from aiida_mlip_autopipe.structures.rows.row import Row

TABLES = ('systems', 'species', 'keys', 'text_key_values', 'number_key_values', 'information', 'sqlite_sequence')
RESULTS = {'forces': (3,), 'stress': 6, 'dipole': 3, 'magmoms': ()}


def _labelled(atoms, *names, **results):
    rng = np.random.default_rng(len(atoms))
    results |= {'energy': -1 / 3}
    for name in ('forces', *names):
        shape = (len(atoms), *RESULTS[name]) if name in ('forces', 'magmoms') else RESULTS[name]
        results[name] = rng.normal(size=shape)
    atoms.calc = SinglePointCalculator(atoms, **results)
    return atoms


@pytest.fixture
def rows():
    """Rows that use each column of an ASE database."""
    slab = fcc111('Cu', (1, 1, 3), vacuum=5.0)
    add_adsorbate(slab, 'O', 1.5, 'ontop')
    slab.set_constraint(FixAtoms([0, 1]))
    magnet = Atoms('FeCoFe', positions=np.arange(9.0).reshape(3, 3), cell=[3, 4, 5], pbc=(True, False, True))
    magnet.set_initial_magnetic_moments([2.0, 1.0, -2.0])
    magnet.set_initial_charges([0.5, 0.0, -0.25])
    magnet.set_masses([56.0, 59.0, 57.0])
    magnet.set_momenta(np.full((3, 3), 0.1))
    frames = [
        _labelled(slab, 'stress'),
        _labelled(magnet, 'stress', 'dipole', 'magmoms', magmom=1.5, free_energy=-0.5),
        _labelled(molecule('H2O'), 'dipole'),
        molecule('CO'),
        *(
            _labelled(Atoms('CuAu', positions=[[0, 0, 0], [i, 2, 2]], cell=[4, 4, 4], pbc=True), 'stress')
            for i in range(4)
        ),
    ]
    pairs = {'note': 'text "Å"', 'step': 3, 'distance': 0.1, 'kept': True, 'rank': np.int64(4), 'good': np.bool_(False)}
    data = {'record': {'pair': [1, 2], 'none': None}, 'forces_before': np.arange(3.0)}
    return [Row(atoms, pairs | {'number': i}, data if i % 2 else {'a': 'b'}) for i, atoms in enumerate(frames)]


def _content(path):
    """Return the statements that made the tables and indices, and the tables without random ids and times."""
    with sqlite3.connect(path) as connection:
        made = connection.execute('SELECT type, name, sql FROM sqlite_master ORDER BY name').fetchall()
        tables = {name: connection.execute(f'SELECT * FROM {name}').fetchall() for name in TABLES}
    tables['systems'] = [(one[0], *one[5:]) for one in tables['systems']]
    return made, tables


@pytest.mark.parametrize('batch_size', [3, 100])
def test_the_tables_are_those_that_ase_writes(tmp_path, rows, monkeypatch, batch_size):
    monkeypatch.setattr(bulk_insert, 'BATCH_SIZE', batch_size)
    with Dataset(tmp_path / 'own.db', create=True) as dataset:
        assert dataset.create(rows[:5]) == [1, 2, 3, 4, 5]
        dataset.delete([5])
    with Dataset(tmp_path / 'own.db') as dataset:
        assert dataset.create(rows[5:]) == [6, 7, 8]
    with SQLite3Database(str(tmp_path / 'ase.db'), use_lock_file=False) as database:
        for row in rows:
            database.write(to_entry(row, 'a row'), row.key_value_pairs, row.data)
        database.delete([5])
    assert _content(tmp_path / 'own.db') == _content(tmp_path / 'ase.db')


@pytest.mark.parametrize('batch_size', [2, 100])
def test_rows_are_read_as_ase_reads_them(tmp_path, rows, monkeypatch, batch_size):
    monkeypatch.setattr(bulk_select, 'BATCH', batch_size)
    with Dataset(tmp_path / 'own.db', create=True) as dataset:
        dataset.create(rows)
        found = list(dataset.query())
    for row, entry in zip(found, connect(tmp_path / 'own.db').select(), strict=True):
        atoms = entry.toatoms()
        assert (row.id, row.key_value_pairs) == (entry.id, entry.key_value_pairs)
        np.testing.assert_equal(row.data, dict(entry.data))
        assert row.atoms == atoms
        assert [one.todict() for one in row.atoms.constraints] == [one.todict() for one in atoms.constraints]
        assert row.atoms.arrays.keys() == atoms.arrays.keys()
        for name, values in atoms.arrays.items():
            assert values.dtype == row.atoms.arrays[name].dtype
            np.testing.assert_array_equal(row.atoms.arrays[name], values)
        assert (row.atoms.calc is None) == (atoms.calc is None)
        if atoms.calc is not None:
            assert row.atoms.calc.name == atoms.calc.name
            np.testing.assert_equal(row.atoms.calc.results, atoms.calc.results)
            row.atoms.positions += 1.0  # the arrays of ASE can be changed, too


def test_a_refused_row_does_not_prevent_the_earlier_ones_from_being_kept(tmp_path, rows):
    refused = Row(rows[0].atoms, {'step': '12'})
    with Dataset(tmp_path / 'own.db', create=True) as dataset:
        with pytest.raises(AutopipeError, match='row 2') as error:
            dataset.create([*rows[:2], refused, rows[2]])
        assert error.value.code is Code.ROW_REFUSED
        assert [row.id for row in dataset.query()] == [1, 2]
    with SQLite3Database(str(tmp_path / 'ase.db'), use_lock_file=False) as database:
        for row in rows[:2]:
            database.write(to_entry(row, 'a row'), row.key_value_pairs, row.data)
    assert _content(tmp_path / 'own.db') == _content(tmp_path / 'ase.db')


def test_equal_rows_give_equal_files_with_a_unique_id_for_each_row(tmp_path, rows):
    rows = [*rows, rows[0]]
    for name in ('first.db', 'second.db'):
        with Dataset(tmp_path / name, create=True) as dataset:
            dataset.create(rows)
    assert (tmp_path / 'first.db').read_bytes() == (tmp_path / 'second.db').read_bytes()
    ids = {row.unique_id for row in connect(tmp_path / 'first.db').select()}
    assert len(ids) == len(rows)
