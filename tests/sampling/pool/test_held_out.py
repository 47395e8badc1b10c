from dataclasses import replace

import numpy as np
import pytest
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.db import connect
from support.errors import refused
from support.sampling import numbers_in, sampling

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.sampling import select_frames
from aiida_mlip_autopipe.sampling.pool.reference_dataset import read_reference_dataset, reference_levels
from aiida_mlip_autopipe.storage.imports.import_dataset import import_dataset
from aiida_mlip_autopipe.structures.trajectory import Trajectory

SOAP = {'n_max': 4, 'l_max': 3}


def labelled(trajectory):
    """Return a trajectory with energies and forces from EMT, by which equal structures are found."""
    frames = [trajectory.frame(place) for place in range(len(trajectory))]
    for atoms in frames:
        atoms.calc = EMT()
    energies = np.array([atoms.get_potential_energy() for atoms in frames])
    return replace(trajectory, energies=energies, forces=np.array([atoms.get_forces() for atoms in frames]))


@pytest.fixture
def trajectories(make_trajectory, rattled):
    """Return ten seeds with twelve frames each. Two consecutive seeds (0 and 1, 2 and 3, …) form a group."""
    return [labelled(make_trajectory(rattled(12, seed), f'seed{seed}')) for seed in range(10)]


@pytest.fixture
def groups():
    return {f'seed{seed}': f'parent{seed // 2}' for seed in range(10)}


def groups_by_split(selection, trajectories, groups):
    found = {}
    for t, split in zip(selection.trajectory_indices, selection.splits, strict=True):
        found.setdefault(split, set()).add(groups[trajectories[t].seed_id])
    return found


def test_groups_are_not_split_and_the_sets_have_the_requested_sizes(trajectories, groups):
    settings = sampling('fps', n_structures=20, test_fraction=0.2, valid_fraction=0.1, descriptor=SOAP)
    selection = select_frames(trajectories, settings, random_seed=1, groups=groups)
    sets = groups_by_split(selection, trajectories, groups)
    assert set(sets) == {'train', 'valid', 'test'}
    assert not sets['train'] & sets['test']
    assert not sets['train'] & sets['valid']
    assert not sets['valid'] & sets['test']
    assert [selection.splits.count(split) for split in ('train', 'valid', 'test')] == [14, 2, 4]
    assert selection.report['n_groups'] == {'train': 3, 'valid': 1, 'test': 1}
    assert selection.report['n_held_out'] == {'valid': 2, 'test': 4}
    assert selection.report['n_requested_of_set'] == {'valid': 2, 'test': 4}
    assert {split: found['n'] for split, found in selection.report['sets'].items()} == {
        'train': 14,
        'valid': 2,
        'test': 4,
    }
    assert sum(selection.report['sets']['train']['composition'].values()) == 14
    # Each of the five groups has 20 % of the candidates.
    (warning,) = selection.report['warnings']
    assert ' valid ' in warning
    assert numbers_in(warning) == [12, 24]


def test_groups_that_have_a_rotated_and_repeated_structure_in_common_are_joined(trajectories, groups):
    # Each group except the last contains a frame of the next group.
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
    settings = sampling('random', n_structures=20, test_fraction=0.2, valid_fraction=0.2)
    apart = select_frames(trajectories, settings, random_seed=1, groups=groups)
    assert apart.report['n_groups_joined'] == 0
    joined = select_frames(chained, settings, random_seed=1, groups=groups)
    assert joined.report['n_groups_joined'] == 4
    assert joined.report['n_groups'] == {'train': 1, 'valid': 0, 'test': 0}


def as_reference(trajectories, seeds, groups, split_of, transform=lambda atoms: atoms):
    """Return frames of seeds as structures of a reference dataset, with their groups and sets."""
    found = []
    for seed in seeds:
        for place in (0, 5):
            atoms = transform(trajectories[seed].frame(place))
            atoms.calc = EMT()
            results = {name: atoms.calc.get_property(name, atoms) for name in ('energy', 'forces')}
            atoms.calc = SinglePointCalculator(atoms, **results)
            group = groups[f'seed{seed}']
            atoms.info = {'key_value_pairs': {'parent': group} | ({'split': split_of[group]} if split_of else {})}
            found.append(atoms)
    return found


KNOWN = {'parent0': 'test', 'parent1': 'train', 'parent2': 'valid', 'parent3': 'train', 'parent4': 'train'}


def test_groups_stay_in_their_set_of_the_reference_dataset(trajectories, groups):
    reference = as_reference(trajectories, range(10), groups, KNOWN)
    settings = sampling('random', n_structures=20, test_fraction=0.2, valid_fraction=0.1)
    for random_seed in range(5):
        selection = select_frames(trajectories, settings, random_seed=random_seed, groups=groups, reference=reference)
        assert groups_by_split(selection, trajectories, groups) == {
            'test': {'parent0'},
            'valid': {'parent2'},
            'train': {'parent1', 'parent3', 'parent4'},
        }
    assert selection.report['n_groups_of_reference'] == {'train': 3, 'valid': 1, 'test': 1}


def test_held_out_groups_of_the_reference_dataset_are_not_used_for_training_even_if_no_set_is_requested(
    trajectories, groups
):
    reference = as_reference(trajectories, range(10), groups, KNOWN)
    settings = sampling('random', n_structures=1000)
    selection = select_frames(trajectories, settings, random_seed=1, groups=groups, reference=reference)
    assert groups_by_split(selection, trajectories, groups) == {'train': {'parent1', 'parent3', 'parent4'}}


def test_structures_of_the_reference_dataset_without_a_set_are_used_for_training(trajectories, groups):
    reference = as_reference(trajectories, range(6), groups, {})
    settings = sampling('random', n_structures=20, test_fraction=0.2)
    for random_seed in range(5):
        selection = select_frames(trajectories, settings, random_seed=random_seed, groups=groups, reference=reference)
        assert groups_by_split(selection, trajectories, groups)['test'] <= {'parent3', 'parent4'}


def test_a_group_with_a_copy_of_a_held_out_structure_of_the_reference_dataset_is_held_out(trajectories, groups):
    def turn(atoms):
        atoms = atoms.repeat((1, 1, 2))
        atoms.rotate(30, (1, 2, 3), rotate_cell=True)
        return atoms

    names = {f'seed{seed}': f'former{seed}' for seed in range(10)}
    split_of = {f'former{seed}': 'test' if seed == 3 else 'train' for seed in range(10)}
    reference = as_reference(trajectories, [0, 3, 4], names, split_of, turn)
    settings = sampling('random', n_structures=20, test_fraction=0.2)
    for random_seed in range(5):
        selection = select_frames(trajectories, settings, random_seed=random_seed, groups=groups, reference=reference)
        assert groups_by_split(selection, trajectories, groups)['test'] == {'parent1'}


def test_candidates_of_a_group_in_several_sets_of_the_reference_dataset_are_not_used(trajectories, groups):
    reference = as_reference(trajectories, [0, 1], groups, KNOWN)
    reference[0].info['key_value_pairs']['split'] = 'train'
    settings = sampling('random', n_structures=1000, test_fraction=0.01)
    selection = select_frames(trajectories, settings, random_seed=1, groups=groups, reference=reference)
    used = set().union(*groups_by_split(selection, trajectories, groups).values())
    assert used == {'parent1', 'parent2', 'parent3', 'parent4'}
    assert any('parent0' in warning for warning in selection.report['warnings'])


def test_an_unknown_set_in_the_reference_dataset_is_refused(trajectories, groups):
    reference = as_reference(trajectories, [0], groups, {'parent0': 'dev'})
    settings = sampling('random', n_structures=20, test_fraction=0.2)
    with refused(Code.CHOICE_UNKNOWN, "'dev'", 'train, valid, test'):
        select_frames(trajectories, settings, random_seed=1, groups=groups, reference=reference)


def test_a_kind_is_never_absent_from_the_candidates_for_training(trajectories):
    kinds = {f'seed{seed}': 'surface' if seed < 3 else 'alloy' for seed in range(10)}
    settings = sampling('random', n_structures=40, test_fraction=0.2, valid_fraction=0.1)
    for random_seed in range(20):
        selection = select_frames(trajectories, settings, random_seed=random_seed, kinds=kinds)
        sets = selection.report['sets']
        assert set(sets['train']['kind']) == {'surface', 'alloy'}
        assert not any('surface' in warning for warning in selection.report['warnings'])


def test_labels_are_divided_in_proportion_and_never_absent_from_training(trajectories):
    labels = {f'seed{seed}': 'hot' if seed < 5 else 'cold' for seed in range(10)}
    settings = sampling('random', n_structures=60, test_fraction=0.2, valid_fraction=0.2)
    for random_seed in range(20):
        selection = select_frames(trajectories, settings, random_seed=random_seed, labels=labels)
        assert selection.report['warnings'] == []
        for split in ('train', 'valid', 'test'):
            seeds = {
                trajectories[t].seed_id
                for t, s in zip(selection.trajectory_indices, selection.splits, strict=True)
                if s == split
            }
            assert {labels[seed] for seed in seeds} == {'hot', 'cold'} == set(selection.report['sets'][split]['label'])


def test_the_test_set_does_not_depend_on_the_sampler(trajectories, groups):
    tests = []
    for settings in (
        sampling('fps', n_structures=20, test_fraction=0.3, descriptor=SOAP),
        sampling('stride', n_structures=20, test_fraction=0.3),
    ):
        selection = select_frames(trajectories, settings, random_seed=1, groups=groups)
        picks = zip(selection.trajectory_indices, selection.frame_indices, selection.splits, strict=True)
        tests.append([(t, f) for t, f, split in picks if split == 'test'])
    assert len(tests[0]) == 6
    assert tests[0] == tests[1]


def test_held_out_frames_have_no_distance_and_come_last(trajectories, groups):
    settings = sampling('fps', n_structures=20, test_fraction=0.2, descriptor=SOAP)
    selection = select_frames(trajectories, settings, random_seed=1, groups=groups)
    assert selection.splits == ('train',) * 16 + ('test',) * 4
    assert np.isfinite(selection.distances[1:16]).all()
    assert np.isnan(selection.distances[16:]).all()


def test_a_seed_without_a_group_is_a_separate_group(trajectories):
    selection = select_frames(trajectories, sampling('random', n_structures=20, test_fraction=0.2), random_seed=1)
    assert sum(selection.report['n_groups'].values()) == 10


def test_nothing_is_held_out_by_default(trajectories, groups):
    selection = select_frames(trajectories, sampling('random', n_structures=5), random_seed=1, groups=groups)
    assert selection.splits == (None,) * 5
    assert 'n_groups' not in selection.report


def test_a_single_group_is_used_for_training_with_a_warning(trajectories):
    settings = sampling('random', n_structures=20, test_fraction=0.2)
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


def test_all_frames_for_testing_are_of_the_held_out_kind(trajectories):
    settings = sampling(
        'fps', n_structures=30, test_fraction=0.2, valid_fraction=0.1, held_out_kinds=['surface'], descriptor=SOAP
    )
    selection = select_frames(trajectories, settings, random_seed=1, kinds=KINDS)
    assert kinds_by_split(selection, trajectories) == {
        'train': ['alloy'] * 21,
        'valid': ['alloy'] * 3,
        'test': ['surface'] * 6,
    }
    assert selection.report['n_groups']['test'] == 3
    # The frames are drawn at random, so they are from several seeds.
    drawn = [t for t, split in zip(selection.trajectory_indices, selection.splits, strict=True) if split == 'test']
    assert len(set(drawn)) > 1
    stride = sampling('stride', n_structures=30, test_fraction=0.2, held_out_kinds=['surface'])
    other = select_frames(trajectories, stride, random_seed=1, kinds=KINDS)
    assert other.frame_indices[-6:].tolist() == selection.frame_indices[-6:].tolist()


def test_frames_of_other_kinds_in_the_group_of_a_held_out_kind_are_not_used(trajectories, groups):
    settings = sampling('random', n_structures=120, test_fraction=0.4, held_out_kinds=['surface'])
    selection = select_frames(trajectories, settings, random_seed=1, kinds=KINDS, groups=groups)
    # Seed 9 is an alloy in the group of seed 8.
    assert 'seed9' not in {trajectories[t].seed_id for t in selection.trajectory_indices}
    assert {kind: len(found) for kind, found in kinds_by_split(selection, trajectories).items()} == {
        'train': 72,
        'test': 36,
    }
    assert [36, 48] in map(numbers_in, selection.report['warnings'])


def test_an_imported_dataset_is_a_reference_dataset_whose_structures_stay_in_training(trajectories, groups, tmp_path):
    with connect(tmp_path / 'foreign.db') as database:
        for atoms in as_reference(trajectories, [4], groups, None):
            atoms.info = {}
            atoms.calc.results['stress'] = np.zeros(6)
            database.write(atoms)
    level = {'method': 'dft', 'code': 'vasp', 'functional': 'pbe', 'cutoff_eV': 520}
    imported = import_dataset([tmp_path / 'foreign.db'], tmp_path / 'old.db', level)
    reference = read_reference_dataset(tmp_path / 'old.db')
    assert reference_levels(reference) == {imported.level.hash: imported.level.model_dump()}
    settings = sampling('random', n_structures=20, test_fraction=0.2, valid_fraction=0.2)
    for random_seed in range(5):
        selection = select_frames(trajectories, settings, random_seed=random_seed, groups=groups, reference=reference)
        report = selection.report
        assert report['n_reference'] == report['discarded']['reference_dataset'] == 2
        assert report['reference_label_sources'] == [imported.level.name]
        sets = groups_by_split(selection, trajectories, groups)
        assert 'parent2' not in sets['test'] | sets['valid']
        assert report['n_groups_of_reference'] == {'train': 1, 'valid': 0, 'test': 0}


def test_all_frames_for_testing_have_the_held_out_label_or_kind(trajectories, groups):
    labels = {f'seed{seed}': 'hot' for seed in (2, 4)}
    settings = sampling('random', n_structures=50, test_fraction=0.2, held_out_labels=['hot'])
    selection = select_frames(trajectories, settings, random_seed=1, labels=labels)
    sets = groups_by_split(
        selection, trajectories, {trajectory.seed_id: trajectory.seed_id for trajectory in trajectories}
    )
    assert sets['test'] == {'seed2', 'seed4'}
    assert not sets['test'] & sets['train']
    # Seeds 3 and 5 are not hot, but in the groups of hot seeds.
    selection = select_frames(trajectories, settings, random_seed=1, labels=labels, groups=groups)
    assert not {'seed3', 'seed5'} & {trajectories[t].seed_id for t in selection.trajectory_indices}
    both = sampling('random', n_structures=40, test_fraction=0.5, held_out_labels=['hot'], held_out_kinds=['surface'])
    selection = select_frames(trajectories, both, random_seed=1, labels=labels, kinds=KINDS)
    drawn = {
        trajectories[t].seed_id
        for t, split in zip(selection.trajectory_indices, selection.splits, strict=True)
        if split == 'test'
    }
    assert drawn == {'seed2', 'seed4'} | {seed for seed, kind in KINDS.items() if kind == 'surface'}
    with refused(Code.TRAINING_SET_EMPTY, 'held_out_labels', 'hot'):
        select_frames(trajectories, settings, random_seed=1, labels=dict.fromkeys(KINDS, 'hot'))


def test_a_held_out_kind_without_frames_gives_an_empty_test_set(trajectories):
    settings = sampling('random', n_structures=20, test_fraction=0.2, held_out_kinds=['defect'])
    selection = select_frames(trajectories, settings, random_seed=1, kinds=KINDS)
    assert selection.splits == ('train',) * 16
    assert numbers_in(selection.report['warnings'][0]) == [0, 4]


def test_holding_out_all_kinds_is_refused(trajectories):
    settings = sampling('random', n_structures=20, test_fraction=0.2, held_out_kinds=['surface', 'alloy'])
    with refused(Code.TRAINING_SET_EMPTY, 'held_out_kinds', 'alloy, surface'):
        select_frames(trajectories, settings, random_seed=1, kinds=KINDS)


def test_fractions_with_a_sum_of_one_or_more_are_refused():
    with refused(Code.OUT_OF_RANGE, 'test_fraction', 'valid_fraction', '1'):
        sampling('random', test_fraction=0.5, valid_fraction=0.5)


def test_kinds_cannot_be_held_out_without_a_fraction_for_testing():
    with refused(Code.VALUE_MISSING, 'held_out_kinds', 'test_fraction'):
        sampling('random', held_out_kinds=['surface'])


def test_all_frames_of_dimers_and_atoms_are_selected_for_training_and_do_not_change_the_others(trajectories, groups):
    kinds = {f'seed{seed}': {0: 'dimer', 5: 'atom'}.get(seed, 'alloy') for seed in range(10)}
    fields = {'n_structures': 20, 'test_fraction': 0.2, 'max_force_eV_per_A': 1e-6, 'descriptor': SOAP}
    settings = sampling('fps', **{**fields, 'max_force_eV_per_A': None})
    selection = select_frames(trajectories, settings, random_seed=1, groups=groups, kinds=kinds)
    found = [kinds[trajectories[t].seed_id] for t in selection.trajectory_indices]
    assert [found.count(kind) for kind in ('alloy', 'dimer', 'atom')] == [20, 12, 12]
    assert {split for kind, split in zip(found, selection.splits, strict=True) if kind != 'alloy'} == {'train'}
    assert selection.splits.count('test') == 4
    assert selection.report['n_always_selected'] == 24
    # The sampler sees only the others.
    rest = [trajectory for trajectory in trajectories if kinds[trajectory.seed_id] == 'alloy']
    alone = select_frames(rest, settings, random_seed=1, groups=groups, kinds=kinds)
    chosen = [
        (trajectories[t].seed_id, f) for t, f in zip(selection.trajectory_indices, selection.frame_indices, strict=True)
    ]
    others = [(rest[t].seed_id, f) for t, f in zip(alone.trajectory_indices, alone.frame_indices, strict=True)]
    assert chosen[:16] + chosen[-4:] == others
    # Limits do not apply to them, and a selection may consist of them alone.
    limited = select_frames(trajectories, sampling('fps', **fields), random_seed=1, groups=groups, kinds=kinds)
    assert {kinds[trajectories[t].seed_id] for t in limited.trajectory_indices} == {'dimer', 'atom'}
    assert limited.report['discarded']['force_too_large'] == 8 * 12


def test_the_kinds_that_are_always_selected_can_be_changed(trajectories):
    kinds = {f'seed{seed}': 'dimer' if seed < 2 else 'alloy' for seed in range(10)}
    settings = sampling('random', n_structures=20, always_selected_kinds=[])
    assert len(select_frames(trajectories, settings, random_seed=1, kinds=kinds)) == 20
    with refused(Code.VALUES_EXCLUDE, 'held_out_kinds', 'always_selected_kinds', 'dimer'):
        sampling('random', test_fraction=0.2, held_out_kinds=['dimer'])


def test_groups_with_an_identical_frame_are_joined_although_it_is_a_candidate_once(trajectories, groups):
    # The first frame of a seed of each group but the last is also the first frame of a seed of the next group.
    chained = list(trajectories)
    for seed in range(0, 8, 2):
        one, other = trajectories[seed], chained[seed + 2]
        positions, energies, forces = other.positions.copy(), other.energies.copy(), other.forces.copy()
        positions[-1 - seed % 4], energies[-1 - seed % 4] = one.positions[0], one.energies[0]
        forces[-1 - seed % 4] = one.forces[0]
        chained[seed + 2] = replace(other, positions=positions, energies=energies, forces=forces)
    settings = sampling('random', n_structures=20, test_fraction=0.2, valid_fraction=0.2)
    joined = select_frames(chained, settings, random_seed=1, groups=groups)
    assert joined.report['discarded']['duplicate'] == 4
    assert joined.report['n_groups_joined'] == 4
