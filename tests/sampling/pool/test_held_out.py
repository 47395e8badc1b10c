from dataclasses import replace

import numpy as np
import pytest
from ase.calculators.emt import EMT
from support.errors import refused
from support.sampling import numbers_in, sampling

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.sampling import select_frames
from aiida_mlip_autopipe.structures.trajectory import Trajectory

SOAP = {'n_max': 4, 'l_max': 3}


def labelled(trajectory):
    """Return a trajectory with the energies and forces of EMT, by which equal structures are known."""
    frames = [trajectory.frame(place) for place in range(len(trajectory))]
    for atoms in frames:
        atoms.calc = EMT()
    energies = np.array([atoms.get_potential_energy() for atoms in frames])
    return replace(trajectory, energies=energies, forces=np.array([atoms.get_forces() for atoms in frames]))


@pytest.fixture
def trajectories(make_trajectory, rattled):
    """Return ten seeds of twelve frames; seeds 0 and 1, 2 and 3 and so on are of one lineage."""
    return [labelled(make_trajectory(rattled(12, seed), f'seed{seed}')) for seed in range(10)]


@pytest.fixture
def lineages():
    return {f'seed{seed}': f'ancestor{seed // 2}' for seed in range(10)}


def lineages_by_split(selection, trajectories, lineages):
    found = {}
    for t, split in zip(selection.trajectory_indices, selection.splits, strict=True):
        found.setdefault(split, set()).add(lineages[trajectories[t].seed_id])
    return found


def test_no_lineage_is_in_two_sets_and_the_shares_are_those_asked_for(trajectories, lineages):
    settings = sampling('fps', n_structures=20, test_share=0.2, valid_share=0.1, descriptor=SOAP)
    selection = select_frames(trajectories, settings, random_seed=1, lineages=lineages)
    sets = lineages_by_split(selection, trajectories, lineages)
    assert set(sets) == {'train', 'valid', 'test'}
    assert not sets['train'] & sets['test']
    assert not sets['train'] & sets['valid']
    assert not sets['valid'] & sets['test']
    assert [selection.splits.count(split) for split in ('train', 'valid', 'test')] == [14, 2, 4]
    assert selection.report['n_lineages'] == {'train': 3, 'valid': 1, 'test': 1}
    assert selection.report['n_held_out'] == {'valid': 2, 'test': 4}
    assert selection.report['warnings'] == []


def test_lineages_that_share_a_structure_are_one_also_where_it_is_turned_and_repeated(trajectories, lineages):
    # Every lineage holds a frame of the next, but for the last.
    chained = list(trajectories)
    for seed in range(0, 8, 2):
        copy = trajectories[seed + 2].frame(3).repeat((1, 1, 2))
        copy = copy[np.random.default_rng(1).permutation(len(copy))]
        copy.rotate(30, (1, 2, 3), rotate_cell=True)
        extra = Trajectory(
            seed_id=f'seed{seed}',
            numbers=copy.numbers,
            pbc=copy.pbc,
            steps=np.array([1000]),
            positions=copy.positions[None],
            cells=copy.cell.array[None],
            energies=np.zeros(1),
            forces=np.zeros((1, len(copy), 3)),
            stresses=np.zeros((1, 6)),
            temperatures=np.zeros(1),
        )
        chained.append(labelled(extra))
    settings = sampling('random', n_structures=20, test_share=0.2, valid_share=0.2)
    apart = select_frames(trajectories, settings, random_seed=1, lineages=lineages)
    assert apart.report['n_lineages_joined'] == 0
    joined = select_frames(chained, settings, random_seed=1, lineages=lineages)
    assert joined.report['n_lineages_joined'] == 4
    assert joined.report['n_lineages'] == {'train': 1, 'valid': 0, 'test': 0}


def test_the_test_set_does_not_depend_on_the_sampler(trajectories, lineages):
    tests = []
    for settings in (
        sampling('fps', n_structures=20, test_share=0.3, descriptor=SOAP),
        sampling('stride', n_structures=20, test_share=0.3),
    ):
        selection = select_frames(trajectories, settings, random_seed=1, lineages=lineages)
        picks = zip(selection.trajectory_indices, selection.frame_indices, selection.splits, strict=True)
        tests.append([(t, f) for t, f, split in picks if split == 'test'])
    assert len(tests[0]) == 6
    assert tests[0] == tests[1]


def test_frames_held_out_have_no_distance_and_come_last(trajectories, lineages):
    settings = sampling('fps', n_structures=20, test_share=0.2, descriptor=SOAP)
    selection = select_frames(trajectories, settings, random_seed=1, lineages=lineages)
    assert selection.splits == ('train',) * 16 + ('test',) * 4
    assert np.isfinite(selection.distances[1:16]).all()
    assert np.isnan(selection.distances[16:]).all()


def test_a_seed_is_a_lineage_of_its_own_where_none_is_told(trajectories):
    selection = select_frames(trajectories, sampling('random', n_structures=20, test_share=0.2), random_seed=1)
    assert sum(selection.report['n_lineages'].values()) == 10


def test_nothing_is_held_out_by_default(trajectories, lineages):
    selection = select_frames(trajectories, sampling('random', n_structures=5), random_seed=1, lineages=lineages)
    assert selection.splits == (None,) * 5
    assert 'n_lineages' not in selection.report


def test_one_lineage_alone_is_for_training_and_the_report_warns(trajectories):
    settings = sampling('random', n_structures=20, test_share=0.2)
    selection = select_frames(trajectories[:1], settings, random_seed=1)
    assert selection.splits == ('train',) * 12
    short_test_set, short_selection = selection.report['warnings']
    assert ' test ' in short_test_set
    assert numbers_in(short_test_set) == [0, 4]
    assert numbers_in(short_selection) == [12, 12, 16]


KINDS = {f'seed{seed}': 'surface' if seed in (2, 3, 8) else 'alloy' for seed in range(10)}


def kinds_by_split(selection, trajectories):
    found = {}
    for t, split in zip(selection.trajectory_indices, selection.splits, strict=True):
        found.setdefault(split, []).append(KINDS[trajectories[t].seed_id])
    return found


def test_a_kind_that_is_held_out_is_the_test_set_and_nothing_else(trajectories):
    settings = sampling(
        'fps', n_structures=30, test_share=0.2, valid_share=0.1, held_out_kinds=['surface'], descriptor=SOAP
    )
    selection = select_frames(trajectories, settings, random_seed=1, kinds=KINDS)
    assert kinds_by_split(selection, trajectories) == {
        'train': ['alloy'] * 21,
        'valid': ['alloy'] * 3,
        'test': ['surface'] * 6,
    }
    assert selection.report['n_lineages']['test'] == 3
    # By chance, and so from more than one of the seeds.
    drawn = [t for t, split in zip(selection.trajectory_indices, selection.splits, strict=True) if split == 'test']
    assert len(set(drawn)) > 1
    stride = sampling('stride', n_structures=30, test_share=0.2, held_out_kinds=['surface'])
    other = select_frames(trajectories, stride, random_seed=1, kinds=KINDS)
    assert other.frame_indices[-6:].tolist() == selection.frame_indices[-6:].tolist()


def test_a_lineage_of_a_kind_held_out_is_not_trained_on_nor_tested_where_it_is_of_another_kind(trajectories, lineages):
    settings = sampling('random', n_structures=120, test_share=0.4, held_out_kinds=['surface'])
    selection = select_frames(trajectories, settings, random_seed=1, kinds=KINDS, lineages=lineages)
    # Seed 9 is an alloy of the lineage of seed 8.
    assert 'seed9' not in {trajectories[t].seed_id for t in selection.trajectory_indices}
    assert {kind: len(found) for kind, found in kinds_by_split(selection, trajectories).items()} == {
        'train': 72,
        'test': 36,
    }
    assert [36, 48] in map(numbers_in, selection.report['warnings'])


def test_a_kind_of_which_no_frame_is_left_gives_no_other_test_set(trajectories):
    settings = sampling('random', n_structures=20, test_share=0.2, held_out_kinds=['defect'])
    selection = select_frames(trajectories, settings, random_seed=1, kinds=KINDS)
    assert selection.splits == ('train',) * 16
    assert numbers_in(selection.report['warnings'][0]) == [0, 4]


def test_holding_out_all_kinds_is_refused(trajectories):
    settings = sampling('random', n_structures=20, test_share=0.2, held_out_kinds=['surface', 'alloy'])
    with refused(Code.TRAINING_SET_EMPTY, 'held_out_kinds', 'alloy, surface'):
        select_frames(trajectories, settings, random_seed=1, kinds=KINDS)


def test_fractions_of_one_or_more_in_total_are_refused():
    with refused(Code.OUT_OF_RANGE, 'test_share', 'valid_share', '1'):
        sampling('random', test_share=0.5, valid_share=0.5)


def test_kinds_cannot_be_held_out_without_a_fraction_for_testing():
    with refused(Code.VALUE_MISSING, 'held_out_kinds', 'test_share'):
        sampling('random', held_out_kinds=['surface'])
