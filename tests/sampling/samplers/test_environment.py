import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.io import write
from support.sampling import numbers_in, sampling, select

from aiida_mlip_autopipe.descriptors import environments
from aiida_mlip_autopipe.sampling import select_frames
from aiida_mlip_autopipe.sampling.environment_clusters import apportion

SOAP = {'n_max': 4, 'l_max': 3, 'r_cut_A': 3.0}
# The numbers of gold atoms in the cells of eight atoms of a metal, an ordered compound and random alloys.
PURE, ORDERED, RANDOM = 0, 2, 4


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


@pytest.fixture
def alloys(make_trajectory):
    """Return trajectories of a pure metal, an ordered compound and random alloys, with 30 frames each."""
    rng = np.random.default_rng(0)
    trajectories = []
    for n_gold in (PURE, ORDERED, RANDOM):
        frames = []
        for _ in range(30):
            atoms = bulk('Cu', cubic=True) * (2, 1, 1)
            atoms.numbers[[0, 4] if n_gold == ORDERED else rng.permutation(8)[:n_gold]] = 79
            atoms.rattle(0.1, rng=rng)
            frames.append(atoms)
        for number, atoms in enumerate(frames):
            trajectories.append(make_trajectory([atoms], f'{n_gold} {number:02d}'))
    return trajectories


def count_by_gold(selection, trajectories):
    """Return the number of chosen frames of the pure metal, the ordered compound and the random alloys."""
    numbers = [int((trajectories[t].numbers == 79).sum()) for t in selection.trajectory_indices]
    return [numbers.count(n_gold) for n_gold in (PURE, ORDERED, RANDOM)]


def test_a_pure_metal_gets_its_fraction_of_the_structures(alloys):
    soap = {'n_max': 4, 'l_max': 3}
    together = select(alloys, sampling('environment', descriptor=soap, n_structures=18, clusters_per_group=False))
    assert count_by_gold(together, alloys)[0] <= 1
    selection = select(alloys, sampling('environment', descriptor=soap, n_structures=18))
    assert min(count_by_gold(selection, alloys)) >= 4
    assert selection.report['n_environment_groups'] == 3
    assert selection.report['n_clusters'] == 180


@pytest.mark.parametrize('n_structures', [20, 60])
def test_the_principal_components_choose_the_same_frames_as_the_full_descriptor(alloys, n_structures, monkeypatch):
    settings = sampling('environment', n_structures=n_structures)
    by_components = select(alloys, settings)
    assert by_components.report['descriptor']['n_components'] < 200
    monkeypatch.setattr(environments, 'MIN_COMPONENTS', 952)
    in_full = select(alloys, settings)
    assert in_full.report['descriptor']['n_components'] > 300
    in_common = set(by_components.trajectory_indices) & set(in_full.trajectory_indices)
    assert len(in_common) >= 0.9 * n_structures


def test_candidates_of_different_kinds_have_different_clusters(alloys):
    kinds = {one.seed_id: 'surface' if int(one.seed_id[-2:]) < 15 else 'bulk' for one in alloys}
    settings = sampling('environment', descriptor={'n_max': 4, 'l_max': 3}, n_structures=18)
    selection = select_frames(alloys, settings, random_seed=1, kinds=kinds)
    assert selection.report['n_environment_groups'] == 6


def test_groups_that_are_too_small_for_a_cluster_are_joined(make_trajectory):
    settings = sampling('environment', descriptor=SOAP, n_structures=2, n_clusters=4)
    structures = [dimers(1.8)] * 2 + [Atoms(f'Cu{n}', positions=[[3 * i, 0, 0] for i in range(n)]) for n in range(3, 9)]
    for n, atoms in enumerate(structures[2:]):
        atoms.numbers[: n + 1] = 79
    rng = np.random.default_rng(0)
    trajectories = []
    for number, atoms in enumerate(structures):
        moved = atoms.copy()
        moved.rattle(0.05, rng=rng)
        trajectories.append(make_trajectory([moved], f'{number}'))
    report = select(trajectories, settings).report
    assert report['n_environment_groups'] == 2
    assert report['n_clusters'] <= 4


def test_clusters_are_divided_in_proportion_to_the_candidates():
    assert apportion(10, np.array([5, 3, 2])) == [5, 3, 2]
    assert apportion(10, np.array([1, 1, 1])) == [4, 3, 3]
    assert apportion(7, np.array([100, 1])) == [6, 1]


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
