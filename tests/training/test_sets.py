from dataclasses import replace

import pytest
from support.alloy_rows import alloy_rows
from support.errors import refused
from support.silicon import write_silicon

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.storage import SplitSettings
from aiida_mlip_autopipe.training.errors import read_frames
from aiida_mlip_autopipe.training.sets import choose_sets, complete_settings, write_sets


def test_stored_sets_are_used_by_default(tmp_path):
    rows = write_silicon(tmp_path / 'si.db')
    splits = choose_sets(rows, None, 0).splits
    assert [splits.count(name) for name in ('train', 'valid', 'test')] == [31, 5, 12]
    assert splits == tuple(row.key_value_pairs['split'] for row in rows)


def test_without_stored_sets_whole_groups_are_held_out_for_validation_only():
    rows = alloy_rows(12)
    splits = choose_sets(rows, None, 0).splits
    assert set(splits) == {'train', 'valid'}
    groups = {row.key_value_pairs['parent'] for row, split in zip(rows, splits, strict=True) if split == 'valid'}
    others = {row.key_value_pairs['parent'] for row, split in zip(rows, splits, strict=True) if split == 'train'}
    assert not groups & others


def test_a_stored_test_set_is_kept_and_a_missing_validation_set_is_drawn_with_a_warning(tmp_path):
    rows = [
        replace(row, key_value_pairs={**row.key_value_pairs, 'split': 'test' if number < 2 else 'train'})
        for number, row in enumerate(write_silicon(tmp_path / 'si.db', (12, 1, 0)))
    ]
    result = choose_sets(rows, None, 0)
    assert result.splits[:2] == ('test', 'test')
    assert {'train', 'valid'} <= set(result.splits[2:])
    assert len(result.report['warnings']) == 1
    # The same defaults as those of `dataset split`.
    values, notes = complete_settings({}, rows, needs_valid=True)
    assert values['by'] == 'stored'
    assert notes == result.report['warnings']


def test_fractions_that_contradict_stored_sets_are_refused(tmp_path):
    rows = write_silicon(tmp_path / 'si.db', (8, 2, 2))
    with refused(Code.VALUES_EXCLUDE, 'valid_fraction'):
        choose_sets(rows, SplitSettings(valid_fraction=0.2), 0)
    assert set(choose_sets(rows, SplitSettings(by='parent', valid_fraction=0.2), 0).splits) == {
        'train',
        'valid',
        'test',
    }


def test_rows_without_labels_and_sets_without_rows_are_refused(tmp_path):
    rows = write_silicon(tmp_path / 'si.db', (4, 1, 0))
    with refused(Code.SPLIT_EMPTY, 'validation'):
        choose_sets(rows, SplitSettings(by='parent', valid_fraction=0, test_fraction=0), 0)
    atoms = rows[2].atoms.copy()
    with refused(Code.LABELS_MISSING, 'row 3'):
        choose_sets([*rows[:2], replace(rows[2], atoms=atoms), *rows[3:]], None, 0)


def test_mixed_levels_are_refused(tmp_path):
    with refused(Code.LEVELS_MIXED):
        choose_sets([*alloy_rows(3), *write_silicon(tmp_path / 'si.db', (4, 1, 0))], None, 0)


def test_the_order_of_the_rows_is_drawn_from_the_random_seed(tmp_path):
    rows = write_silicon(tmp_path / 'si.db', (8, 2, 0))
    splits = choose_sets(rows, None, 0).splits
    energies = []
    for number, random_seed in enumerate((3, 3, 4)):
        folder = tmp_path / str(number)
        folder.mkdir()
        names = write_sets(folder / 'set.extxyz', rows, splits, random_seed)
        assert names == {'train': 'set-train.extxyz', 'valid': 'set-valid.extxyz'}
        energies.append([frame.info['REF_energy'] for frame in read_frames(folder / names['train'])])
    assert energies[0] == energies[1]
    assert energies[0] != energies[2]
    assert sorted(energies[0]) == pytest.approx(sorted(energies[2]))


def test_all_frames_have_the_same_keys_although_some_rows_have_more(tmp_path):
    rows = write_silicon(tmp_path / 'si.db', (8, 2, 0))
    splits = choose_sets(rows, None, 0).splits
    more = replace(rows[0], key_value_pairs=rows[0].key_value_pairs | {'role': 'calibration', 'gain': 1.5})
    names = write_sets(tmp_path / 'set.extxyz', [more, *rows[1:]], splits, 3)
    frames = [frame for name in names.values() for frame in read_frames(tmp_path / name)]
    assert len({tuple(sorted(frame.info)) for frame in frames}) == 1
    assert 'REF_energy' in frames[0].info
