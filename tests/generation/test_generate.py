from __future__ import annotations

import json

import numpy as np
import pytest
from ase.build import bulk, fcc111
from ase.io import read, write
from support.errors import refused

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import PhysicsViolationError
from aiida_mlip_autopipe.generation import (
    Rejections,
    check_entry,
    count_seeds,
    describe_losses,
    find_empty_entry,
    iterate_seeds,
    iterate_seeds_in_processes,
    merge_reports,
)
from aiida_mlip_autopipe.generation.entry import Entry
from aiida_mlip_autopipe.generation.kinds.alloy import AlloyGenerator

ALLOY = {'kind': 'alloy', 'composition': {'Cu': 0.5, 'Au': 0.5}, 'n_atoms': 32, 'n_seeds': 5,
         'perturb': {'rattle_A': 0.05, 'anisotropic_strain': 0.03}}  # fmt: skip
OTHER = {'kind': 'alloy', 'composition': {'Fe': 1.0}, 'lattice': 'bcc', 'n_atoms': 16, 'n_seeds': 3,
         'perturb': {'shear': 0.02}}  # fmt: skip


def ids(result) -> list[str]:
    return [seed.seed_id for seed in result.seeds]


def test_equal_configs_give_identical_seeds(generate):
    first, second = generate(ALLOY, OTHER), generate(ALLOY, OTHER)
    assert ids(first) == ids(second)
    assert all(
        np.array_equal(a.atoms.positions, b.atoms.positions) for a, b in zip(first.seeds, second.seeds, strict=True)
    )


def test_a_different_random_seed_gives_different_seeds(generate):
    assert not set(ids(generate(ALLOY))) & set(ids(generate(ALLOY, random_seed=8)))


def test_an_additional_seed_does_not_change_the_others(generate):
    assert ids(generate({**ALLOY, 'n_seeds': 6}))[:5] == ids(generate(ALLOY))


def test_an_additional_entry_does_not_change_seeds(generate):
    assert ids(generate(OTHER, ALLOY))[3:] == ids(generate(ALLOY)) == ids(generate(ALLOY, OTHER))[:5]


def test_two_equal_entries_give_different_seeds(generate):
    made = ids(generate(ALLOY, ALLOY))
    assert len(set(made)) == 10
    assert made[:5] == ids(generate(ALLOY))


def test_label_and_validation_do_not_change_structures(generate):
    plain = generate(ALLOY).seeds
    renamed = generate({**ALLOY, 'label': 'mine', 'validation': {'min_distance_factor': 0.5}}).seeds
    assert all(np.array_equal(a.atoms.positions, b.atoms.positions) for a, b in zip(plain, renamed, strict=True))
    assert renamed[0].record['label'] == 'mine'


def test_a_record_is_json_without_campaign_or_index(generate):
    for seed in generate(ALLOY, OTHER).seeds:
        assert json.loads(json.dumps(seed.record)) == seed.record
        assert {
            'kind',
            'lattice',
            'arrangement',
            'a_A',
            'composition',
            'parent',
            'perturbation',
        } <= seed.record.keys()
        assert not {'name', 'index', 'uuid', 'campaign'} & seed.record.keys()


def test_variants_use_the_points_of_a_volume_scan_in_turn(generate):
    scan = [-0.2, 0.0, 0.4]
    seeds = generate({**ALLOY, 'n_seeds': 6, 'perturb': {'volume_scan': scan}}).seeds
    volumes = np.array([seed.atoms.get_volume() for seed in seeds])
    assert volumes[:3] / volumes[1] == pytest.approx([0.8, 1.0, 1.4])
    assert len({seed.record['parent'] for seed in seeds[:3]}) == 1
    assert seeds[3].record['parent'] != seeds[0].record['parent']


def test_moments_are_set_by_element(generate):
    (seed,) = generate({**OTHER, 'n_seeds': 1, 'magnetic_moments': {'Fe': 2.2, 'Ni': 0.6}}).seeds
    assert (seed.arrays()['magmoms'] == 2.2).all()


def test_a_draw_that_violates_a_rule_is_repeated_and_reported(generate):
    entry = {**OTHER, 'n_seeds': 20, 'perturb': {'rattle_A': 0.12}, 'validation': {'min_distance_factor': 0.78}}
    result = generate(entry)
    assert len(result.seeds) == result.report['made'] == 20
    rule = result.report['rules']['min_distance']
    assert rule['count'] > 0
    assert rule['worst']['value'] < rule['worst']['limit']
    limit = 0.78 * 2 * 1.32
    for seed in result.seeds:
        distances = seed.atoms.get_all_distances(mic=True)
        assert distances[distances > 0].min() >= limit


def test_the_violated_rule_is_reported_after_the_last_redraw(generate):
    entry = {**OTHER, 'perturb': {'rattle_A': 1.0}, 'validation': {'max_redraws': 3, 'max_neighbour_factor': 0}}
    with refused(Code.STRUCTURE_INVALID, 'alloy', '3 redraws', '(Fe)') as caught:
        generate(entry)
    violation = caught.value
    assert violation.rule == 'min_distance'
    assert len(violation.atoms) == 2
    assert violation.value < violation.limit


def test_a_seed_that_violates_a_rule_can_be_skipped(generate, tmp_path):
    good, bad = bulk('Cu', cubic=True), bulk('Cu', cubic=True)
    bad.positions[1] = bad.positions[0] + 0.5
    write(tmp_path / 'both.traj', [good, bad])
    entry = {'kind': 'structures', 'files': [str(tmp_path / 'both.traj')]}
    with refused(Code.STRUCTURE_INVALID, '0 (Cu)', '1 (Cu)') as caught:
        generate(entry)
    assert caught.value.rule == 'min_distance'
    result = generate({**entry, 'validation': {'on_failure': 'skip'}}, cutoff_A=5.0)
    assert len(result.seeds) == 1
    assert (result.report['made'], result.report['skipped']) == (1, 1)


@pytest.fixture
def crowded(tmp_path):
    """Return an entry without a valid seed."""
    atoms = bulk('Cu', cubic=True)
    atoms.positions[1] = atoms.positions[0] + 0.5
    write(tmp_path / 'crowded.traj', [atoms, atoms * (1, 1, 2)])
    return {'kind': 'structures', 'files': [str(tmp_path / 'crowded.traj')], 'validation': {'on_failure': 'skip'}}


NO_SEED = Code.SEEDS_MISSING, 'generation[1]', 'min_distance', 'validation.min_distance_factor'


def test_an_entry_without_a_valid_seed_is_refused_with_the_rule_and_the_remedy(generate, make_entries, crowded):
    with refused(*NO_SEED):
        generate(ALLOY, crowded)
    with refused(*NO_SEED):
        list(iterate_seeds_in_processes(make_entries(ALLOY, crowded), random_seed=7, cutoff_A=0.0, processes=2,
                                        rejections=Rejections()))  # fmt: skip
    with refused(*NO_SEED):
        check_entry(make_entries(crowded)[0], random_seed=7, cutoff_A=0.0, number=1)
    n_alloy = ALLOY['n_seeds']
    parts = [generate(ALLOY, crowded, start=0, stop=n_alloy + 1)]
    parts.append(generate(ALLOY, crowded, start=n_alloy + 1, fingerprints=parts[0].fingerprints))
    reason = find_empty_entry(merge_reports(part.report for part in parts))
    assert all(value in reason for value in NO_SEED[1:])
    assert find_empty_entry(parts[0].report | {'entries': {'0': parts[0].report['entries']['0']}}) is None


def test_missing_seeds_are_described_for_each_entry(generate, crowded, tmp_path):
    write(tmp_path / 'crowded.traj', [*read(tmp_path / 'crowded.traj', ':'), bulk('Cu'), bulk('Cu', cubic=True)])
    result = generate(ALLOY, crowded)
    counts = result.report['entries']['1']
    assert {name: counts[name] for name in ('requested', 'made', 'duplicates', 'skipped')} == {
        'requested': 4, 'made': 1, 'duplicates': 1, 'skipped': 2
    }  # fmt: skip
    (line,) = describe_losses(result.report)
    assert all(value in line for value in ('generation[1]', '1 of 4', '1 discarded', '2 skipped', 'min_distance'))


def test_repeated_unperturbed_arrangements_are_discarded(generate):
    entry = {'kind': 'alloy', 'composition': {'Cu': 0.5, 'Au': 0.5}, 'supercell': [1, 1, 1], 'n_seeds': 4}
    result = generate(entry)
    # Every arrangement of two Cu and two Au on the four sites of the cubic cell is L1_0.
    assert len(result.seeds) == 1
    assert result.report['duplicates'] == 3


ORDERED = {'kind': 'alloy', 'composition': {'Cu': 0.5, 'Au': 0.5}, 'arrangement': 'L1_0'}
# The same crystal in a larger cell at three volumes. The first volume is that of the other entries.
SCANNED = {**ORDERED, 'supercell': [2, 1, 1], 'perturb': {'volume_scan': [0.0, 0.1, 0.2]}}


def test_a_structure_of_an_earlier_entry_is_discarded_without_changing_other_seeds(generate):
    alone, last = generate(SCANNED), generate(ALLOY)
    result = generate(ORDERED, ALLOY, SCANNED, {**ORDERED, 'supercell': [1, 1, 2]})
    assert ids(result) == [*ids(generate(ORDERED)), *ids(last), *ids(alone)[1:]]
    assert result.report['duplicates'] == 2
    kept = {'validation': {'unique': False}}
    assert len(generate(ORDERED, {**SCANNED, **kept}, {**ORDERED, 'supercell': [1, 1, 2], **kept}).seeds) == 5


# Some arrangements in this cell are the same structure.
REPEATING = {'kind': 'alloy', 'composition': {'Cu': 0.5, 'Au': 0.5}, 'supercell': [2, 1, 1], 'n_seeds': 8,
             'validation': {'max_redraws': 2}}  # fmt: skip
# Some draws violate a rule. Up to four variants share a parent.
CROWDED = {**OTHER, 'n_seeds': 9, 'perturb': {'rattle_A': 0.12, 'n_variants': 4},
           'validation': {'min_distance_factor': 0.78}}  # fmt: skip
SLICED = [ORDERED, ALLOY, REPEATING, SCANNED, CROWDED, {**ORDERED, 'supercell': [1, 1, 2]}, SCANNED]


def make_in_slices(generate, entries, size):
    n_seeds, fingerprints, parts = 30, None, []
    for start in range(0, n_seeds, size):
        stop = min(start + size, n_seeds)
        part = generate(*entries, start=start, stop=stop, fingerprints=fingerprints)
        fingerprints = part.fingerprints
        parts.append(part)
    return parts


@pytest.mark.parametrize('size', [1, 7, 100])
def test_slices_of_any_size_give_all_seeds_and_make_each_once(generate, make_entries, monkeypatch, size):
    complete = generate(*SLICED)
    assert count_seeds(make_entries(*SLICED)) == complete.report['requested'] == 30
    assert complete.report['duplicates'] > 5
    assert complete.report['rules']['min_distance']['count'] > 0

    made, make_one = [], Entry.make_one
    monkeypatch.setattr(
        Entry,
        'make_one',
        lambda entry, index, *rest: made.append((entry.streams, index)) or make_one(entry, index, *rest),
    )
    parts = make_in_slices(generate, SLICED, size)
    assert len(made) == len(set(made)) == 30

    seeds = [seed for part in parts for seed in part.seeds]
    assert [(seed.seed_id, seed.place, seed.record) for seed in seeds] == [
        (seed.seed_id, seed.place, seed.record) for seed in complete.seeds
    ]
    assert [seed.atoms.positions.tobytes() for seed in seeds] == [
        seed.atoms.positions.tobytes() for seed in complete.seeds
    ]
    assert merge_reports(part.report for part in parts) == complete.report
    assert parts[-1].fingerprints is None


def test_rejected_draws_of_a_parent_are_counted_once_for_slices_of_any_size(generate, monkeypatch):
    entry = {**ALLOY, 'n_seeds': 6, 'perturb': {'rattle_A': 0.01, 'n_variants': 3}}
    refused, draw_parent = [], AlloyGenerator.draw_parent

    def refuse_often(self, number, rng, requirements):
        if rng.random() < 0.8:
            refused.append(number)
            raise PhysicsViolationError('min_distance', (0, 1), 1.0, 2.0, 'refused')
        return draw_parent(self, number, rng, requirements)

    monkeypatch.setattr(AlloyGenerator, 'draw_parent', refuse_often)
    complete = generate(entry)
    assert complete.report['rules']['min_distance']['count'] == len(refused) > 0
    for size in (1, 2, 4):
        parts = [generate(entry, start=start, stop=min(start + size, 6)) for start in range(0, 6, size)]
        assert [seed_id for part in parts for seed_id in ids(part)] == ids(complete)
        assert merge_reports(part.report for part in parts) == complete.report


def test_a_slice_returns_fingerprints_only_if_the_next_one_needs_them(generate):
    # Within an entry whose seeds can repeat, and between two compared entries that are not adjacent.
    assert generate(REPEATING, stop=3).fingerprints.own
    assert generate(ORDERED, ALLOY, SCANNED, stop=3).fingerprints.known
    # Not for random entries, after the last compared entry, or at the end.
    assert generate(ALLOY, ALLOY, stop=3).fingerprints is None
    assert generate(ORDERED, ALLOY, stop=1).fingerprints is None
    assert generate(REPEATING, stop=8).fingerprints is None
    with refused(Code.VALUE_MISSING, '3'):
        generate(REPEATING, start=3)


def test_the_fingerprints_of_the_caller_are_not_changed(generate):
    first_part = generate(REPEATING, stop=3).fingerprints
    first = generate(REPEATING, start=3, stop=6, fingerprints=first_part)
    assert ids(generate(REPEATING, start=3, stop=6, fingerprints=first_part)) == ids(first)
    assert first.fingerprints.own > first_part.own


def test_a_random_draw_is_not_repeated_because_of_another_entry(generate):
    small = {'kind': 'alloy', 'composition': {'Cu': 0.5, 'Au': 0.5}, 'supercell': [1, 1, 1], 'n_seeds': 1}
    first, second = generate(ORDERED, small).seeds  # also L1_0
    assert second.seed_id == generate(small).seeds[0].seed_id != first.seed_id


def test_an_entry_without_parents_gives_no_seeds(generate, make_entries, monkeypatch):
    monkeypatch.setattr(AlloyGenerator, 'n_parents', lambda self: 0)
    monkeypatch.setattr(AlloyGenerator, 'default_n_seeds', lambda self: 0)
    nothing = {name: value for name, value in ALLOY.items() if name != 'n_seeds'}
    assert not generate(nothing).seeds
    assert not list(iterate_seeds(make_entries(nothing), random_seed=7, cutoff_A=0.0))


def test_slabs_that_differ_only_in_their_vacuum_are_not_duplicates(generate, tmp_path):
    slabs = [fcc111('Cu', (1, 1, 4), vacuum=vacuum, periodic=True) for vacuum in (6.0, 8.0, 6.0)]
    write(tmp_path / 'slabs.traj', slabs)
    result = generate({'kind': 'structures', 'files': [str(tmp_path / 'slabs.traj')]})
    assert (len(result.seeds), result.report['duplicates']) == (2, 1)


def test_a_place_does_not_depend_on_other_entries_or_seeds(generate):
    scan = {'kind': 'alloy', 'composition_grid': {'elements': ['Cu', 'Au'], 'step': 0.5}, 'n_atoms': 8, 'n_seeds': 12,
            'perturb': {'volume_scan': [0.0, 0.1], 'rattle_A': 0.01}}  # fmt: skip
    places = [seed.place for seed in generate(scan).seeds]
    assert places == [seed.place for seed in generate(OTHER, {**scan, 'n_seeds': 20}, ALLOY).seeds][3:15]
    # Three compositions at two volumes are six structures, which are used in turn.
    assert [place[1:] for place in places] == [(n % 6, n // 6) for n in range(12)]
    assert len({seed.place.offset for seed in generate(OTHER, OTHER, scan).seeds}) == 3
    listed = generate({**OTHER, 'n_seeds': None, 'perturb': {'rattle_A': 0.01, 'n_variants': 3}}).seeds
    assert [seed.place[1:] for seed in listed] == [(0, 0), (0, 1), (0, 2)]
    assert 'place' not in str(listed[0].record)


def test_the_worst_example_of_a_rule_is_the_farthest_beyond_its_limit():
    def report(*values: float) -> dict:
        rejections = Rejections()
        for value in values:
            rejections.add(PhysicsViolationError('min_distance', (0, 1), value, 1.6, f'{value} apart'))
        return rejections.as_dict()

    assert report(1.5, 0.4, 1.1)['rules']['min_distance']['worst']['message'] == '0.4 apart'
    merged = merge_reports([report(1.5), report(1.1, 0.9), report(1.2)])['rules']['min_distance']
    assert (merged['count'], merged['worst']['value']) == (4, 0.9)
