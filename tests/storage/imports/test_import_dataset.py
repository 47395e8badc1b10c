"""The rows of an import: identity, groups, copies, and rows that this program wrote."""

import numpy as np
import pytest
from ase import Atoms
from ase.io import read
from support.errors import refused
from support.foreign_files import crystals, write_extxyz

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.hashing import file_sha256
from aiida_mlip_autopipe.storage import Dataset, export_dataset
from aiida_mlip_autopipe.storage.imports.import_dataset import import_dataset, shorten
from aiida_mlip_autopipe.storage.imports.sources import find_sources
from aiida_mlip_autopipe.structures.rows.row import isolated_atom_energies

LEVEL = {'method': 'dft', 'code': 'gpaw', 'functional': 'pbe'}


def write(path, found, **changes):
    """Write labelled structures; ``changes`` are added to the energies."""
    return write_extxyz(
        path,
        [
            (atoms, {'energy': labels['energy'] + changes.get('energy', 0)}, {'forces': labels['forces']})
            for atoms, labels in found
        ],
    )


def rows_of(*paths, target, level=LEVEL, **options):
    result = import_dataset(paths, target, level, overwrite=True, **options)
    with Dataset(target) as dataset:
        return result, list(dataset.query())


def test_a_row_is_identified_by_its_file_and_frame_and_names_its_origin(tmp_path):
    path = write(tmp_path / 'a.extxyz', crystals(2))
    result, rows = rows_of(path, target=tmp_path / 'a.db')
    sha256 = file_sha256(path)
    for index, row in enumerate(rows):
        assert row.identity == (f'file-{sha256[:16]}', index, result.level.hash)
        pairs = row.key_value_pairs
        assert (pairs['kind'], pairs['label_source'], pairs['level']) == ('imported', 'dft:gpaw:pbe', row.level.hash)
        assert (pairs['file'], pairs['file_sha256']) == ('a.extxyz', f'sha256:{sha256}')
        origin = row.data['imported']
        assert (origin['file'], origin['sha256'], origin['frame']) == ('a.extxyz', sha256, index)
        assert origin['keys'] == {'energy': 'energy', 'forces': 'forces'}
    path.rename(tmp_path / 'renamed.extxyz')
    _, again = rows_of(tmp_path / 'renamed.extxyz', target=tmp_path / 'b.db')
    assert [row.identity for row in again] == [row.identity for row in rows]


@pytest.mark.parametrize(('group_by', 'n_groups'), [('composition', 2), ('file', 3)])
def test_rows_are_grouped_by_composition_or_by_file(tmp_path, group_by, n_groups):
    files = [
        write(tmp_path / f'{name}.extxyz', crystals(n, symbol=symbol, scale=scale))
        for name, n, symbol, scale in (('a', 2, 'Cu', 0.95), ('b', 2, 'Cu', 1.0), ('c', 1, 'Au', 1.0))
    ]
    result, rows = rows_of(*files, target=tmp_path / 'all.db', group_by=group_by)
    parents = [row.key_value_pairs['parent'] for row in rows]
    assert (result.n_groups, len(set(parents))) == (n_groups, n_groups)
    assert parents[0] == parents[1] != parents[4]
    assert result.warnings == []


def test_rows_of_a_single_group_are_reported_because_they_cannot_be_divided(tmp_path):
    first, second = (write(tmp_path / f'{name}.extxyz', crystals(2, scale=s)) for name, s in (('a', 0.95), ('b', 1.0)))
    for files, options, n_groups in (
        ((first,), {}, 1),
        ((first, second), {}, 1),
        ((first,), {'group_by': 'file'}, 1),
        ((first, second), {'group_by': 'file'}, 2),
    ):
        result, _ = rows_of(*files, target=tmp_path / 'all.db', **options)
        assert (result.n_groups, len(result.warnings)) == (n_groups, int(n_groups == 1))
    result, _ = rows_of(write(tmp_path / 'c.extxyz', crystals(1)), target=tmp_path / 'all.db')
    assert result.warnings == []


def test_exact_copies_are_written_once_and_different_labels_are_reported(tmp_path):
    found = crystals(3)
    first = write(tmp_path / 'a.extxyz', found)
    second = write(tmp_path / 'b.extxyz', found[1:] + crystals(1, scale=1.0))
    third = write(tmp_path / 'c.extxyz', found[:1], energy=0.5)
    result, rows = rows_of(first, second, third, target=tmp_path / 'all.db')
    assert (result.n_rows, len(rows), result.n_copies) == (5, 5, 2)
    ((kept, other),) = result.conflicts
    assert (kept.rpartition('/')[2], other.rpartition('/')[2]) == ('a.extxyz, frame 0', 'c.extxyz, frame 0')


def test_energies_of_isolated_atoms_are_those_of_the_frames_that_are_marked(tmp_path):
    atom = Atoms('Cu', cell=[12, 12, 12], pbc=True)
    atoms, labels = crystals(1)[0]
    frames = [
        (atom, {'energy': -0.25, 'config_type': 'IsolatedAtom'}, {'forces': np.zeros((1, 3))}),
        (atoms, {'energy': labels['energy'], 'config_type': 'bulk'}, {'forces': labels['forces']}),
    ]
    result, rows = rows_of(write_extxyz(tmp_path / 'a.extxyz', frames), target=tmp_path / 'all.db')
    assert result.isolated_atoms == isolated_atom_energies(rows) == {'Cu': -0.25}
    assert [row.key_value_pairs['kind'] for row in rows] == ['atom', 'imported']
    frames.append((atom, {'energy': -0.3, 'config_type': 'isolated_atom'}, {'forces': np.zeros((1, 3))}))
    with refused(Code.LABELS_AMBIGUOUS, 'a.extxyz, frame 2', 'Cu', '-0.25', '-0.3'):
        rows_of(write_extxyz(tmp_path / 'a.extxyz', frames), target=tmp_path / 'all.db')


def test_files_that_share_a_structure_are_one_group(tmp_path):
    found = crystals(1)
    rotated = found[0][0].copy()
    rotated.rotate(90, 'z', rotate_cell=True)
    turn = np.array([[0, 1, 0], [-1, 0, 0], [0, 0, 1]])
    turned = {**found[0][1], 'forces': found[0][1]['forces'] @ turn}
    paths = [write(tmp_path / 'a.extxyz', found), write(tmp_path / 'b.extxyz', [(rotated, turned)])]
    result, rows = rows_of(*paths, target=tmp_path / 'all.db', group_by='file')
    assert (result.n_copies, result.n_groups_joined, result.n_groups) == (0, 1, 1)
    assert len({row.key_value_pairs['parent'] for row in rows}) == 1


def test_rows_that_this_program_exported_are_restored(make_rows, tmp_path):
    rows = make_rows(3)
    for row in rows:
        row.key_value_pairs['split'] = 'test'
    export_dataset(tmp_path / 'own.extxyz', rows)
    export_dataset(tmp_path / 'own.db', rows)
    for source in ('own.extxyz', 'own.db'):
        result, found = rows_of(tmp_path / source, target=tmp_path / 'all.db', level=None)
        assert (result.files[0].n_restored, result.n_rows) == (3, 3)
        for row, original in zip(found, rows, strict=True):
            assert row.key_value_pairs == original.key_value_pairs
            assert row.identity == original.identity
            assert row.level == original.level
            np.testing.assert_allclose(row.labels['forces'], original.labels['forces'], atol=1e-8)
            np.testing.assert_allclose(row.labels['stress'], original.labels['stress'], atol=1e-12)
            np.testing.assert_array_equal(row.atoms.constraints[0].index, original.atoms.constraints[0].index)
    assert found[0].data['seed'] == rows[0].data['seed']


def test_exported_rows_are_restored_only_with_their_own_level(make_rows, tmp_path):
    rows = make_rows(1)
    rows[0].key_value_pairs['level'] = 'level-0000000000000000'
    export_dataset(tmp_path / 'own.extxyz', rows)
    with refused(Code.LEVELS_MIXED, 'own.extxyz, frame 0', 'level-0000000000000000', '--level'):
        rows_of(tmp_path / 'own.extxyz', target=tmp_path / 'all.db', level=None)
    foreign = write(tmp_path / 'a.extxyz', crystals(1))
    export_dataset(tmp_path / 'own.extxyz', make_rows(1), overwrite=True)
    with refused(Code.LEVELS_MIXED, 'own.extxyz', make_rows(1)[0].level_hash):
        rows_of(foreign, tmp_path / 'own.extxyz', target=tmp_path / 'all.db')


def test_nothing_is_written_without_valid_frames(tmp_path):
    atoms, _ = crystals(1)[0]
    path = write_extxyz(tmp_path / 'a.extxyz', [(atoms, {}, {})])
    with refused(Code.IMPORT_INCOMPLETE, '--skip-invalid'):
        rows_of(path, target=tmp_path / 'all.db')
    with refused(Code.DATASET_EMPTY, 'all.db'):
        rows_of(path, target=tmp_path / 'all.db', skip_invalid=True)
    assert not (tmp_path / 'all.db').exists()


def test_many_faults_are_counted():
    from aiida_mlip_autopipe.core.errors import AutopipeError

    faults = [AutopipeError(Code.LABELS_MISSING, f'frame {index}') for index in range(25)]
    shown = shorten([*faults, AutopipeError(Code.FILE_UNREADABLE, 'b')])
    assert [str(fault) for fault in shown[9:11]] == ['frame 9', '15 more frames with the same fault']
    assert (len(shown), shown[-1].code) == (12, Code.FILE_UNREADABLE)


def test_folders_are_searched_and_other_files_are_ignored_or_refused(tmp_path):
    (tmp_path / 'deep' / 'er').mkdir(parents=True)
    write(tmp_path / 'deep' / 'er' / 'a.extxyz', crystals(1))
    (tmp_path / 'deep' / 'notes.txt').write_text('4\nnot a file to import\n')
    sources, replaced = find_sources([tmp_path])
    assert ([path.name for path, _ in sources], replaced) == (['a.extxyz'], [])
    rows_of(tmp_path, target=tmp_path / 'all.db')
    result, _ = rows_of(tmp_path, target=tmp_path / 'all.db')
    assert [file.path.name for file in result.files] == ['a.extxyz']  # and not the dataset of the first import
    (tmp_path / 'other.dat').write_text('What is this?\n')
    with refused(Code.FILE_UNREADABLE, 'other.dat', 'extended XYZ', 'OUTCAR'):
        find_sources([tmp_path / 'other.dat'])
    with refused(Code.FILE_MISSING, 'missing.db'):
        find_sources([tmp_path / 'missing.db'])
    (tmp_path / 'empty').mkdir()
    with refused(Code.STRUCTURES_MISSING, 'empty', '*.extxyz'):
        find_sources([tmp_path / 'empty'])


def test_the_same_files_give_the_same_rows(tmp_path):
    path = write(tmp_path / 'a.extxyz', crystals(2))
    for name in ('a.extxyz.out.extxyz', 'b.extxyz.out.extxyz'):
        import_dataset([path], tmp_path / name, LEVEL)
    texts = [(tmp_path / name).read_bytes() for name in ('a.extxyz.out.extxyz', 'b.extxyz.out.extxyz')]
    assert texts[0] == texts[1]
    assert read(tmp_path / 'a.extxyz.out.extxyz', 1).info['kind'] == 'imported'


def test_a_frame_is_a_copy_only_if_an_earlier_one_has_the_same_labels_including_the_stress(tmp_path):
    atoms, labels = crystals(1)[0]
    frames = [
        (atoms, {'energy': labels['energy'] + energy, 'stress': stress * np.eye(3)}, {'forces': labels['forces']})
        for energy, stress in ((0, 0.01), (1, 0.01), (1, 0.01), (0, -0.01), (0, 0.01))
    ]
    result, rows = rows_of(write_extxyz(tmp_path / 'a.extxyz', frames), target=tmp_path / 'all.db')
    assert [row.key_value_pairs['step'] for row in rows] == [0, 1, 3]
    assert (result.n_copies, len(result.conflicts)) == (2, 2)


@pytest.mark.parametrize('label', ['T', 'F', 'hot'])
def test_a_label_that_reads_as_a_boolean_is_restored(make_rows, tmp_path, label):
    rows = make_rows(1)
    rows[0].key_value_pairs['label'] = label
    export_dataset(tmp_path / 'own.extxyz', rows)
    export_dataset(tmp_path / 'own.db', rows)
    _, (row,) = rows_of(tmp_path / 'own.extxyz', target=tmp_path / 'all.db', level=rows[0].level)
    assert row.key_value_pairs['label'] == label


def test_groups_of_files_are_joined_by_copies_that_are_left_out(tmp_path):
    shared, *others = crystals(3)
    paths = [write(tmp_path / f'{name}.extxyz', [shared, one]) for name, one in zip('ab', others, strict=True)]
    result, rows = rows_of(*paths, target=tmp_path / 'all.db', group_by='file')
    assert (result.n_copies, result.n_groups_joined, result.n_groups) == (1, 1, 1)
    assert len({row.key_value_pairs['parent'] for row in rows}) == 1


def test_what_the_format_does_not_store_is_reported(tmp_path):
    path = write(tmp_path / 'a.extxyz', crystals(2))
    result = import_dataset([path], tmp_path / 'b.extxyz', LEVEL)
    assert list(result.remarks.values()) == [2]
