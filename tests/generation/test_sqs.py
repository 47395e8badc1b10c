from __future__ import annotations

import random

import numpy as np
import pytest
from ase.build import bulk

from aiida_mlip_autopipe.generation.sqs import SqsSettings, find_sqs, largest_short_range_order


def pair_correlations(atoms, first: str, second: str, shells: list[tuple[float, float]]) -> list[float]:
    """Share of `second` among the neighbours of `first` over its concentration, shell by shell, from all images."""
    big = atoms.repeat(3)
    centre = np.arange(len(atoms)) + 13 * len(atoms)  # the atoms of the middle cell
    centre = centre[big.symbols[centre] == first]
    distances = big.get_all_distances()[centre]
    other = big.symbols == second
    return [
        float(((distances > low) & (distances < high))[:, other].sum() / ((distances > low) & (distances < high)).sum())
        / np.mean(atoms.symbols == second)
        for low, high in shells
    ]


@pytest.mark.physics
@pytest.mark.parametrize(
    ('lattice', 'supercell', 'composition', 'tolerance'),
    [
        ('fcc', [2, 2, 2], {'Cu': 0.5, 'Au': 0.5}, 0.05),
        ('bcc', [3, 3, 3], {'Cr': 1 / 3, 'Fe': 1 / 3, 'Co': 1 / 3}, 0.15),
        ('hcp', [4, 4, 2], {'Ti': 0.5, 'Zr': 0.5}, 0.08),
    ],
)
def test_pairs_correlate_as_in_the_random_alloy(generate, lattice, supercell, composition, tolerance):
    entry = {'kind': 'alloy', 'arrangement': 'sqs', 'composition': composition, 'lattice': lattice,
             'supercell': supercell, 'n_seeds': 1, 'sqs': {'n_steps': 3000, 'pair_cutoff': 1.5}}  # fmt: skip
    (seed,) = generate(entry).seeds
    nearest = np.sort(seed.atoms.repeat(2).get_all_distances(mic=True)[0])[1]
    first, second = list(composition)[:2]
    shells = [(0.9 * nearest, 1.1 * nearest)] if lattice != 'bcc' else [(0.9 * nearest, 1.08 * nearest)]
    assert pair_correlations(seed.atoms, first, second, shells) == pytest.approx([1.0], abs=tolerance)
    assert seed.record['short_range_order'] <= 2 * tolerance


def test_the_search_is_reproducible_and_leaves_the_global_generators_alone(generate):
    entry = {'kind': 'alloy', 'arrangement': 'sqs', 'composition': {'Cu': 0.5, 'Au': 0.5}, 'supercell': [2, 2, 1],
             'n_seeds': 1, 'sqs': {'n_steps': 200}}  # fmt: skip
    random.seed(5)
    np.random.seed(5)  # noqa: NPY002
    expected = random.Random(5).random(), np.random.RandomState(5).random()
    first, second = generate(entry), generate(entry)
    assert first.seeds[0].seed_id == second.seeds[0].seed_id
    assert (random.random(), np.random.random()) == expected  # noqa: NPY002


def test_short_range_order_of_an_ordered_alloy_is_complete(generate):
    (seed,) = generate({'kind': 'alloy', 'composition': {'Cu': 0.5, 'Au': 0.5}, 'arrangement': 'B2'}).seeds
    assert largest_short_range_order(seed.atoms, 0.9 * seed.record['a_A']) == pytest.approx(1.0)


def test_the_best_of_several_annealings_is_kept_and_after_the_time_limit_none_begins():
    def search(**settings):
        sqs = SqsSettings(n_steps=20, **settings)
        rng = np.random.default_rng(1)
        found = find_sqs(bulk('Cu', cubic=True), {'Cu': 8, 'Au': 8}, (2, 2, 1), sqs, rng)
        return found[1], found[0].get_chemical_symbols()

    one = search()
    assert search(n_restarts=6, time_limit_s=1e-9) == one
    many = search(n_restarts=6)
    assert many[0] < one[0]
    assert search(n_restarts=6, time_limit_s=600) == many
