"""Labels, failures and keys."""

import json

import numpy as np
import pytest
from ase.build import bulk
from ase.constraints import FixAtoms

from aiida_mlip_autopipe.calculators.attempts import Attempt
from aiida_mlip_autopipe.labelling.keys import label_key
from aiida_mlip_autopipe.labelling.label import ARRAYS, Failure, Label, outcome_from_json

ATTEMPTS = (Attempt('', False, 200, 1.5, 'no convergence'), Attempt('mixing', True, 31, 0.1 + 0.2))


def test_a_label_is_written_and_read_bit_for_bit():
    rng = np.random.default_rng(1)
    label = Label(-1 / 3, 'free_energy', rng.normal(size=(2, 3)), -1 / 3, -1 / 7, rng.normal(size=6), None, ATTEMPTS)
    read = outcome_from_json(json.loads(json.dumps(label.to_json())))
    for name, value in vars(label).items():
        if name in ARRAYS and value is not None:
            np.testing.assert_array_equal(getattr(read, name), value)
        else:
            assert getattr(read, name) == value


def test_a_failure_is_written_and_read():
    failure = Failure('no convergence', 'not_converged', ATTEMPTS, 2.5)
    assert outcome_from_json(json.loads(json.dumps(failure.to_json()))) == failure


@pytest.fixture
def iron():
    atoms = bulk('Fe', cubic=True)
    atoms.set_initial_magnetic_moments([2.0, 2.0])
    return atoms


def test_the_key_of_a_label_does_not_depend_on_what_a_calculator_ignores(iron):
    key = label_key(iron, 'level-1')
    assert key.startswith('label-')
    assert len(key) == 22
    other = iron.copy()
    other.set_tags([1, 2])
    other.set_constraint(FixAtoms([0]))
    other.info['origin'] = 'elsewhere'
    other.positions[0] = -0.0
    assert label_key(other, 'level-1') == key


@pytest.mark.parametrize('change', ['positions', 'cell', 'pbc', 'numbers', 'moments', 'charges', 'level'])
def test_the_key_of_a_label_depends_on_all_that_a_calculator_uses(iron, change):
    other, level = iron.copy(), 'level-1'
    if change == 'positions':
        other.positions[1, 2] = np.nextafter(other.positions[1, 2], 9)
    elif change == 'cell':
        other.cell[0, 0] = np.nextafter(other.cell[0, 0], 9)
    elif change == 'pbc':
        other.pbc[2] = False
    elif change == 'numbers':
        other.numbers[0] = 27
    elif change == 'moments':
        other.set_initial_magnetic_moments([2.0, -2.0])
    elif change == 'charges':
        other.set_initial_charges([0.0, 1.0])
    else:
        level = 'level-2'
    assert label_key(other, level) != label_key(iron, 'level-1')
