from dataclasses import replace

import numpy as np
import pytest
from aiida.common import LinkType
from aiida.orm import CalcFunctionNode, Int
from ase.build import bulk

from aiida_mlip_autopipe.data.trajectory import (
    input_trajectories,
    node_from_trajectory,
    sort_trajectories,
    trajectories_from_nodes,
    trajectory_from_node,
    trajectory_id,
)
from aiida_mlip_autopipe.structures.trajectory import Trajectory


def make_trajectory(n_frames=3):
    atoms = bulk('NaCl', 'rocksalt', a=5.6)
    rng = np.random.default_rng(1)
    n = len(atoms)
    return Trajectory(
        seed_id='0123456789abcdef',
        numbers=atoms.numbers,
        pbc=np.array([True, True, False]),
        steps=np.arange(n_frames) * 10,
        positions=rng.normal(size=(n_frames, n, 3)),
        cells=np.repeat(atoms.cell.array[None], n_frames, axis=0),
        energies=rng.normal(size=n_frames),
        forces=rng.normal(size=(n_frames, n, 3)),
        stresses=np.full((n_frames, 6), np.nan),
        temperatures=rng.uniform(200, 400, size=n_frames),
        extra={'swaps': np.arange(n_frames), 'time_fs': 20.0 * np.arange(n_frames)},
    )


def test_a_stored_node_keeps_the_frames_exactly():
    trajectory = make_trajectory()
    node = node_from_trajectory(trajectory, about={'ensemble': 'nvt'}).store()
    back = trajectory_from_node(node)
    for name in ('numbers', 'pbc', 'steps', 'positions', 'cells', 'energies', 'forces', 'stresses', 'temperatures'):
        np.testing.assert_array_equal(getattr(back, name), getattr(trajectory, name))
    np.testing.assert_array_equal(back.extra['swaps'], trajectory.extra['swaps'])
    np.testing.assert_allclose(back.extra['time_fs'], trajectory.extra['time_fs'], rtol=1e-15)
    assert back.seed_id == trajectory.seed_id
    assert node.base.attributes.get('about') == {'ensemble': 'nvt'}


def test_several_nodes_are_read_in_their_order():
    expected = [make_trajectory(n_frames) for n_frames in (3, 1, 2)]
    nodes = [node_from_trajectory(trajectory, about={}).store() for trajectory in expected]
    found = trajectories_from_nodes(nodes)
    assert [one.trajectory_id for one in found] == [one.trajectory_id for one in expected]
    assert trajectories_from_nodes([]) == []


def test_a_file_that_is_missing_in_the_repository_is_an_error():
    nodes = [node_from_trajectory(make_trajectory(n_frames), about={}).store() for n_frames in (4, 5)]
    key = nodes[1].base.repository.get_object('forces.npy').key
    nodes[1].backend.get_repository().delete_objects([key])
    with pytest.raises(FileNotFoundError, match=key):
        trajectories_from_nodes(nodes)


def test_the_times_of_a_node_are_in_picoseconds():
    node = node_from_trajectory(make_trajectory(), about={})
    np.testing.assert_allclose(node.get_times(), [0, 0.02, 0.04])


def test_a_frame_without_stress_has_no_stress_result():
    frame = make_trajectory().frame(1)
    assert 'stress' not in frame.calc.results
    assert frame.get_potential_energy() == make_trajectory().energies[1]


@pytest.mark.parametrize(
    ('field', 'is_different'),
    [('seed_id', True), ('steps', True), ('positions', True), ('cells', True), ('energies', False), ('extra', False)],
)
def test_a_trajectory_is_identified_by_its_seed_steps_and_structures(field, is_different):
    trajectory = make_trajectory()
    value = getattr(trajectory, field)
    changed = {'seed_id': 'fedcba9876543210', 'extra': {}}.get(field)
    other = replace(trajectory, **{field: value + 1 if changed is None else changed})
    assert len(trajectory.trajectory_id) == 16
    assert (other.trajectory_id != trajectory.trajectory_id) is is_different
    node = node_from_trajectory(trajectory, about={})
    assert trajectory_id(node) == trajectory_from_node(node.store()).trajectory_id == trajectory.trajectory_id


def test_trajectories_are_ordered_by_seed_step_and_recoveries():
    def node(seed_id, first_step, recoveries=0):
        trajectory = make_trajectory()
        moved = replace(trajectory, seed_id=seed_id, steps=trajectory.steps + first_step)
        return node_from_trajectory(moved, about={'recoveries': recoveries})

    expected = [node('a', 0), node('a', 30, 1), node('a', 30, 2), node('a', 100), node('b', 0)]
    assert sort_trajectories(expected[::-1]) == expected
    for one in expected[::2]:
        one.store()
    assert sort_trajectories(expected[::-1]) == expected
    assert trajectories_from_nodes(expected)[1].trajectory_id == trajectory_id(expected[1])


def test_the_trajectories_of_a_process_are_read_in_the_same_order():
    trajectories = [replace(make_trajectory(), seed_id=seed_id) for seed_id in 'cab']
    process = CalcFunctionNode()
    for position, trajectory in enumerate(trajectories):
        leg = node_from_trajectory(trajectory, about={}).store()
        process.base.links.add_incoming(leg, LinkType.INPUT_CALC, f'leg_{position}')
    process.base.links.add_incoming(Int(1).store(), LinkType.INPUT_CALC, 'other')
    found = input_trajectories(process.store())
    assert [one.seed_id for one in found] == ['a', 'b', 'c']
    assert [one.trajectory_id for one in found] == [trajectories[position].trajectory_id for position in (1, 2, 0)]
    np.testing.assert_array_equal(found[0].forces, trajectories[1].forces)
