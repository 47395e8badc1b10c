import pytest

from aiida_mlip_autopipe.structures.splits import assign_groups


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


def test_an_additional_group_moves_hardly_any_other():
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
