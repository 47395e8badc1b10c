"""Work that reaches its time limit or its number of attempts ends with an error. Long-running work reports progress."""

from __future__ import annotations

import pickle
import time

import pytest
from pyxtal import pyxtal
from support.errors import refused

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.randomness import make_rng
from aiida_mlip_autopipe.generation import (
    Rejections,
    TimeLimitError,
    check_entry,
    iterate_seeds_in_processes,
    progress_shown,
    time_limit,
)
from aiida_mlip_autopipe.generation.crystals.random_crystals import random_crystal
from aiida_mlip_autopipe.generation.entry import MAX_REJECTED_DRAWS
from aiida_mlip_autopipe.generation.limits import check_time, time_left
from aiida_mlip_autopipe.structures.cells import sort_sites

SQS = {'kind': 'alloy', 'arrangement': 'sqs', 'composition': {'Cu': 0.5, 'Au': 0.5}, 'supercell': [2, 2, 1],
       'n_seeds': 1, 'sqs': {'n_steps': 200, 'n_restarts': 2}}  # fmt: skip
CRYSTALS = {'kind': 'formula', 'formula': 'NaCl', 'max_prototypes': 0, 'n_random': 6, 'formula_units': [1, 2]}
COPPER = {'kind': 'alloy', 'composition': {'Cu': 1.0}}
HOPELESS = {**CRYSTALS, 'formula_units': [1], 'spacegroups': [2], 'validation': {'min_distance_factor': 1.5}}


@pytest.mark.parametrize('entry', [SQS, CRYSTALS])
def test_work_that_reaches_its_time_limit_ends_with_an_error_and_a_limit_never_changes_a_seed(generate, entry):
    with refused(Code.TIME_LIMIT, entry['kind'], 'validation.time_limit_s', '1e-06 s'):
        generate({**entry, 'validation': {'time_limit_s': 1e-6}})
    free, limited = generate(entry), generate({**entry, 'validation': {'time_limit_s': 600}})
    assert free.seeds
    assert [seed.seed_id for seed in free.seeds] == [seed.seed_id for seed in limited.seeds]


def test_a_running_annealing_is_ended_by_the_time_limit(generate):
    long = {**SQS, 'sqs': {'n_steps': 10_000_000}, 'validation': {'time_limit_s': 1.0}}
    started = time.monotonic()
    with refused(Code.TIME_LIMIT, 'validation.time_limit_s'):
        generate(long)
    assert time.monotonic() - started < 10


@pytest.mark.parametrize(
    'entry',
    [
        {'kind': 'molecular', 'molecules': [{'name': 'H2O'}], 'density_g_per_cm3': 1.0, 'n_molecules': 30_000},
        {'kind': 'amorphous', 'composition': {'Cu': 1, 'Zr': 1}, 'density_g_per_cm3': 7.0, 'n_atoms': 30_000},
        {'kind': 'cluster', 'of': COPPER, 'shape': 'random', 'n_atoms': 2_000},
        {'kind': 'cluster', 'of': COPPER, 'shape': 'icosahedron', 'n_atoms': 1_000_000},
        {'kind': 'cluster', 'of': COPPER, 'shape': 'wulff', 'n_atoms': 60_000,
         'surface_energies': [{'miller': [1, 1, 1], 'energy_J_m2': 1.3}]},
    ],
    ids=['molecular', 'amorphous', 'random cluster', 'icosahedron', 'Wulff particle'],
)  # fmt: skip
def test_the_search_for_a_large_structure_is_ended_by_the_time_limit(generate, entry):
    started = time.monotonic()
    with time_limit(0.5, 'of the check'), refused(Code.TIME_LIMIT, 'of the check'):
        generate({**entry, 'n_seeds': 1, 'validation': {'max_atoms': 2_000_000}})
    assert time.monotonic() - started < 10


def test_of_nested_limits_the_first_one_ends_the_work():
    with time_limit(60, 'outer'), time_limit(-1, 'inner'), pytest.raises(TimeLimitError, match='inner'):
        check_time()
    with time_limit(-1, 'outer'), time_limit(60, 'inner'):
        assert time_left() == (0, 'outer')
        with pytest.raises(TimeLimitError, match='outer') as caught:
            check_time()
    assert str(pickle.loads(pickle.dumps(caught.value))) == 'outer'
    check_time()
    assert time_left() == (None, '')


def test_an_entry_whose_random_draws_are_all_rejected_ends_early_with_the_rule(generate, make_entries):
    with refused(Code.SEEDS_MISSING, 'generation[0]', ' 2)', 'min_distance') as caught:
        generate(HOPELESS)
    (entry,) = make_entries(HOPELESS)
    rejections = Rejections()
    with refused(Code.SEEDS_MISSING) as checked:
        check_entry(entry, random_seed=7, cutoff_A=0.0, rejections=rejections)
    assert rejections.n_rejected >= MAX_REJECTED_DRAWS
    assert rejections.requested == 2
    with refused(Code.SEEDS_MISSING) as parallel:
        list(iterate_seeds_in_processes([entry], random_seed=7, cutoff_A=0.0, processes=2, rejections=Rejections()))
    assert str(caught.value) == str(checked.value) == str(parallel.value)


def test_a_later_slice_of_an_entry_does_not_end_early(generate):
    entry = {**HOPELESS, 'validation': {'min_distance_factor': 1.5, 'unique': False}}
    assert generate(entry, start=1, stop=3).report['skipped'] == 2


def test_an_entry_with_a_valid_seed_does_not_end_early(generate):
    # The structure type is valid, and hardly any crystal of general symmetry is.
    entry = {**CRYSTALS, 'max_prototypes': 1, 'n_random': 2, 'formula_units': [4], 'spacegroups': [2],
             'validation': {'min_distances_A': {'Na-Cl': 2.6}}}  # fmt: skip
    report = generate(entry).report
    assert (report['made'], report['skipped']) == (1, 2)
    assert report['rules']['min_distance']['count'] > MAX_REJECTED_DRAWS


def test_the_check_looks_for_the_first_valid_seed(make_entries):
    (entry,) = make_entries({**CRYSTALS, 'validation': {'max_redraws': 0}})
    found = [check_entry(entry, random_seed=random_seed, cutoff_A=0.0) for random_seed in range(3)]
    assert all(found)


def test_random_crystals_are_those_of_pyxtal():
    counts = {'Ti': 1, 'O': 2}
    atoms, group = random_crystal(counts, [2], [14], make_rng(1, 'test'))
    rng, crystal = make_rng(1, 'test'), pyxtal()
    rng.choice([2]), rng.choice([14])
    crystal.from_random(3, 14, ['Ti', 'O'], [2, 4], random_state=rng, factor=1.0)
    assert group == 14
    assert atoms == sort_sites(crystal.to_ase())


def test_long_work_reports_its_progress(generate):
    texts: list[str] = []
    with progress_shown(texts.append):
        generate(SQS, {**CRYSTALS, 'n_random': 2})
    found = '\n'.join(texts)
    assert all(text in found for text in ('seed 1 of 1', 'annealing 2 of 2', 'seed 2 of 2', 'trial 1 of 30'))
