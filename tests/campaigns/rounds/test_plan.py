"""How many labels and training runs a campaign with rounds needs at most."""

from pathlib import Path

import pytest

from aiida_mlip_autopipe.campaigns.rounds import plan
from aiida_mlip_autopipe.campaigns.rounds.plan import plan_rounds
from aiida_mlip_autopipe.config import validate_config

CONFIG = {
    'name': 'rounds',
    'generation': [{'kind': 'alloy', 'lattice': 'fcc', 'composition': {'Cu': 1.0}, 'n_seeds': 40}],
    'sampling': {'n_structures': 40},
    'labelling': {'kind': 'calculator', 'calculator': {'kind': 'emt'}},
}
MS_PER_ATOM = {'sevennet': 10.0}


@pytest.fixture
def plan_of(monkeypatch):
    # The plan itself needs no code.
    monkeypatch.setattr(plan, 'check_training', lambda config: None)

    def make(training=None, ms_per_atom=MS_PER_ATOM, **rounds):
        sections = {
            'training': {'kind': 'sevennet', **(training or {})},
            'rounds': {'target_force_error_eV_A': 0.1, **rounds},
        }
        return plan_rounds(validate_config(CONFIG | sections, Path()), 8.0, ms_per_atom)

    return make


def test_each_round_has_three_training_runs_and_the_first_one_two_more(plan_of):
    found = plan_of(maximum=3)
    assert (found.maximum, found.labels_per_round, found.n_labels, found.n_trainings) == (3, 60, 180, 11)
    assert plan_of(maximum=3, estimate_labels=False).n_trainings == 9


def test_a_label_budget_limits_the_rounds(plan_of):
    found = plan_of(maximum=4, label_budget=130)
    assert (found.maximum, found.n_labels, found.n_trainings) == (2, 120, 8)


def test_the_time_is_that_of_all_steps_of_all_training_runs(plan_of):
    # 50, 100 and 150 rows in three runs, and a quarter and half of the first 50; 40 epochs.
    n_steps = 40 * (3 * (50 + 100 + 150) + 12 + 25)
    seconds = 3 * 8 * 0.010
    assert plan_of(maximum=3).training_s == pytest.approx(n_steps * seconds)
    # Each step is followed by one with structures for replay.
    assert plan_of({'recipe': 'replay'}, maximum=3).training_s == pytest.approx(2 * n_steps * seconds)
    assert plan_of(maximum=3, ms_per_atom={}).training_s is None
