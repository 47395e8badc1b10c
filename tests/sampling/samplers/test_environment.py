import numpy as np
import pytest
from ase import Atoms
from ase.io import write
from support.sampling import numbers_in, sampling, select

SOAP = {'n_max': 4, 'l_max': 3, 'r_cut_A': 3.0}


def dimers(*bonds):
    """Return a gas of Cu2 dimers, in which each bond length forms an environment cluster."""
    positions = [[10.0 * i + x, 0, 0] for i, bond in enumerate(bonds) for x in (0, bond)]
    return Atoms(f'Cu{len(positions)}', positions=positions, cell=[200, 20, 20])


def choose(make_trajectory, structures, **fields):
    trajectories = [make_trajectory([atoms], f'{i}') for i, atoms in enumerate(structures)]
    settings = sampling('environment', descriptor=SOAP, **{'n_clusters': 50} | fields)
    return select(trajectories, settings)


STRUCTURES = [
    dimers(1.8),
    dimers(1.8, 2.0, 2.2),
    dimers(2.0, 2.2, 2.4, 2.4),
    dimers(2.2, 2.4),
    dimers(2.6),
]


def test_the_smallest_structure_with_the_largest_number_of_new_clusters_is_chosen(make_trajectory):
    selection = choose(make_trajectory, STRUCTURES, n_structures=3)
    # Structures 1 and 2 have three clusters each. The smallest structure with one of the two other clusters is 4.
    assert selection.trajectory_indices.tolist() == [1, 4, 3]
    assert selection.gains.tolist() == [3, 1, 1]
    assert selection.report['n_clusters'] == 5
    assert selection.report['coverage'] == 1.0
    assert selection.report['rounds'] == 1


def test_a_new_round_begins_when_all_clusters_are_covered(make_trajectory):
    selection = choose(make_trajectory, STRUCTURES, n_structures=5)
    assert selection.trajectory_indices.tolist() == [1, 4, 3, 2, 0]
    assert selection.report['rounds'] == 2


def test_the_sampler_stops_at_the_requested_coverage_without_a_warning(make_trajectory):
    selection = choose(make_trajectory, STRUCTURES, n_structures=5, coverage=0.8)
    assert selection.trajectory_indices.tolist() == [1, 4]
    assert selection.report['coverage'] == 0.8
    assert selection.report['warnings'] == []


def test_clusters_of_the_reference_dataset_are_covered(make_trajectory, tmp_path):
    write(tmp_path / 'old.traj', dimers(2.0, 2.2, 2.4))
    selection = choose(make_trajectory, STRUCTURES, n_structures=2, reference_dataset=tmp_path / 'old.traj')
    assert selection.trajectory_indices.tolist() == [0, 4]
    assert selection.report['coverage'] == 1.0


def test_a_rare_environment_is_not_lost_in_an_average(make_trajectory):
    common = [dimers(*[2.0 + 0.02 * i] * 8) for i in range(4)]
    rare = dimers(*[2.0] * 7, 1.7)
    selection = choose(make_trajectory, [*common, rare], n_structures=1)
    assert selection.trajectory_indices.tolist() == [4]


def test_a_rotated_copy_is_not_chosen(make_trajectory, tmp_path):
    rotated = STRUCTURES[2].copy()
    rotated.rotate(40, 'z', rotate_cell=True)
    selection = choose(make_trajectory, [STRUCTURES[2], rotated], n_structures=2)
    assert selection.trajectory_indices.tolist() == [0]
    assert numbers_in(selection.report['warnings'][0]) == [1, 2, 2]
    write(tmp_path / 'old.traj', rotated)
    assert len(choose(make_trajectory, STRUCTURES, n_structures=5, reference_dataset=tmp_path / 'old.traj')) == 4


def test_the_radius_of_the_clusters_is_large_if_there_are_few(make_trajectory):
    report = choose(make_trajectory, STRUCTURES, n_structures=2, n_clusters=2).report
    assert report['n_clusters'] == 2
    assert report['cluster_radius'] > 0


@pytest.mark.parametrize('order', [[4, 3, 2, 1, 0], [2, 0, 4, 1, 3]])
def test_the_order_of_the_trajectories_does_not_matter(make_trajectory, order):
    trajectories = [make_trajectory([STRUCTURES[i]], f'{i}') for i in order]
    settings = sampling('environment', descriptor=SOAP, n_structures=3)
    selection = select(trajectories, settings)
    assert [trajectories[t].seed_id for t in selection.trajectory_indices] == ['1', '4', '3']


def test_crystals_of_different_sizes_are_supported(make_trajectory, rattled):
    trajectories = [make_trajectory(rattled(6), 'a'), make_trajectory([atoms * 2 for atoms in rattled(3, 5)], 'b')]
    settings = sampling('environment', descriptor={'n_max': 4, 'l_max': 3}, n_structures=6)
    selection = select(trajectories, settings)
    assert len(selection) == 6
    assert np.isnan(selection.distances).all()
    assert selection.report['n_environments'] == 6 * 4 + 3 * 32


@pytest.mark.parametrize('amplitude_A', [0.02, 0.1])
def test_frames_with_small_displacements_are_distinguished(make_trajectory, rattled, amplitude_A):
    trajectory = make_trajectory(rattled(30, amplitude=amplitude_A))
    selections = [select([trajectory], sampling(kind, n_structures=30)) for kind in ('environment', 'fps')]
    # With all components, which fps uses, two of the frames are duplicates at the smaller amplitude.
    assert len(selections[0]) == len(selections[1]) >= 29
