from __future__ import annotations

import random

import numpy as np
import pytest
from ase.build import bulk
from ase.neighborlist import neighbor_list

from aiida_mlip_autopipe.generation.crystals.sqs import SqsSettings, find_sqs, largest_short_range_order


def pair_error(atoms) -> float:
    """Root mean square relative error of the pair probabilities in the first shell."""
    nearest = np.sort(atoms.repeat(2).get_all_distances(mic=True)[0])[1]
    first, second = neighbor_list('ij', atoms, 1.1 * nearest)
    symbols, species = np.unique(atoms.get_chemical_symbols(), return_inverse=True)
    pairs = np.zeros((len(symbols), len(symbols)))
    np.add.at(pairs, (species[first], species[second]), 1)
    fractions = np.bincount(species) / len(atoms)
    return float(np.sqrt(np.mean((pairs / pairs.sum(axis=1, keepdims=True) / fractions - 1) ** 2)))


@pytest.mark.physics
@pytest.mark.parametrize(
    ('lattice', 'supercell', 'elements', 'n_steps'),
    [('fcc', [2, 2, 2], 'Cu Au', 2000), ('bcc', [3, 3, 3], 'Cr Fe Co', 2000), ('hcp', [3, 3, 2], 'Ti Zr Hf Sc', 8000),
     ('fcc', [3, 3, 2], 'Cr Mn Fe Co Ni', 10000), ('fcc', [3, 3, 1], 'Cr Mn Fe Co Ni Cu', 20000)],
)  # fmt: skip
def test_pair_correlations_are_those_of_the_random_alloy(generate, lattice, supercell, elements, n_steps):
    composition = {symbol: 1 / len(elements.split()) for symbol in elements.split()}
    entry = {'kind': 'alloy', 'composition': composition, 'lattice': lattice, 'supercell': supercell, 'n_seeds': 20,
             'composition_tolerance': 0.05}  # fmt: skip
    triplets = 1.05 if len(composition) < 4 else 0
    sqs = {'n_steps': n_steps, 'pair_cutoff': 1.2 if lattice == 'bcc' else 1.5, 'triplet_cutoff': triplets}
    (seed,) = generate({**entry, 'arrangement': 'sqs', 'n_seeds': 1, 'sqs': sqs}).seeds
    # The smaller the cell, the further a random arrangement is from the mean.
    at_random = np.mean([pair_error(one.atoms) for one in generate(entry).seeds])
    assert pair_error(seed.atoms) < (0.01 if len(composition) < 4 else 0.5 * at_random)


def test_the_search_is_reproducible_and_does_not_change_the_global_generators(generate):
    entry = {'kind': 'alloy', 'arrangement': 'sqs', 'composition': {'Cu': 0.5, 'Au': 0.5}, 'supercell': [2, 2, 1],
             'n_seeds': 1, 'sqs': {'n_steps': 200}}  # fmt: skip
    random.seed(5)
    np.random.seed(5)  # noqa: NPY002
    expected = random.Random(5).random(), np.random.RandomState(5).random()
    first, second = generate(entry), generate(entry)
    assert first.seeds[0].seed_id == second.seeds[0].seed_id
    assert (random.random(), np.random.random()) == expected  # noqa: NPY002


def test_the_short_range_order_of_an_ordered_alloy_is_1(generate):
    (seed,) = generate({'kind': 'alloy', 'composition': {'Cu': 0.5, 'Au': 0.5}, 'arrangement': 'B2'}).seeds
    assert largest_short_range_order(seed.atoms, 0.9 * seed.record['a_A']) == pytest.approx(1.0)


def test_the_best_annealing_run_is_kept():
    def search(**settings):
        sqs = SqsSettings(n_steps=20, **settings)
        rng = np.random.default_rng(1)
        found = find_sqs(bulk('Cu', cubic=True), {'Cu': 8, 'Au': 8}, (2, 2, 1), sqs, rng)
        return found[1], found[0].get_chemical_symbols()

    one = search()
    many = search(n_restarts=6)
    assert many[0] < one[0]
    assert search(n_restarts=6) == many
