from uuid import uuid4

import numpy as np
import pytest
from ase.build import bulk

from aiida_mlip_autopipe.calculators.attempts import Attempt
from aiida_mlip_autopipe.data.labels import LabelsData, find_failures, find_isolated_atoms, find_labels
from aiida_mlip_autopipe.labelling.keys import label_key
from aiida_mlip_autopipe.labelling.label import Failure, Label
from aiida_mlip_autopipe.structures.rows.level import LevelOfTheory

STRUCTURES = [bulk('Cu', cubic=True), bulk('Fe'), bulk('NaCl', 'rocksalt', 5.6)]
FAILURE = Failure('no convergence', 'not_converged', (Attempt('', False, 3, 0.5, 'no convergence'),), 0.5)


@pytest.fixture
def make_level():
    """Return a function that makes levels, which differ from those of all other tests."""
    test = str(uuid4())

    def make(number):
        parameters = {'test': test, 'number': number}
        return LevelOfTheory(method='dft', code='gpaw', name=f'dft:gpaw:{number}', parameters=parameters)

    return make


@pytest.fixture
def store(make_level):
    """Return a function that stores the labels of all structures; the second one failed."""

    def make(number, variant='', version='1'):
        rng, level = np.random.default_rng(number), make_level(number)
        outcomes = [
            Label(
                -float(index) / 3,
                'free_energy',
                rng.normal(size=(len(atoms), 3)),
                free_energy_eV=-float(index) / 3,
                stress_eV_A3=rng.normal(size=6) if index else None,
                magnetic_moments_muB=rng.normal(size=len(atoms)) if index else None,
                attempts=(Attempt('', True, 12, 0.7),),
            )
            for index, atoms in enumerate(STRUCTURES)
        ]
        outcomes[1] = FAILURE
        keys = [label_key(atoms, level.hash) for atoms in STRUCTURES]
        numbers = [atoms.numbers for atoms in STRUCTURES]
        isolated = {'Cu': -0.1}
        node = LabelsData.from_outcomes(
            numbers, keys, outcomes, level, version, isolated_atom_energies_eV=isolated, variant=variant
        )
        return node.store(), outcomes

    return make


def test_a_node_returns_the_labels_and_failures_that_it_was_made_from(store, make_level):
    node, outcomes = store(1)
    for read, outcome in zip(node.outcomes(), outcomes, strict=True):
        assert read.to_json() == outcome.to_json()
    assert node.level == make_level(1)
    assert node.isolated_atom_energies_eV == {'Cu': -0.1}
    assert node.get_array('numbers').tolist() == [29] * 4 + [26] + [11, 17]


def test_labels_are_found_by_key_and_level_but_failures_are_not(store, make_level):
    (first, _), (other, _) = store(1), store(2)
    keys = {number: [label_key(atoms, make_level(number).hash) for atoms in STRUCTURES] for number in (1, 2)}
    found = find_labels([*keys[1], 'label-unknown'], make_level(1).hash, '1')
    assert {key: (node.uuid, index) for key, (node, index) in found.items()} == {
        keys[1][0]: (first.uuid, 0),
        keys[1][2]: (first.uuid, 2),
    }
    assert {node.uuid for node, _ in find_labels(keys[2], make_level(2).hash, '1').values()} == {other.uuid}
    assert find_labels(keys[1], make_level(2).hash, '1') == {}


def test_failures_are_found_if_they_would_happen_again(store, make_level):
    (node, _), level = store(3), make_level(3)
    keys = [label_key(atoms, level.hash) for atoms in STRUCTURES]
    assert {key: (found.uuid, index) for key, (found, index) in find_failures(keys, level.hash, '1').items()} == {
        keys[1]: (node.uuid, 1)
    }
    assert find_failures(keys, level.hash, '1', variant='mixing') == {}
    other = make_level(4)
    key = label_key(STRUCTURES[1], other.hash)
    failure = Failure('out of time', 'time_limit')
    LabelsData.from_outcomes([STRUCTURES[1].numbers], [key], [failure], other, '1').store()
    assert find_failures([key], other.hash, '1') == {}


def test_the_oldest_label_of_a_structure_is_found_and_repetitions_are_separate(store, make_level):
    repeated, _ = store(1, 'mixing')
    first, _ = store(1)
    store(1)
    key = label_key(STRUCTURES[0], make_level(1).hash)
    assert find_labels([key], make_level(1).hash, '1')[key][0].uuid == first.uuid
    assert find_labels([key], make_level(1).hash, '1', variant='mixing')[key][0].uuid == repeated.uuid


def test_labels_of_another_version_of_the_method_are_not_found(store, make_level):
    old, _ = store(1)
    new, _ = store(1, version='2')
    level = make_level(1).hash
    keys = [label_key(atoms, level) for atoms in STRUCTURES]
    for version, node in (('1', old), ('2', new)):
        assert {found.uuid for found, _ in find_labels(keys, level, version).values()} == {node.uuid}
        assert {found.uuid for found, _ in find_failures(keys, level, version).values()} == {node.uuid}
        assert find_isolated_atoms({'Cu'}, level, version)['Cu'].uuid == node.uuid
    assert find_labels(keys, level, '3') == find_isolated_atoms({'Cu'}, level, '3') == {}


def test_labels_that_do_not_record_the_version_of_the_method_have_the_first_one(make_level):
    level = make_level(1)
    key = label_key(STRUCTURES[1], level.hash)
    node = LabelsData.from_outcomes([STRUCTURES[1].numbers], [key], [FAILURE], level, '1')
    node.base.attributes.delete('method_version')
    node.store()
    assert set(find_failures([key], level.hash, '1')) == {key}
    assert find_failures([key], level.hash, '2') == {}
