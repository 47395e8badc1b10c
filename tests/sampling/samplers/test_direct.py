import numpy as np
import pytest
from ase.io import write
from support.sampling import numbers_in, sampling, select

from aiida_mlip_autopipe.sampling.samplers.direct import cluster

SOAP = {'n_max': 4, 'l_max': 3}


@pytest.fixture
def families(rattled):
    """Return twelve, six and three frames with three different lattice constants."""
    frames = []
    for n, stretch in ((12, 1.0), (6, 1.1), (3, 1.25)):
        for atoms in rattled(n, random_seed=n, amplitude=0.01):
            atoms.set_cell(atoms.cell * stretch, scale_atoms=True)
            frames.append(atoms)
    return frames


def choose(make_trajectory, frames, **fields):
    return select([make_trajectory(frames)], sampling('direct', descriptor=SOAP, **fields))


def test_one_frame_of_each_cluster_is_chosen_starting_with_the_largest(make_trajectory, families):
    selection = choose(make_trajectory, families, n_structures=3)
    assert [np.searchsorted([12, 18], frame, side='right') for frame in selection.frame_indices] == [0, 1, 2]
    assert selection.report['n_clusters'] == selection.report['n_from_clusters'] == 3
    assert np.isnan(selection.distances[0])
    assert (selection.distances[1:] > 0).all()


def test_several_frames_of_each_cluster_can_be_chosen(make_trajectory, families):
    selection = choose(make_trajectory, families, n_structures=6, per_cluster=2)
    assert selection.report['n_clusters'] == 3
    families_chosen = np.searchsorted([12, 18], selection.frame_indices, side='right')
    assert families_chosen.tolist() == [0, 0, 1, 1, 2, 2]


def test_the_frame_nearest_to_the_centre_of_a_cluster_is_chosen(make_trajectory, rattled):
    start = rattled(1, amplitude=0)[0]
    frames = [start.copy() for _ in range(5)]
    for atoms, stretch in zip(frames, (0.96, 0.98, 1.0, 1.02, 1.04), strict=True):
        atoms.set_cell(start.cell * stretch, scale_atoms=True)
    assert choose(make_trajectory, frames, n_structures=1).frame_indices.tolist() == [2]


def test_a_cluster_with_a_reference_structure_is_skipped(make_trajectory, families, tmp_path):
    write(tmp_path / 'old.traj', families[:3])
    selection = choose(make_trajectory, families, n_structures=3, reference_dataset=tmp_path / 'old.traj')
    assert {12, 13, 14, 15, 16, 17} & set(selection.frame_indices[:1])
    assert set(range(18, 21)) & set(selection.frame_indices[1:2])
    assert selection.report['n_from_clusters'] < 3
    assert len(selection) == 3


def test_rotated_copies_are_not_chosen(make_trajectory, rattled):
    frames = rattled(4)
    copies = [atoms.copy() for atoms in frames]
    for atoms in copies:
        atoms.rotate(50, (1, 1, 0), rotate_cell=True)
    trajectories = [make_trajectory(frames, 'a'), make_trajectory(copies, 'b')]
    selection = select(trajectories, sampling('direct', n_structures=8, descriptor=SOAP))
    assert sorted(selection.frame_indices) == [0, 1, 2, 3]
    assert numbers_in(selection.report['warnings'][0]) == [4, 8, 8]


@pytest.mark.parametrize('n_clusters', [1, 2, 7, 50, 200])
def test_the_requested_number_of_clusters_is_made(n_clusters):
    points = np.random.default_rng(0).normal(size=(200, 4)).astype(np.float32)
    assert len(np.unique(cluster(points, n_clusters))) == n_clusters


def test_the_number_of_clusters_does_not_exceed_that_of_distinct_points():
    points = np.repeat(np.arange(3.0, dtype=np.float32)[:, None], 4, axis=0)
    assert len(np.unique(cluster(points, 10))) == 3
