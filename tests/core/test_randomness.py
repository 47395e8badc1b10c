"""Random numbers of a campaign, and the global random generators of other packages."""

from __future__ import annotations

import random

import numpy as np
import pytest

from aiida_mlip_autopipe.core.randomness import derive_random_seed, global_random_state_restored, make_rng


def draw_global():
    return random.random(), float(np.random.random())  # noqa: NPY002 (the generators that are restored)


def test_generators_of_different_labels_are_independent_of_the_order_of_use():
    alone = make_rng(7, 'exploration', 'a').random(3)
    make_rng(7, 'exploration', 'b').random(100)
    assert np.array_equal(make_rng(7, 'exploration', 'a').random(3), alone)
    assert not np.array_equal(make_rng(7, 'exploration', 'b').random(3), alone)


def test_labels_are_not_joined_ambiguously():
    assert derive_random_seed(0, 'ab', 'c') != derive_random_seed(0, 'a', 'bc')


def test_a_random_seed_fits_into_a_database_column():
    assert all(0 <= derive_random_seed(number, 'label') < 2**63 for number in range(1000))


@pytest.mark.parametrize('ends_with_error', [False, True])
def test_global_random_generators_are_restored(ends_with_error):
    with global_random_state_restored():
        expected = draw_global()
    try:
        with global_random_state_restored():
            random.seed(1)
            np.random.seed(1)  # noqa: NPY002
            if ends_with_error:
                raise RuntimeError
    except RuntimeError:
        pass
    assert draw_global() == expected
