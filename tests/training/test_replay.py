import numpy as np
import pytest
from ase.build import bulk
from ase.io import write
from support.errors import refused

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.training.replay import (
    MAX_ATOMS,
    OF_DRIFT,
    OF_REPLAY,
    drift_structures,
    is_labelled_system,
    read_replay_file,
    replay_structures,
)


def systems(structures):
    return [frozenset(atoms.symbols) for atoms in structures]


def are_equal(one, other):
    return all(
        np.array_equal(a.numbers, b.numbers)
        and np.array_equal(a.positions, b.positions)
        and np.array_equal(a.cell, b.cell)
        for a, b in zip(one, other, strict=True)
    )


@pytest.mark.parametrize('elements', [('Si',), ('Cu', 'Au'), ('Mg', 'O')])
def test_replayed_systems_overlap_the_dataset_but_are_not_part_of_it(elements):
    structures = replay_structures(elements, 16, 3)
    assert len(structures) == 16
    assert all(system & set(elements) and not system <= set(elements) for system in systems(structures))
    assert not any(is_labelled_system(atoms, elements) for atoms in structures)
    assert {symbol for system in systems(structures) for symbol in system} >= set(elements)
    assert len(set(systems(structures))) >= 5
    assert max(len(atoms) for atoms in structures) <= MAX_ATOMS


@pytest.mark.parametrize('elements', [('Si',), ('Cu', 'Au'), ('Mg', 'O'), ('Na', 'Cl')])
def test_drift_is_measured_on_chemistry_that_is_never_replayed(elements):
    # Different random seeds, since the gate and the training may draw different ones.
    replayed, drifted = systems(replay_structures(elements, 20, 1)), systems(drift_structures(elements, 12, 2))
    assert not set(replayed) & set(drifted)
    partners = {symbol for system in drifted for symbol in system} - set(elements)
    assert not partners & {symbol for system in replayed for symbol in system}
    n_overlapping = sum(bool(system & set(elements)) for system in drifted)
    assert n_overlapping == 6


def test_the_same_seed_gives_the_same_structures_and_more_structures_begin_with_fewer():
    few, many, others = (replay_structures(['Si'], n, random_seed) for n, random_seed in ((6, 0), (9, 0), (6, 1)))
    assert are_equal(few, many[:6])
    assert not are_equal(few[:1], others[:1])
    assert are_equal(drift_structures(['Si'], 4, 0), drift_structures(['Si'], 4, 0))


def test_only_elements_that_the_model_supports_are_used():
    supported = ['Si', 'O', 'Mg', 'S']
    assert {symbol for system in systems(replay_structures(['Si'], 6, 0, supported)) for symbol in system} <= {
        *supported
    }
    assert set(systems(drift_structures(['Si'], 4, 0, supported))) == {frozenset(('Si', 'S'))}
    with refused(Code.ELEMENT_UNSUPPORTED):
        replay_structures(['Cu', 'Au'], 4, 0, ['Cu', 'Au'])


def test_frames_of_labelled_systems_and_unknown_elements_are_left_out_of_a_file(tmp_path):
    path = tmp_path / 'own.xyz'
    write(path, [bulk('Si'), bulk('SiC', 'zincblende', a=4.4), bulk('Cu'), bulk('Po', a=3.3)])
    frames, notes = read_replay_file(path, ['Si'], ['Si', 'C', 'Cu'])
    assert [str(frame.symbols) for frame in frames] == ['SiC', 'Cu']
    assert len(notes) == 2
    assert read_replay_file(path, ['Ge'], None)[1] == ()
    with refused(Code.VALUE_INVALID, 'own.xyz'):
        read_replay_file(path, ['Si', 'C', 'Cu', 'Po'], None)
    path.write_text('no frames')
    with refused(Code.FILE_UNREADABLE, 'own.xyz'):
        read_replay_file(path, ['Si'], None)


def test_no_element_is_replayed_and_used_for_drift():
    assert not set(OF_REPLAY) & set(OF_DRIFT)
    assert len(OF_REPLAY) == len(OF_DRIFT)
