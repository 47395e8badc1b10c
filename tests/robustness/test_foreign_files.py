"""Arbitrary and damaged files of other programs: each is imported correctly, or refused with an `AutopipeError`."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

import ase
import pytest
from ase.calculators.singlepoint import SinglePointCalculator
from ase.db import connect
from ase.io import write
from support.foreign_files import crystals, write_extxyz, write_vasprun
from support.properties import damaged, examples, given, little_memory, st
from support.pw_runs import PW

from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.storage import Dataset
from aiida_mlip_autopipe.storage.imports.import_dataset import import_dataset

# An output of VASP that ASE has for its own tests.
OUTCAR = Path(ase.__file__).parent / 'test' / 'testdata' / 'vasp' / 'OUTCAR_example_1'
LEVEL = {'method': 'dft', 'code': 'vasp', 'functional': 'PBE', 'cutoff_eV': 400}
# Lines that are special for at least one of the formats.
LINES = [
    '2',
    '-1',
    '99999999999',
    'Lattice="3 0 0 0 3 0 0 0 3" Properties=species:S:1:pos:R:3 energy=1.0',
    'Properties=species:S:1:pos:R:3:forces:R:3 energy=nan pbc="T T T"',
    'Cu 0 0 0',
    'Cu nan inf 0 1 2 3',
    ' vasp.6.4.2 complex',
    '<modeling>',
    '<calculation><structure/><energy/><varray/></calculation>',
    '</modeling>',
    '     Program PWSCF v.6.7 starts',
    'ATOMIC_POSITIONS (angstrom)',
    '!    total energy              =     -1.0 Ry',
    '     JOB DONE.',
    '- of UlmASE-Trajectory',
]


def import_all(path):
    """Import a file. If it succeeds, the written dataset can be read."""
    target = path.with_name('imported.db')
    with little_memory(), contextlib.suppress(AutopipeError):
        done = import_dataset([path], target, LEVEL, skip_invalid=True, overwrite=True)
        with Dataset(target) as dataset:
            assert len(list(dataset.query())) == done.n_rows > 0


@pytest.fixture(scope='module')
def files(tmp_path_factory):
    """A file of each format, by its name."""
    folder = tmp_path_factory.mktemp('foreign')
    frames = [
        (atoms, {'energy': labels['energy'], 'stress': labels['stress']}, {'forces': labels['forces']})
        for atoms, labels in crystals(2)
    ]
    write_extxyz(folder / 'a.extxyz', frames)
    write_vasprun(folder / 'vasprun.xml', crystals(2))
    images = []
    for atoms, labels in crystals(2):
        atoms.calc = SinglePointCalculator(atoms, **labels)
        images.append(atoms)
    write(folder / 'a.traj', images)
    with connect(folder / 'a.db') as database:
        for atoms in images:
            database.write(atoms, data={'note': [1, 2]}, tag='x')
    (folder / 'OUTCAR').write_bytes(OUTCAR.read_bytes())
    (folder / 'pw.out').write_bytes((PW / 'crystal.out').read_bytes())
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize('name', ['a.extxyz', 'a.traj', 'a.db', 'vasprun.xml', 'OUTCAR', 'pw.out'])
def test_the_undamaged_file_is_imported(files, tmp_path, name):
    path = tmp_path / name
    path.write_bytes(files[name])
    assert import_dataset([path], tmp_path / 'imported.db', None if name[0] != 'a' else LEVEL).n_rows > 0


@pytest.mark.parametrize('name', ['a.extxyz', 'a.traj', 'a.db', 'vasprun.xml', 'OUTCAR', 'pw.out'])
def test_a_damaged_file_is_refused_or_its_rows_can_be_read(files, tmp_path, name):
    path = tmp_path / name

    @examples('quick')
    @given(damaged(files[name]))
    def run(content):
        path.write_bytes(content)
        import_all(path)

    run()


def test_a_database_with_a_damaged_value_is_refused_or_its_rows_can_be_read(files, tmp_path):
    """The pages of the file are intact, so SQLite reads them."""
    path = tmp_path / 'a.db'
    columns = ['numbers', 'positions', 'cell', 'pbc', 'energy', 'forces', 'stress', 'key_value_pairs', 'data', 'id']
    values = [
        None,
        b'',
        '',
        'NaN',
        1e400,
        -1,
        2**40,
        b'\x00' * 7,
        '[1',
        '{"__ndarray__": [[9], "O", []]}',
        '{"a": NaN}',
    ]

    @examples('quick')
    @given(st.sampled_from(columns), st.sampled_from(values) | st.binary(max_size=100))
    def run(column, value):
        path.write_bytes(files['a.db'])
        change = f'UPDATE systems SET {column} = ? WHERE id = 1'
        with contextlib.closing(sqlite3.connect(path)) as connection, contextlib.suppress(sqlite3.IntegrityError):
            connection.execute(change, (value,))
            connection.commit()
        import_all(path)

    run()


@pytest.mark.parametrize('name', ['a.extxyz', 'vasprun.xml', 'OUTCAR', 'pw.out'])
def test_arbitrary_text_is_refused_or_its_rows_can_be_read(tmp_path, name):
    path = tmp_path / name

    @examples('quick')
    @given(st.lists(st.sampled_from(LINES) | st.text(max_size=40), max_size=8).map('\n'.join))
    def run(text):
        path.write_text(text, errors='replace')
        import_all(path)

    run()
