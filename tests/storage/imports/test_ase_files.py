import gzip
import shutil

import numpy as np
import pytest
from ase.calculators.singlepoint import SinglePointCalculator
from ase.constraints import FixAtoms, FixCartesian
from ase.db import connect
from ase.io import iread, read, write
from ase.io.extxyz import key_val_str_to_dict
from support.errors import refused
from support.foreign_files import crystals, write_extxyz

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.storage import Dataset
from aiida_mlip_autopipe.storage.imports.ase_files import parse_comment, read_extxyz
from aiida_mlip_autopipe.storage.imports.frames import Candidate
from aiida_mlip_autopipe.storage.imports.import_dataset import import_dataset

LEVEL = {'method': 'dft', 'code': 'gpaw', 'functional': 'pbe'}


def rows_of(path, target, **options):
    result = import_dataset([path], target, LEVEL, **options)
    with Dataset(target) as dataset:
        return result, list(dataset.query())


def test_an_ase_database_is_imported_with_everything_that_defines_its_structures(tmp_path):
    atoms, labels = crystals(1)[0]
    atoms.set_constraint([FixAtoms([0]), FixCartesian(1, mask=[True, False, True])])
    atoms.set_tags([3, 1, 4, 1])
    atoms.set_initial_magnetic_moments([0.5, -0.5, 0, 2])
    atoms.set_initial_charges([1.0, -1.0, 0, 0])
    atoms.calc = SinglePointCalculator(atoms, **labels, magmoms=np.array([0.4, -0.4, 0, 1.9]))
    with connect(tmp_path / 'foreign.db') as database:
        database.write(atoms, relaxed=True, project='alloys', data={'bands': [1.0, 2.0]})
    result, (row,) = rows_of(tmp_path / 'foreign.db', tmp_path / 'a.db')
    np.testing.assert_array_equal(row.labels['forces'], labels['forces'])  # also those on the fixed atoms
    np.testing.assert_array_equal(row.labels['stress'], labels['stress'])
    assert row.labels['energy'] == labels['energy']
    assert [constraint.todict() for constraint in row.atoms.constraints] == [
        constraint.todict() for constraint in atoms.constraints
    ]
    for name in ('tags', 'initial_magmoms', 'initial_charges', 'positions', 'numbers'):
        np.testing.assert_array_equal(row.atoms.arrays[name], atoms.arrays[name])
    values = row.data['imported']['values']
    assert (values['project'], values['relaxed'], list(values['bands'])) == ('alloys', True, [1.0, 2.0])
    np.testing.assert_array_equal(values['magmoms'], [0.4, -0.4, 0, 1.9])
    assert result.kept == {'project': 1, 'relaxed': 1, 'bands': 1, 'magmoms': 1}


def test_labels_that_a_database_keeps_as_keys_or_data_are_found(tmp_path):
    atoms, labels = crystals(1)[0]
    with connect(tmp_path / 'foreign.db') as database:
        database.write(atoms, dft_energy=labels['energy'], data={'dft_forces': labels['forces'].tolist()})
    _, (row,) = rows_of(tmp_path / 'foreign.db', tmp_path / 'a.db')
    assert row.labels['energy'] == labels['energy']
    np.testing.assert_array_equal(row.labels['forces'], labels['forces'])


def test_other_values_of_a_file_are_kept_or_reported(tmp_path):
    atoms, labels = crystals(1)[0]
    path = write_extxyz(
        tmp_path / 'a.extxyz',
        [
            (
                atoms,
                {'energy': labels['energy'], 'config_type': 'rattled bulk', 'weight': 2.0},
                {'forces': labels['forces'], 'mulliken': np.arange(4.0)},
            )
        ],
    )
    _, (row,) = rows_of(path, tmp_path / 'a.db')
    values = row.data['imported']['values']
    assert (values['config_type'], values['weight'], values['mulliken'].tolist()) == ('rattled bulk', 2.0, [0, 1, 2, 3])
    assert row.key_value_pairs['label'] == 'rattled bulk'


def test_labels_of_gpaw_are_those_that_ase_reads(data_folder, tmp_path):
    path = data_folder / 'si_gpaw.traj'
    _, rows = rows_of(path, tmp_path / 'a.db')
    expected = list(iread(path, ':'))
    assert len(rows) == len(expected) == 3
    for row, atoms in zip(rows, expected, strict=True):
        assert row.labels['energy'] == atoms.get_potential_energy(force_consistent=True)
        np.testing.assert_array_equal(row.labels['forces'], atoms.get_forces())
        np.testing.assert_array_equal(row.labels['stress'], atoms.get_stress())


def test_compressed_files_are_read(tmp_path):
    path = write_extxyz(
        tmp_path / 'a.extxyz', [(atoms, {'energy': 1.0}, {'forces': labels['forces']}) for atoms, labels in crystals()]
    )
    with path.open('rb') as source, gzip.open(tmp_path / 'b.extxyz.gz', 'wb') as target:
        shutil.copyfileobj(source, target)
    _, rows = rows_of(tmp_path / 'b.extxyz.gz', tmp_path / 'a.db')
    np.testing.assert_array_equal(rows[2].labels['forces'], crystals()[2][1]['forces'])


def test_a_malformed_frame_does_not_end_the_file_and_a_malformed_number_of_atoms_does(tmp_path):
    frames = [(atoms, {'energy': 1.0}, {'forces': labels['forces']}) for atoms, labels in crystals(4)]
    path = write_extxyz(tmp_path / 'a.extxyz', frames)
    lines = path.read_text().splitlines()
    lines[8] = 'Cu 1.0 what'
    path.write_text('\n'.join(lines))
    with refused(Code.FILE_UNREADABLE, 'a.extxyz, frame 1'):
        rows_of(path, tmp_path / 'a.db')
    result, rows = rows_of(path, tmp_path / 'a.db', skip_invalid=True)
    assert [row.key_value_pairs['step'] for row in rows] == [0, 2, 3]
    lines[12] = 'four'
    path.write_text('\n'.join(lines))
    result, rows = rows_of(path, tmp_path / 'b.db', skip_invalid=True)
    assert [row.key_value_pairs['step'] for row in rows] == [0]
    assert [str(fault).split(':')[0].rpartition('/')[2] for fault in result.faults] == [
        'a.extxyz, frame 1',
        'a.extxyz, frame 2',
    ]


def test_a_truncated_file_is_reported(tmp_path):
    frames = [(atoms, {'energy': 1.0}, {'forces': labels['forces']}) for atoms, labels in crystals(2)]
    path = write_extxyz(tmp_path / 'a.extxyz', frames)
    path.write_text('\n'.join(path.read_text().splitlines()[:-2]))
    with refused(Code.FILE_UNREADABLE, 'a.extxyz, frame 1', '2', '4'):
        rows_of(path, tmp_path / 'a.db')


@pytest.mark.parametrize('suffix', ['.db', '.traj'])
def test_a_damaged_file_is_reported(tmp_path, suffix):
    atoms, labels = crystals(1)[0]
    atoms.calc = SinglePointCalculator(atoms, **labels)
    path = tmp_path / f'foreign{suffix}'
    write(path, [atoms])
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with refused(Code.FILE_UNREADABLE, str(path)):
        rows_of(path, tmp_path / 'a.db')


@pytest.mark.parametrize('damage', [lambda content: content[:-400], lambda content: content[:-400] + b'\xff' * 400])
def test_a_damaged_compressed_file_is_reported(tmp_path, damage):
    frames = [(atoms, {'energy': 1.0}, {'forces': labels['forces']}) for atoms, labels in crystals(200)]
    content = gzip.compress(write_extxyz(tmp_path / 'a.extxyz', frames).read_bytes())
    (tmp_path / 'b.extxyz.gz').write_bytes(damage(content))
    with refused(Code.FILE_UNREADABLE, 'b.extxyz.gz'):
        rows_of(tmp_path / 'b.extxyz.gz', tmp_path / 'b.db')
    _, rows = rows_of(tmp_path / 'b.extxyz.gz', tmp_path / 'b.db', skip_invalid=True)
    assert 0 < len(rows) < 200


@pytest.mark.parametrize('n_atoms', ['99999999999999999999', '-1'])
def test_an_impossible_number_of_atoms_ends_the_file(tmp_path, n_atoms):
    frames = [(atoms, {'energy': 1.0}, {'forces': labels['forces']}) for atoms, labels in crystals(1)]
    path = write_extxyz(tmp_path / 'a.extxyz', frames)
    path.write_text(f'{path.read_text()}{n_atoms}\nenergy=1\n')
    with refused(Code.FILE_UNREADABLE, 'a.extxyz, frame 1', n_atoms):
        rows_of(path, tmp_path / 'a.db')


def test_more_columns_than_a_line_can_have_are_refused_before_memory_is_allocated(tmp_path):
    frames = [(atoms, {'energy': 1.0}, {'forces': labels['forces']}) for atoms, labels in crystals(2)]
    path = write_extxyz(tmp_path / 'a.extxyz', frames)
    path.write_text(path.read_text().replace('forces:R:3', 'forces:R:999999999999', 1))
    with refused(Code.FILE_UNREADABLE, 'a.extxyz, frame 0', '999999999999'):
        rows_of(path, tmp_path / 'a.db')
    _, rows = rows_of(path, tmp_path / 'a.db', skip_invalid=True)
    assert [row.key_value_pairs['step'] for row in rows] == [1]


@pytest.mark.parametrize(
    'text', ['0\nenergy=1\n', '1\npbc="T F F" Lattice="0 0 0 0 3 0 0 0 3" energy=1\nCu 0 0 0 0 0 0\n']
)
def test_a_frame_without_atoms_or_without_a_periodic_cell_is_reported(tmp_path, text):
    first, *others = text.splitlines()
    path = tmp_path / 'a.extxyz'
    path.write_text('\n'.join([first, f'Properties=species:S:1:pos:R:3:forces:R:3 {others[0]}', *others[1:], '']))
    with refused(Code.STRUCTURE_UNUSABLE, 'a.extxyz, frame 0'):
        rows_of(path, tmp_path / 'a.db')


COMMENTS = (
    'energy=-1.5 free_energy=2 name=copper flag=T pbc="T T F" step=3 Lattice="1 0 0 0 2 0 0 0 3" x=1e-3 n=007',
    'Properties=species:S:1:pos:R:3 a.b=1,2,3 c="x  y" d="" e="1 2 3" stress="1 2 3 4 5 6 7 8 9" energy=1 energy=2',
    'key_without_value energy=1',
    'a="it\'s" b=2',
    'a={1 2 3} b=[1, 2] c="[1, 2]"',
    'a="x \\" y" b=2',
    'a=b=c d=1',
    "a='single quotes' b=1",
    'a=x"y"z b=2',
    'a=1.5 b="1.5 2. -3.25e-4" c="1.5 2" uid=1.5 virial="1.5 2 3 4 5 6 7 8 9.5" d=+1.5 e=1.5.5 f=1.5,2.5',
    ' a=1\tb=2 ',
    '',
)


@pytest.mark.parametrize('comment', COMMENTS)
def test_a_comment_line_is_parsed_as_ase_parses_it(comment):
    expected = dict(key_val_str_to_dict(comment))
    for _ in range(2):
        found = parse_comment(comment)
        assert list(found) == list(expected)
        for name, value in expected.items():
            assert type(found[name]) is type(value)
            np.testing.assert_array_equal(found[name], value)
            if isinstance(value, np.ndarray):
                found[name][:] = 0  # does not change what the next frame gets


FRAMES = {
    'numbers of all types': 'Properties=species:S:1:pos:R:3:forces:R:3:site:I:1:fixed:L:1:name:S:1:q:I:2 energy=-1.5'
    '|cu 0.1 1e-3 -2 1 2 3.5 7 T a 1 2|Au 1.25 0 0.3 -4 5 6 8 F b 3 4',
    'results for all atoms': 'Properties=species:S:1:pos:R:3:magmoms:R:1:forces:R:3 energy=2 magmom=1 free_energy=-2.5 '
    'stress="1.5 2 3 4 5 6 7 8 9.0" pbc="T F T"|Cu 0 0 0 1 2 3 4|Cu 1 1 1 2 3 4 5',
    'a key of both': 'Properties=species:S:1:pos:R:3:energy:R:1 energy=1 charges=2|Cu 0 0 0 1|Cu 1 1 1 2',
    'columns of the structure': 'Properties=species:S:1:pos:R:3:tags:I:1:momenta:R:3|Cu 0 0 0 1 2 3 4|Cu 1 1 1 2 3 4 5',
    'constraints': 'Properties=species:S:1:pos:R:3:move_mask:L:1|Cu 0 0 0 T|Cu 1 1 1 F',
    'more columns than stated': 'Properties=species:S:1:pos:R:3|Cu 0 0 0 1|Cu 1 1 1',
    'atomic numbers': 'Properties=species:S:1:pos:R:3:Z:I:1|Cu 0 0 0 29|Cu 1 1 1 29',
    'no species': 'Properties=pos:R:3:Z:I:1|0 0 0 29|1 1 1 29',
    'no properties': 'energy=1|Cu 0 0 0|Cu 1 1 1',
}


@pytest.mark.parametrize('cell', ['Lattice="4.5 0 0 0.5 5 0 0 0 6.0" ', ''])
@pytest.mark.parametrize('name', FRAMES)
def test_a_frame_is_read_as_ase_reads_it(tmp_path, name, cell):
    comment, *lines = FRAMES[name].split('|')
    path = tmp_path / 'a.extxyz'
    path.write_text('\n'.join([f'{len(lines)}', cell + comment, *lines, '']))
    (found,) = read_extxyz(path)
    expected = Candidate.from_atoms(0, read(path))
    assert found.atoms.cell.array.tolist() == expected.atoms.cell.array.tolist()
    assert found.atoms.pbc.tolist() == expected.atoms.pbc.tolist()
    assert [one.todict() for one in found.atoms.constraints] == [one.todict() for one in expected.atoms.constraints]
    for one, other in ((found.values, expected.values), (found.atoms.arrays, expected.atoms.arrays)):
        assert list(one) == list(other)
        for key, value in other.items():
            assert type(one[key]) is type(value)
            assert np.asarray(one[key]).dtype == np.asarray(value).dtype
            np.testing.assert_array_equal(one[key], value)


@pytest.mark.parametrize('text', ['1.250\n', '1.250', '-1.25e-10'])
def test_the_last_number_of_a_complete_file_is_read(tmp_path, text):
    path = tmp_path / 'a.extxyz'
    path.write_text(
        f'2\nProperties=species:S:1:pos:R:3:forces:R:3 energy=1\nCu 0 0 0 1.0 1.0 1.0\nCu 1 1 1 2.0 2.0 {text}'
    )
    (found,) = read_extxyz(path)
    assert found.values['forces'][1, 2] == float(text)


@pytest.mark.parametrize('n_missing', [1, 5, 7, 8])
@pytest.mark.parametrize('n_atoms', [1, 2])
def test_a_file_that_ends_within_its_last_number_is_reported(tmp_path, n_atoms, n_missing):
    path = tmp_path / 'a.extxyz'
    line = 'Cu 0 0 0 1.23456789 -2.34567891 -3.45678912'
    lines = [f'{n_atoms}', 'Properties=species:S:1:pos:R:3:forces:R:3 energy=1', *[line] * n_atoms]
    path.write_text('\n'.join(lines)[:-n_missing])
    with refused(Code.FILE_UNREADABLE, 'a.extxyz, frame 0', line[:-n_missing].split()[-1]):
        rows_of(path, tmp_path / 'a.db')
