from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.cluster import Octahedron
from pydantic import ValidationError
from support.errors import refused

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.storage import Dataset, make_row
from aiida_mlip_autopipe.storage.sets.split import SplitSettings, export_splits, split_rows
from aiida_mlip_autopipe.storage.sets.stored import has_stored_splits


def labelled(atoms):
    atoms.calc = EMT()
    results = {name: atoms.calc.get_property(name, atoms) for name in ('energy', 'forces', 'stress')}
    atoms.calc = SinglePointCalculator(atoms, **results)
    return atoms


@pytest.fixture
def make_groups(make_provenance):
    """Return a function that makes the rows of n groups of three frames: six groups of alloys, then of surfaces."""

    def make(n, composition=lambda group: 1):
        rows = []
        for group in range(n):
            for step in range(3):
                atoms = bulk('Cu', cubic=True)
                atoms.numbers[: composition(group)] = 79
                atoms.rattle(0.1, seed=10 * group + step)
                record = {'kind': 'alloy' if group < 6 else 'surface', 'parent': f'parent{group}'}
                rows.append(make_row(labelled(atoms), make_provenance(step=step), record))
        return rows

    return make


def sets_of(rows, result, key):
    found = {}
    for row, split in zip(rows, result.splits, strict=True):
        found.setdefault(row.key_value_pairs[key], set()).add(split)
    return found


def test_rows_with_the_same_parent_are_in_one_set(make_groups):
    rows = make_groups(10)
    result = split_rows(rows, SplitSettings(valid_fraction=0.2, test_fraction=0.2), random_seed=1)
    assert all(len(splits) == 1 for splits in sets_of(rows, result, 'parent').values())
    contents = result.report.pop('contents')
    assert result.report == {
        'by': 'parent',
        'n_rows': {'train': 18, 'valid': 6, 'test': 6},
        'n_requested': {'valid': 6, 'test': 6},
        'n_groups': {'train': 6, 'valid': 2, 'test': 2},
        'n_groups_joined': 0,
        'warnings': [],
    }
    kinds = Counter(split + row.key_value_pairs['kind'] for row, split in zip(rows, result.splits, strict=True))
    assert {split + kind: n for split in contents for kind, n in contents[split]['kind'].items()} == kinds
    assert contents['train']['composition'] == {'AuCu3': 18}
    assert contents['test']['n'] == 6


def test_rows_with_the_same_composition_are_in_one_set(make_groups):
    rows = make_groups(8, composition=lambda group: group % 4)
    result = split_rows(rows, SplitSettings(by='composition'), random_seed=1)
    formulas = {}
    for row, split in zip(rows, result.splits, strict=True):
        formulas.setdefault(row.atoms.get_chemical_formula(), set()).add(split)
    assert len(formulas) == 4
    assert all(len(splits) == 1 for splits in formulas.values())
    assert set(result.splits) == {'train', 'valid', 'test'}


@pytest.mark.parametrize('change', ['none', 'rotated', 'permuted', 'supercell', 'moved'])
def test_groups_that_share_a_structure_are_in_one_set(make_groups, make_provenance, change):
    rows = make_groups(10)
    duplicate = rows[0].atoms.copy()
    if change == 'rotated':
        duplicate.rotate(40, (1, 2, 3), rotate_cell=True)
    elif change == 'permuted':
        duplicate = duplicate[[3, 1, 0, 2]]
    elif change == 'supercell':
        duplicate = duplicate * (3, 1, 1)
    elif change == 'moved':
        duplicate.translate(0.3)
        duplicate.wrap()
    rows.append(make_row(labelled(duplicate), make_provenance(), {'kind': 'alloy', 'parent': 'parent5'}))
    settings = SplitSettings(valid_fraction=0.3, test_fraction=0.3)
    for random_seed in range(10):
        sets = sets_of(rows, split_rows(rows, settings, random_seed=random_seed), 'parent')
        assert sets['parent0'] == sets['parent5']
        assert all(len(splits) == 1 for splits in sets.values())
    assert split_rows(rows, settings, random_seed=1).report['n_groups_joined'] == 1


def test_groups_with_slightly_different_structures_are_not_joined(make_groups, make_provenance):
    rows = make_groups(3)
    other = rows[0].atoms.copy()
    other.positions[0, 0] += 0.01
    rows.append(make_row(labelled(other), make_provenance(), {'kind': 'alloy', 'parent': 'parent2'}))
    assert split_rows(rows, SplitSettings(), random_seed=1).report['n_groups_joined'] == 0


def test_the_test_set_contains_all_rows_of_the_held_out_kind_and_no_others(make_groups):
    rows = make_groups(10)
    result = split_rows(rows, SplitSettings(hold_out='surface'), random_seed=1)
    assert sets_of(rows, result, 'kind')['surface'] == {'test'}
    assert sets_of(rows, result, 'kind')['alloy'] == {'train', 'valid'}


@pytest.mark.parametrize('by', ['parent', 'composition', 'kind'])
def test_rows_of_dimers_are_used_for_training_and_do_not_change_the_others(make_groups, make_provenance, by):
    rows = make_groups(10, composition=lambda group: group % 4)
    dimers = []
    for step in range(4):
        atoms = Atoms('Cu2', positions=[[0, 0, 0], [0, 0, 2 + step]], cell=[20] * 3, pbc=True)
        record = {'kind': 'dimer', 'parent': f'dimer{step}'}
        dimers.append(make_row(labelled(atoms), make_provenance(step=step), record))
    settings = SplitSettings(by=by, valid_fraction=0.0 if by == 'kind' else 0.1, test_fraction=0.3)
    alone = split_rows(rows, settings, random_seed=1)
    mixed = split_rows([*dimers[:2], *rows, *dimers[2:]], settings, random_seed=1)
    assert mixed.splits == ('train', 'train', *alone.splits, 'train', 'train')
    assert mixed.report['n_rows']['train'] == alone.report['n_rows']['train'] + 4
    # Unless they are to be held out.
    held = split_rows([*dimers, *rows], SplitSettings(hold_out='dimer', valid_fraction=0.0), random_seed=1)
    assert held.splits[:4] == ('test',) * 4


def test_the_order_of_the_rows_does_not_matter(make_groups):
    rows = make_groups(10)
    forwards = split_rows(rows, SplitSettings(), random_seed=1)
    assert split_rows(rows[::-1], SplitSettings(), random_seed=1).splits == forwards.splits[::-1]


def test_each_set_is_written_to_a_separate_file(make_groups, tmp_path):
    rows = make_groups(10)
    splits = split_rows(rows, SplitSettings(), random_seed=1).splits
    paths, _ = export_splits(tmp_path / 'cu.db', rows, splits)
    assert {split: path.name for split, path in paths.items()} == {
        'train': 'cu-train.db',
        'valid': 'cu-valid.db',
        'test': 'cu-test.db',
    }
    energies = []
    for path in paths.values():
        with Dataset(path) as dataset:
            found = list(dataset.query())
        assert {row.key_value_pairs['split'] for row in found} == {path.stem.removeprefix('cu-')}
        energies += [row.atoms.get_potential_energy() for row in found]
    np.testing.assert_array_equal(np.sort(energies), np.sort([row.atoms.get_potential_energy() for row in rows]))


def test_no_file_is_written_if_one_of_them_exists(make_groups, tmp_path):
    rows = make_groups(10)
    splits = split_rows(rows, SplitSettings(), random_seed=1).splits
    (tmp_path / 'cu-test.db').write_text('precious')
    with refused(Code.FILE_EXISTS, 'cu-test.db'):
        export_splits(tmp_path / 'cu.db', rows, splits)
    assert [path.name for path in tmp_path.iterdir()] == ['cu-test.db']


def test_sets_drawn_before_the_selection_are_kept(make_groups):
    rows = make_groups(10)
    drawn = split_rows(rows, SplitSettings(), random_seed=1).splits
    stored = [
        replace(row, key_value_pairs=row.key_value_pairs | {'split': s}) for row, s in zip(rows, drawn, strict=True)
    ]
    result = split_rows(stored, SplitSettings(by='stored'), random_seed=5)
    assert result.splits == drawn
    assert result.report['n_groups'] == {'train': 8, 'valid': 1, 'test': 1}
    assert has_stored_splits(stored)
    assert not has_stored_splits(rows)
    with refused(Code.ROW_KEY_MISSING, 'split'):
        split_rows(rows, SplitSettings(by='stored'), random_seed=1)


def with_keys(rows, **values):
    """Return rows with a value of each key for each row."""
    return [
        replace(row, key_value_pairs=row.key_value_pairs | {key: found[index] for key, found in values.items()})
        for index, row in enumerate(rows)
    ]


def test_stored_sets_with_a_group_in_two_of_them_are_refused(make_groups):
    rows = make_groups(4)
    stored = with_keys(rows, split=['train'] * 6 + ['test', 'train', 'train'] + ['test'] * 3)
    with refused(Code.SETS_OVERLAP, 'parent2', 'train', 'test', '1 of 4', 'by: parent') as caught:
        split_rows(stored, SplitSettings(by='stored'), random_seed=1)
    assert 'parent3' not in str(caught.value)
    assert sum(split_rows(stored, SplitSettings(), random_seed=1).report['n_rows'].values()) == 12


def test_stored_sets_that_share_a_structure_are_refused(make_groups, make_provenance):
    rows = make_groups(4)
    copy = rows[0].atoms.copy() * (1, 1, 2)
    copy.rotate(40, (1, 2, 3), rotate_cell=True)
    rows.append(make_row(labelled(copy), make_provenance(), {'kind': 'alloy', 'parent': 'other'}))
    stored = with_keys(rows, split=['train'] * 9 + ['valid'] * 3 + ['test'])
    with refused(Code.SETS_OVERLAP, 'parent0', 'other', 'train', 'test'):
        split_rows(stored, SplitSettings(by='stored'), random_seed=1)
    assert split_rows(stored[:-1], SplitSettings(by='stored'), random_seed=1).report['n_groups_joined'] == 0


def test_a_fraction_for_a_set_that_is_stored_is_refused(make_groups):
    stored = with_keys(make_groups(4), split=['train'] * 6 + ['valid'] * 3 + ['test'] * 3)
    for field in ('valid_fraction', 'test_fraction'):
        with refused(Code.VALUES_EXCLUDE, field, 'by: stored', 'by: parent'):
            split_rows(stored, SplitSettings(**{'by': 'stored', field: 0.1}), random_seed=1)


def test_a_validation_set_that_is_not_stored_is_drawn_from_groups_for_training(make_groups):
    rows = make_groups(10)
    stored = with_keys(rows, split=['train'] * 24 + ['test'] * 6)
    plain = split_rows(stored, SplitSettings(by='stored'), random_seed=1)
    assert plain.splits == ('train',) * 24 + ('test',) * 6
    for random_seed in range(10):
        result = split_rows(stored, SplitSettings(by='stored', valid_fraction=0.2), random_seed=random_seed)
        assert result.splits[24:] == ('test',) * 6
        assert result.report['n_rows'] == {'train': 18, 'valid': 6, 'test': 6}
        assert result.report['n_requested'] == {'valid': 6}
        assert all(len(splits) == 1 for splits in sets_of(rows, result, 'parent').values())
    few = with_keys(make_groups(2), split=['train'] * 3 + ['test'] * 3)
    with refused(Code.SPLIT_EMPTY, 'valid', '1 group '):
        split_rows(few, SplitSettings(by='stored', valid_fraction=0.2), random_seed=1)


def test_a_kind_or_a_label_can_be_held_out(make_groups):
    rows = with_keys(make_groups(10), label=['hot', 'hot', 'hot'] * 2 + ['cold'] * 21 + ['alloy'] * 3)
    for name in ('hot', 'label=hot'):
        result = split_rows(rows, SplitSettings(hold_out=name), random_seed=1)
        assert sets_of(rows, result, 'label') == {'hot': {'test'}, 'cold': {'train', 'valid'}, 'alloy': {'train'}} or {
            'hot': {'test'},
            'cold': {'train'},
            'alloy': {'valid'},
        } == sets_of(rows, result, 'label')
    by_kind = split_rows(rows, SplitSettings(hold_out='kind=alloy'), random_seed=1)
    assert by_kind.splits.count('test') == 18
    with refused(Code.VALUE_INVALID, 'hold_out', 'kind=alloy', 'label=alloy'):
        split_rows(rows, SplitSettings(hold_out='alloy'), random_seed=1)
    with refused(Code.SPLIT_EMPTY, 'hold_out: kind=hot', 'alloy, surface', 'alloy, cold, hot'):
        split_rows(rows, SplitSettings(hold_out='kind=hot'), random_seed=1)


def test_a_set_that_cannot_have_the_requested_size_gives_a_warning(make_groups):
    rows = make_groups(8)
    result = split_rows(rows, SplitSettings(by='kind', valid_fraction=0), random_seed=1)
    assert result.report['n_rows'] == {'train': 18, 'valid': 0, 'test': 6}
    (size,) = result.report['warnings']
    assert all(text in size for text in ('test', ' 6 ', 'kind'))
    # Only one parent has a surface.
    alone = split_rows(make_groups(7), SplitSettings(hold_out=None, valid_fraction=0.3), random_seed=1)
    assert 'surface' in alone.report['contents']['train']['kind']
    assert alone.report['warnings'] == []


def test_too_few_groups_are_refused(make_groups):
    with refused(Code.SPLIT_EMPTY, '2', 'parent', 'valid'):
        split_rows(make_groups(2), SplitSettings(), random_seed=1)


def test_a_kind_that_no_row_has_cannot_be_held_out(make_groups):
    with refused(Code.SPLIT_EMPTY, 'hold_out: surfaces', 'alloy, surface'):
        split_rows(make_groups(10), SplitSettings(hold_out='surfaces'), random_seed=1)


@pytest.mark.parametrize(('by', 'missing'), [('parent', 'parent'), ('kind', 'kind')])
def test_a_row_without_a_group_is_refused(make_groups, by, missing):
    rows = make_groups(3)
    for key in ('parent', 'seed', 'kind'):
        del rows[4].key_value_pairs[key]
    with refused(Code.ROW_KEY_MISSING, 'row 4', missing):
        split_rows(rows, SplitSettings(by=by), random_seed=1)


@pytest.mark.parametrize(
    'fields',
    [
        {'valid_fraction': 0.5, 'test_fraction': 0.5},
        {'test_fraction': 1},
        {'by': 'seeds'},
        {'by': 'stored', 'hold_out': 'surface'},
        {'hold_out': 'surface', 'test_fraction': 0.1},
    ],
)
def test_invalid_settings_are_refused(fields):
    with pytest.raises(ValidationError):
        SplitSettings(**fields)


@pytest.mark.parametrize('change', ['slab', 'cluster'])
def test_copies_with_a_different_vacuum_are_in_one_set(make_provenance, change):
    rows = []
    for group in range(6):
        atoms = fcc111('Cu', (2, 2, 3), vacuum=6.0) if change == 'slab' else Octahedron('Cu', 3)
        atoms.rattle(0.1, seed=group)
        other = atoms.copy()
        if change == 'cluster':
            other.rotate(30, 'z')
        other.center(vacuum=9.0, axis=2 if change == 'slab' else (0, 1, 2))
        other.pbc = other.pbc | (change == 'cluster')
        for number, one in enumerate((atoms, other)):
            one.calc = EMT()
            one.calc = SinglePointCalculator(one, energy=one.get_potential_energy(), forces=one.get_forces())
            record = {'kind': 'cluster', 'parent': f'parent{group}-{number}'}
            rows.append(make_row(one, make_provenance(step=group), record))
    result = split_rows(rows, SplitSettings(valid_fraction=0.3, test_fraction=0.3), random_seed=1)
    assert result.report['n_groups_joined'] == 6
    assert result.splits[::2] == result.splits[1::2]


def test_no_file_is_written_if_the_last_one_fails(make_groups, tmp_path):
    rows = make_groups(10)
    result = split_rows(rows, SplitSettings(hold_out='surface'), random_seed=1)
    rows[-1].atoms.positions += 0.1
    with refused(Code.LABELS_OUTDATED):
        export_splits(tmp_path / 'cu.extxyz', rows, result.splits)
    assert not list(tmp_path.iterdir())
