import numpy as np
from ase.build import bulk

from aiida_mlip_autopipe.data.trajectory import node_from_trajectory, trajectory_from_node
from aiida_mlip_autopipe.trajectories import Trajectory


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


def test_frames_come_back_exact_from_a_stored_node():
    trajectory = make_trajectory()
    node = node_from_trajectory(trajectory, about={'ensemble': 'nvt'}).store()
    back = trajectory_from_node(node)
    for name in ('numbers', 'pbc', 'steps', 'positions', 'cells', 'energies', 'forces', 'stresses', 'temperatures'):
        np.testing.assert_array_equal(getattr(back, name), getattr(trajectory, name))
    np.testing.assert_array_equal(back.extra['swaps'], trajectory.extra['swaps'])
    np.testing.assert_allclose(back.extra['time_fs'], trajectory.extra['time_fs'], rtol=1e-15)
    assert back.seed_id == trajectory.seed_id
    assert node.base.attributes.get('about') == {'ensemble': 'nvt'}


def test_times_are_in_picoseconds():
    node = node_from_trajectory(make_trajectory(), about={})
    np.testing.assert_allclose(node.get_times(), [0, 0.02, 0.04])


def test_a_frame_of_a_structure_without_stress_has_none():
    frame = make_trajectory().frame(1)
    assert 'stress' not in frame.calc.results
    assert frame.get_potential_energy() == make_trajectory().energies[1]
