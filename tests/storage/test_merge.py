from dataclasses import replace

import numpy as np
import pytest
from ase.calculators.singlepoint import SinglePointCalculator
from support.errors import refused

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.storage import Dataset, Row, export_dataset
from aiida_mlip_autopipe.storage.merge import MergeResult, compare_datasets, merge_datasets
from aiida_mlip_autopipe.structures.rows.level import LevelOfTheory

RUN = '6a2f41a3-c54c-fce8-32d2-0324e1c32e22'
CHANGED = ('seed-1234567890123456', 1, 'mlip:emt')


@pytest.fixture
def write(tmp_path):
    def write_rows(name, rows):
        export_dataset(tmp_path / name, rows)
        return tmp_path / name

    return write_rows


def test_a_merged_dataset_contains_every_frame_once(make_rows, write, tmp_path):
    first, second = write('a.db', make_rows(3)), write('b.db', make_rows(5)[2:])
    assert merge_datasets([first, second], tmp_path / 'all.db') == MergeResult(5, 1)
    with Dataset(tmp_path / 'all.db') as dataset:
        assert [row.provenance.step for row in dataset.query()] == [0, 1, 2, 3, 4]
    difference = compare_datasets(tmp_path / 'all.db', write('complete.db', make_rows(5)))
    assert (difference.same, difference.changed) == (5, ())


def test_datasets_with_different_levels_of_theory_are_not_merged(make_rows, write, tmp_path):
    sources = [write('a.db', make_rows(1)), write('b.db', make_rows(1, label_source='dft:vasp:pbe'))]
    with refused(Code.LEVELS_MIXED, 'a.db', 'b.db', 'method: mlip and dft'):
        merge_datasets(sources, tmp_path / 'all.db')
    assert not (tmp_path / 'all.db').exists()


def with_potentials(rows, **potentials):
    """Return rows with labels of VASP whose level lists potentials."""
    found = []
    for row in rows:
        parameters = {'cutoff_eV': 520, 'potentials': potentials}
        level = LevelOfTheory(method='dft', code='vasp', name='dft:vasp:pbe', parameters=parameters)
        pairs = row.key_value_pairs | {'level': level.hash, 'label_source': level.name}
        found.append(replace(row, key_value_pairs=pairs, data=row.data | {'level': level.model_dump()}))
    return found


def test_datasets_of_other_elements_are_merged_and_get_the_potentials_of_all_elements(make_rows, write, tmp_path):
    copper = write('cu.db', with_potentials(make_rows(2), Cu='PAW_PBE Cu'))
    gold = write('au.db', with_potentials(make_rows(3, exploration='b' * 36)[2:], Au='PAW_PBE Au'))
    assert merge_datasets([copper, gold], tmp_path / 'all.db').n_rows == 3
    with Dataset(tmp_path / 'all.db') as dataset:
        rows = list(dataset.query())
    assert {row.level_hash for row in rows} == {rows[0].level.hash}
    assert rows[0].level.parameters['potentials'] == {'Cu': 'PAW_PBE Cu', 'Au': 'PAW_PBE Au'}
    # A merged dataset can be merged and compared again.
    assert merge_datasets([tmp_path / 'all.db', copper], tmp_path / 'again.db').n_repeated == 2
    difference = compare_datasets(copper, tmp_path / 'all.db')
    assert (difference.same, len(difference.only_second)) == (2, 1)
    other = write('other.db', with_potentials(make_rows(1), Cu='PAW_PBE Cu_pv', Al='PAW_PBE Al'))
    with refused(Code.LEVELS_MIXED, 'all.db', 'other.db', 'potentials.Cu: PAW_PBE Cu and PAW_PBE Cu_pv') as caught:
        merge_datasets([tmp_path / 'all.db', other], tmp_path / 'refused.db')
    assert 'potentials.Al' not in str(caught.value)


def test_a_frame_with_different_labels_is_refused(make_rows, write, tmp_path):
    rows = make_rows(2)
    rows[1].atoms.calc.results['energy'] += 1e-12
    with refused(Code.FRAMES_DIFFER, 'b.db', 'step 1 of seed-1234567890123456'):
        merge_datasets([write('a.db', make_rows(2)), write('b.db', rows)], tmp_path / 'all.db')


def test_a_difference_lists_the_rows(make_rows, write):
    rows = make_rows(4)
    rows[1].atoms.positions[0, 0] += 1e-9
    rows[1].atoms.calc.atoms.positions[0, 0] += 1e-9
    difference = compare_datasets(write('a.db', make_rows(3)), write('b.db', rows[1:]))
    assert [identity[1] for identity in difference.only_first] == [0]
    assert [identity[1] for identity in difference.only_second] == [3]
    assert [(name.seed, name.step, name.label_source) for name in difference.changed] == [CHANGED]
    assert difference.same == 1


def test_rows_that_do_not_come_from_a_campaign_are_refused(make_rows, write):
    path = write('a.db', [Row(make_rows(1)[0].atoms, {'label_source': 'mlip:emt'})])
    with refused(Code.ROW_KEY_MISSING, 'row 1', 'a.db', 'exploration'):
        compare_datasets(path, path)


@pytest.mark.parametrize('lost', ['constraints', 'tags', 'moments', 'charges'])
def test_structures_that_lost_a_property_differ_and_are_not_merged(make_rows, write, tmp_path, lost):
    complete, stripped = make_rows(2), make_rows(2)
    for rows in (complete, stripped):
        for row in rows:
            row.atoms.set_initial_charges(range(len(row.atoms)))
            row.atoms.calc.atoms = row.atoms.copy()
    atoms = stripped[1].atoms
    {
        'constraints': atoms.set_constraint,
        'tags': lambda: atoms.set_tags(0),
        'moments': lambda: atoms.set_initial_magnetic_moments(None),
        'charges': lambda: atoms.set_initial_charges(None),
    }[lost]()
    stripped[1].atoms.calc.atoms = atoms.copy()
    first, second = write('a.db', complete), write('b.db', stripped)
    difference = compare_datasets(first, second)
    assert [(name.seed, name.step, name.label_source) for name in difference.changed] == [CHANGED]
    assert difference.same == 1
    with refused(Code.FRAMES_DIFFER, 'b.db', 'step 1 of seed-1234567890123456'):
        merge_datasets([first, second], tmp_path / 'all.db')


def test_the_same_files_explored_at_two_temperatures_are_merged(make_rows, write, tmp_path):
    hot = make_rows(3, exploration='b' * 36, temperature_K=900.0)
    for row in hot:
        row.atoms.positions += 0.01
        row.atoms.calc.atoms.positions += 0.01
    paths = [write('600.db', make_rows(3)), write('900.db', hot)]
    # A shift of the origin does not change the labels, so these frames are also copies.
    assert merge_datasets(paths, tmp_path / 'all.db') == MergeResult(6, 0, n_alike=3)
    with Dataset(tmp_path / 'all.db') as dataset:
        assert [row.identity.run for row in dataset.query()] == [RUN] * 3 + ['b' * 36] * 3


def test_the_frames_of_a_repeated_run_are_written_once_and_counted(make_rows, write, tmp_path):
    repeated = make_rows(4, exploration='b' * 36)
    paths = [write('first.db', make_rows(3)), write('second.db', repeated)]
    assert merge_datasets(paths, tmp_path / 'all.db') == MergeResult(4, 3)
    difference = compare_datasets(*paths)
    assert (difference.same, len(difference.only_second)) == (3, 1)


def test_a_dataset_that_contains_a_frame_with_two_labels_is_refused(make_rows, write, tmp_path):
    rows = [*make_rows(1), *make_rows(1)]
    rows[1].atoms.calc.results['energy'] += 1.0
    with refused(Code.FRAMES_DIFFER, 'a.db', 'step 0'):
        merge_datasets([write('a.db', rows)], tmp_path / 'all.db')


def test_a_difference_lists_the_fields_of_the_metadata_and_their_rows(make_rows, write):
    other = make_rows(3)
    other[1].key_value_pairs['split'] = 'test'
    other[1].data['seed'] = other[1].data['seed'] | {'strain': [0.01, None, 0.5]}
    difference = compare_datasets(write('a.db', make_rows(3)), write('b.db', other))
    assert (difference.same, difference.is_empty) == (3, False)
    assert {name: [row.step for row in rows] for name, rows in difference.metadata.items()} == {
        'split': [1],
        'data.seed.strain': [1],
    }


def test_the_uuid_of_a_repeated_run_is_not_a_difference(make_rows, write):
    assert compare_datasets(write('a.db', make_rows(1)), write('b.db', make_rows(1, exploration='b' * 36))).is_empty


def dft_row(make_rows, step, **parameters):
    (row,) = make_rows(step + 1, label_source='dft:vasp:pbe')[step:]
    level = LevelOfTheory(
        method='dft', code='vasp', name='dft:vasp:pbe', parameters={'kspacing_per_A': 0.2} | parameters
    )
    row.data['level'], row.key_value_pairs['level'] = level.model_dump(), level.hash
    return row


def test_levels_that_list_the_potentials_of_different_elements_are_joined(make_rows, write, tmp_path):
    def row(step, **potentials):
        return dft_row(make_rows, step, potentials=potentials)

    sources = [write('a.db', [row(0, Cu='x')]), write('b.db', [row(0, Cu='x', Au='y'), row(1, Cu='x', Au='y')])]
    merged = merge_datasets(sources, tmp_path / 'all.db')
    assert (merged.n_rows, merged.n_repeated) == (2, 1)
    with Dataset(tmp_path / 'all.db') as dataset:
        rows = list(dataset.query())
    for one in rows:
        assert one.level.parameters['potentials'] == {'Cu': 'x', 'Au': 'y'}
        assert one.key_value_pairs['level'] == one.level.hash == merged.joined_level.hash
    with refused(Code.LEVELS_MIXED, 'potentials.Cu: x and z'):
        merge_datasets([sources[0], write('c.db', [row(1, Cu='z', Au='y')])], tmp_path / 'no.db')
    other = dft_row(make_rows, 1, potentials={'Au': 'y'}, kspacing_per_A=0.5)
    with refused(Code.LEVELS_MIXED, 'kspacing_per_A: 0.2 and 0.5'):
        merge_datasets([sources[0], write('d.db', [other])], tmp_path / 'no.db')
    assert not (tmp_path / 'no.db').exists()


def test_copies_with_other_rounding_are_kept_and_reported(make_rows, write, tmp_path):
    first = write('a.db', make_rows(3))
    rounded = []
    for row in make_rows(3, exploration='b' * 36)[1:]:
        atoms = row.atoms.copy()
        atoms.positions = atoms.positions.round(8)
        labels = {name: np.round(value, 8) for name, value in row.labels.items()}
        atoms.calc = SinglePointCalculator(atoms, **labels)
        rounded.append(replace(row, atoms=atoms))
    merged = merge_datasets([first, write('b.db', rounded)], tmp_path / 'all.db')
    assert (merged.n_rows, merged.n_repeated, merged.n_alike) == (5, 0, 2)
    # Copies within one dataset are not reported.
    assert merge_datasets([tmp_path / 'all.db'], tmp_path / 'same.db').n_alike == 0


def test_identical_rows_of_different_groups_are_kept_so_that_a_split_joins_the_groups(make_rows, write, tmp_path):
    rows, others = make_rows(2), make_rows(2, exploration='b' * 36, seed_id='b' * 16)
    for row in others:
        row.key_value_pairs['parent'] = 'another'
    others[1].atoms.calc.results['energy'] += 5.0
    merged = merge_datasets([write('a.db', rows), write('b.db', others)], tmp_path / 'all.db')
    assert (merged.n_rows, merged.n_repeated, merged.n_alike) == (4, 0, 1)
    for row in others:
        row.key_value_pairs['parent'] = rows[0].key_value_pairs['parent']
    merged = merge_datasets([tmp_path / 'a.db', write('c.db', others)], tmp_path / 'same.db')
    assert (merged.n_rows, merged.n_repeated, merged.n_alike) == (3, 1, 0)


def test_a_merged_dataset_reports_what_its_format_does_not_store(make_rows, write, tmp_path):
    merged = merge_datasets([write('a.db', make_rows(2))], tmp_path / 'all.extxyz')
    assert sorted(merged.remarks.values()) == [2, 2]
    assert any('fixed atoms' in remark for remark in merged.remarks)
