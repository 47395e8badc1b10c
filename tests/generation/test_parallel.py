"""Several processes make the same seeds as one process, to the last bit, in the same order and with the same report."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from support.errors import refused

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import PhysicsViolationError
from aiida_mlip_autopipe.generation import Rejections, generate_seeds, iterate_seeds_in_processes, processes

CROWDED = {'kind': 'alloy', 'composition': {'Fe': 1.0}, 'lattice': 'bcc', 'n_atoms': 16, 'n_seeds': 9,
           'perturb': {'rattle_A': 0.12}, 'validation': {'min_distance_factor': 0.78}}  # fmt: skip
# All seeds of the first entry are L1_0, and some seeds of the second one are the same structure.
REPEATING = [
    {'kind': 'alloy', 'composition': {'Cu': 0.5, 'Au': 0.5}, 'supercell': [1, 1, 1], 'n_seeds': 4},
    {'kind': 'alloy', 'composition': {'Cu': 0.5, 'Au': 0.5}, 'supercell': [2, 1, 1], 'n_seeds': 8,
     'validation': {'max_redraws': 2}},
    {'kind': 'alloy', 'composition': {'Cu': 0.5, 'Au': 0.5}, 'arrangement': 'L1_0'},
    {'kind': 'alloy', 'composition': {'Cu': 0.5, 'Au': 0.5}, 'arrangement': 'L1_0', 'supercell': [2, 1, 1],
     'perturb': {'volume_scan': [0.0, 0.1]}},
]  # fmt: skip
SQS = {'kind': 'alloy', 'arrangement': 'sqs', 'composition': {'Cu': 0.5, 'Au': 0.5}, 'supercell': [2, 2, 1],
       'n_seeds': 2, 'sqs': {'n_steps': 100, 'n_restarts': 3}}  # fmt: skip


def make(entries, count: int):
    rejections = Rejections()
    seeds = iterate_seeds_in_processes(
        entries, random_seed=7, cutoff_A=0.0, processes=count, rejections=rejections
    )  # fmt: skip
    return [(seed.seed_id, seed.atoms.positions.tobytes(), seed.record) for seed in seeds], rejections.as_dict()


@pytest.fixture
def impatient(monkeypatch):
    """Start processes at once, even for little work."""
    monkeypatch.setattr(processes, 'PATIENCE_S', 0.0)


@pytest.mark.integration
@pytest.mark.parametrize('entries', [[CROWDED, *REPEATING, CROWDED], [CROWDED, SQS]])
def test_seeds_and_report_do_not_depend_on_the_number_of_processes(make_entries, impatient, entries):
    entries = make_entries(*entries)
    expected = generate_seeds(entries, random_seed=7, cutoff_A=0.0)
    seeds = [(seed.seed_id, seed.atoms.positions.tobytes(), seed.record) for seed in expected.seeds]
    assert expected.report['rules']['min_distance']['count'] > 0
    assert make(entries, 1) == (seeds, expected.report)
    assert make(entries, 3 if len(entries) > 2 else 2) == (seeds, expected.report)
    assert len(entries) == 2 or expected.report['duplicates'] > 4


def test_work_of_less_than_a_second_starts_no_process(make_entries, monkeypatch):
    monkeypatch.setattr(processes, 'ProcessPoolExecutor', None)
    seeds, _ = make(make_entries(REPEATING[0]), 2)
    assert len(seeds) == 1


def test_a_rule_violated_in_another_process_is_reported_in_full(make_entries, impatient):
    with refused(Code.STRUCTURE_INVALID, 'alloy', '2 redraws') as caught:
        make(make_entries({**CROWDED, 'perturb': {'rattle_A': 1.0}, 'validation': {'max_redraws': 2}}), 2)
    violation = caught.value
    assert isinstance(violation, PhysicsViolationError)
    assert violation.value < violation.limit
    again = pickle.loads(pickle.dumps(violation))
    assert (str(again), again.rule, again.atoms) == (str(violation), violation.rule, violation.atoms)


def test_arguments_are_taken_only_when_a_process_becomes_free(impatient):
    taken = []

    def calls():
        for number in range(10):
            taken.append(number)
            yield (float(number),)

    with processes.process_pool(2):
        results = processes.parallel_map(np.sqrt, calls())
        assert next(results) == 0.0
        assert len(taken) == 2
        assert list(results) == [float(np.sqrt(number)) for number in range(1, 10)]
