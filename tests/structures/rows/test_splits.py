from collections import Counter
from itertools import combinations

import numpy as np
import pytest

from aiida_mlip_autopipe.structures.rows.splits import absence_warnings, assign_groups, describe_sets, size_warnings


def n_rows(assigned, sizes, split):
    return sum(sizes[group] for group, found in assigned.items() if found == split)


def test_sets_have_their_fractions_and_every_group_is_in_one_set():
    sizes = {f'g{i}': 1 + i % 5 for i in range(200)}
    assigned = assign_groups(sizes, valid_fraction=0.2, test_fraction=0.1, random_seed=3)
    assert set(assigned) == set(sizes)
    total = sum(sizes.values())
    assert n_rows(assigned, sizes, 'test') == pytest.approx(0.1 * total, abs=5)
    assert n_rows(assigned, sizes, 'valid') == pytest.approx(0.2 * total, abs=5)


def test_the_order_of_the_groups_does_not_matter_and_the_random_seed_does():
    sizes = {f'g{i}': 1 for i in range(50)}
    backwards = dict(reversed(sizes.items()))
    first = assign_groups(sizes, valid_fraction=0.2, test_fraction=0.2, random_seed=3)
    assert assign_groups(backwards, valid_fraction=0.2, test_fraction=0.2, random_seed=3) == first
    assert assign_groups(sizes, valid_fraction=0.2, test_fraction=0.2, random_seed=4) != first


def test_an_additional_group_moves_hardly_any_others():
    sizes = {f'g{i}': 1 for i in range(100)}
    before = assign_groups(sizes, valid_fraction=0.1, test_fraction=0.1, random_seed=3)
    after = assign_groups(sizes | {'new': 1}, valid_fraction=0.1, test_fraction=0.1, random_seed=3)
    assert sum(before[group] != after[group] for group in sizes) <= 2


def test_every_set_gets_a_group_if_one_is_left_for_training():
    assigned = assign_groups({'a': 5, 'b': 5, 'c': 5}, valid_fraction=0.05, test_fraction=0.05, random_seed=0)
    assert sorted(assigned.values()) == ['test', 'train', 'valid']
    assigned = assign_groups({'a': 5, 'b': 5}, valid_fraction=0.05, test_fraction=0.05, random_seed=0)
    assert sorted(assigned.values()) == ['test', 'train']
    assert assign_groups({'a': 5}, valid_fraction=0.5, test_fraction=0.4, random_seed=0) == {'a': 'train'}


def test_a_set_with_a_fraction_of_zero_gets_no_group():
    assigned = assign_groups({'a': 5, 'b': 5, 'c': 5}, valid_fraction=0, test_fraction=0, random_seed=0)
    assert set(assigned.values()) == {'train'}


@pytest.mark.parametrize('valid_fraction', [0.0, 0.1])
def test_a_group_of_90_percent_is_never_the_test_set_of_10_percent(valid_fraction):
    sizes = {'big': 900, 'b': 50, 'c': 50}
    for random_seed in range(100):
        assigned = assign_groups(sizes, valid_fraction=valid_fraction, test_fraction=0.1, random_seed=random_seed)
        assert assigned['big'] == 'train'
        assert n_rows(assigned, sizes, 'test') == (50 if valid_fraction else 100)


def best_size(sizes, target):
    """Of the sizes of all subsets except the empty one and that of all groups, return the one nearest to a target."""
    sums = {sum(subset) for n in range(1, len(sizes)) for subset in combinations(sizes, n)}
    return min(sums, key=lambda found: abs(found - target))


def test_a_set_differs_from_the_best_possible_size_by_at_most_half_of_the_smallest_group():
    rng = np.random.default_rng(0)
    for case in range(150):
        values = rng.choice([rng.integers(1, 10, 9), rng.integers(1, 100, 9), 1 + rng.pareto(1, 9).astype(int)])
        sizes = {f'g{number}': int(size) for number, size in enumerate(values[: rng.integers(2, 10)])}
        fraction = float(rng.choice([0.05, 0.1, 0.2, 0.4]))
        assigned = assign_groups(sizes, valid_fraction=0, test_fraction=fraction, random_seed=case)
        target = fraction * sum(sizes.values())
        best = abs(best_size(list(sizes.values()), target) - target)
        found = abs(n_rows(assigned, sizes, 'test') - target)
        if found > best:
            # Either another group was too large to add, or the last one was larger than what was missing.
            left = min(size for group, size in sizes.items() if assigned[group] == 'train')
            largest = max(size for group, size in sizes.items() if assigned[group] == 'test')
            assert found <= max(left, largest) / 2


def test_each_set_differs_from_its_fraction_by_at_most_half_of_a_group_if_many_are_small():
    rng = np.random.default_rng(1)
    for case in range(20):
        sizes = {f'g{number}': int(size) for number, size in enumerate(rng.integers(1, 60, 80))}
        smallest = min(sizes.values())
        assigned = assign_groups(sizes, valid_fraction=0.1, test_fraction=0.2, random_seed=case)
        total = sum(sizes.values())
        for split, fraction in (('valid', 0.1), ('test', 0.2)):
            members = [size for group, size in sizes.items() if assigned[group] == split]
            left = [size for group, size in sizes.items() if assigned[group] == 'train']
            assert abs(sum(members) - fraction * total) <= max(min(left), min(members), smallest) / 2


def grouped(kinds, size=10):
    """Return the sizes and the categories of groups, by their number for each kind."""
    names = {f'{kind}{number}': kind for kind, n in kinds.items() for number in range(n)}
    return dict.fromkeys(names, size), {name: {('kind', kind): size} for name, kind in names.items()}


def test_a_kind_is_never_absent_from_training_if_its_groups_allow_it():
    sizes, categories = grouped({'alloy': 12, 'surface': 2, 'defect': 2, 'cluster': 1})
    for random_seed in range(40):
        assigned = assign_groups(
            sizes, valid_fraction=0.1, test_fraction=0.2, random_seed=random_seed, categories=categories
        )
        trained = {name.rstrip('0123456789') for name, split in assigned.items() if split == 'train'}
        assert trained == {'alloy', 'surface', 'defect', 'cluster'}
        assert n_rows(assigned, sizes, 'test') == 30
        assert n_rows(assigned, sizes, 'valid') == 20


def test_kinds_and_labels_are_divided_in_proportion():
    sizes, categories = grouped({'alloy': 40, 'surface': 20, 'defect': 10})
    for number, (name, found) in enumerate(categories.items()):
        found[('label', 'hot' if number % 2 else 'cold')] = sizes[name]
    for random_seed in range(10):
        assigned = assign_groups(
            sizes, valid_fraction=0.2, test_fraction=0.1, random_seed=random_seed, categories=categories
        )
        for split, fraction in (('valid', 0.2), ('test', 0.1)):
            kinds = Counter(name.rstrip('0123456789') for name, found in assigned.items() if found == split)
            assert kinds == {'alloy': 40 * fraction, 'surface': 20 * fraction, 'defect': 10 * fraction}
            hot = sum(('label', 'hot') in categories[name] for name, found in assigned.items() if found == split)
            assert abs(hot - 35 * fraction) <= 1


def test_rare_compositions_are_drawn_as_often_as_common_ones():
    sizes = {f'g{number}': 10 for number in range(100)}
    categories = {
        f'g{number}': {('composition', 'Cu' if number < 50 else f'Cu{number}Au'): 10} for number in range(100)
    }
    rare = 0
    for random_seed in range(20):
        assigned = assign_groups(
            sizes, valid_fraction=0, test_fraction=0.1, random_seed=random_seed, categories=categories
        )
        rare += sum(found == 'test' for name, found in assigned.items() if int(name[1:]) >= 50)
    assert rare == 100


def test_groups_without_a_label_are_drawn_as_often_as_others():
    sizes, categories = grouped({'alloy': 100})
    for name in list(sizes)[:50]:
        categories[name][('label', 'hot')] = sizes[name]
    for random_seed in range(5):
        assigned = assign_groups(
            sizes, valid_fraction=0, test_fraction=0.1, random_seed=random_seed, categories=categories
        )
        assert sum(assigned[name] == 'test' for name in list(sizes)[:50]) == 5


def test_each_kind_can_be_drawn_if_every_kind_has_one_group():
    sizes, categories = grouped(dict.fromkeys('abcdefghij', 1))
    drawn = set()
    for random_seed in range(40):
        assigned = assign_groups(
            sizes, valid_fraction=0, test_fraction=0.2, random_seed=random_seed, categories=categories
        )
        held = {name for name, split in assigned.items() if split == 'test'}
        assert len(held) == 2
        drawn |= held
    assert len(drawn) == 10


def test_groups_with_a_known_set_stay_in_it_and_count_towards_its_size():
    sizes = {f'g{number}': 10 for number in range(20)}
    fixed = {'g3': 'test', 'g4': 'test', 'g5': 'train', 'g6': 'valid', 'elsewhere': 'test'}
    for random_seed in range(10):
        assigned = assign_groups(sizes, valid_fraction=0.1, test_fraction=0.2, random_seed=random_seed, fixed=fixed)
        assert {name: assigned[name] for name in ('g3', 'g4', 'g5', 'g6')} == {
            name: split for name, split in fixed.items() if name in sizes
        }
        assert Counter(assigned.values()) == {'train': 14, 'valid': 2, 'test': 4}
        assert set(assigned) == set(sizes)


def test_the_order_of_groups_and_categories_has_no_effect():
    rng = np.random.default_rng(2)
    sizes, categories = grouped({'alloy': 30, 'surface': 9, 'defect': 4})
    sizes = {name: int(rng.integers(1, 30)) for name in sizes}
    categories = {
        name: {('kind', name.rstrip('0123456789')): sizes[name], ('composition', f'{name[-1]}'): sizes[name]}
        for name in sizes
    }
    fields = {'valid_fraction': 0.1, 'test_fraction': 0.1, 'random_seed': 5}
    first = assign_groups(sizes, categories=categories, **fields)
    mixed = [list(sizes)[number] for number in rng.permutation(len(sizes))]
    backwards = {name: dict(reversed(categories[name].items())) for name in mixed}
    assert assign_groups({name: sizes[name] for name in mixed}, categories=backwards, **fields) == first


def test_sets_are_described_by_the_values_of_their_structures():
    contents = describe_sets(
        ['train', 'test', 'train', None],
        {'kind': ['alloy', 'surface', None, 'alloy']},
        [300.0, 900.0, float('nan'), 1.0],
    )
    assert contents == {
        'train': {'n': 2, 'kind': {'alloy': 1}, 'temperature_K': {'300': 1}},
        'valid': {'n': 0, 'kind': {}, 'temperature_K': {}},
        'test': {'n': 1, 'kind': {'surface': 1}, 'temperature_K': {'900': 1}},
    }
    many = describe_sets(['train'] * 100, {}, list(np.linspace(3, 977, 100)))['train']['temperature_K']
    assert sum(many.values()) == 100
    assert set(many) == {'0–200', '200–400', '400–600', '600–800', '800–1000'}


def test_sizes_beyond_the_tolerance_and_kinds_absent_from_training_give_warnings():
    assert size_warnings({'test': 10, 'valid': 3}, {'test': 8, 'valid': 2}, of='rows', remedy='x') == []
    (warning,) = size_warnings({'test': 10, 'valid': 10}, {'test': 13, 'valid': 10}, of='rows', remedy='add seeds')
    assert all(text in warning for text in ('test', '13 ', '10', 'add seeds'))
    contents = describe_sets(
        ['train', 'test', 'valid'], {'kind': ['alloy', 'surface', 'alloy'], 'label': ['a', 'a', 'hot']}, [None] * 3
    )
    kind, label = absence_warnings(contents)
    assert 'surface' in kind
    assert 'hot' in label
    assert absence_warnings(contents, expected={'kind'}) == [label]
