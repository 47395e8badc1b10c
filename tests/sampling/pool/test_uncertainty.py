"""Ranks of candidates by the disagreement of models, and how they weight environment clusters."""

from dataclasses import replace

import numpy as np
import pytest
from ase import Atoms
from support.sampling import sampling, select

from aiida_mlip_autopipe.sampling.pool.frames import collect_frames
from aiida_mlip_autopipe.sampling.pool.uncertainty import rank_uncertainties
from aiida_mlip_autopipe.structures.disagreement import UNCERTAINTIES, with_uncertainties

SOAP = {'n_max': 4, 'l_max': 3, 'r_cut_A': 3.0}
NAN = np.nan


def dimers(*bonds):
    """Return a gas of Cu2 dimers, in which each bond length forms an environment cluster."""
    positions = [[10.0 * i + x, 0, 0] for i, bond in enumerate(bonds) for x in (0, bond)]
    return Atoms(f'Cu{len(positions)}', positions=positions, cell=[200, 20, 20])


def ranks(make_trajectory, *values):
    """Return the ranks of frames with uncertainties in forces, stress and energy."""
    frames = [dimers(1.8 + 0.01 * number) for number in range(len(values))]
    trajectory = with_uncertainties(make_trajectory(frames), np.array(values, dtype=float).T)
    return rank_uncertainties(collect_frames([trajectory])).tolist()


def test_a_frame_has_the_largest_of_its_ranks_in_forces_stress_and_energy(make_trajectory):
    # The third frame is symmetric: its forces vanish, but the models disagree most about its stress.
    found = ranks(make_trajectory, (0.1, 0.1, 0.001), (0.2, 0.2, 0.002), (0.0, 3.0, 0.0005), (0.3, 0.3, 0.0001))
    # The first frame has the largest value of no quantity, each of the others that of one.
    assert found == [0.25, 0.5, 0.5, 0.5]


def test_units_do_not_matter(make_trajectory):
    rng = np.random.Generator(np.random.PCG64(2))
    values = rng.random((9, 3))
    assert ranks(make_trajectory, *values) == ranks(make_trajectory, *(values * [1.0, 160.0, 1e-3]))


def test_equally_uncertain_frames_have_the_same_rank(make_trajectory):
    assert len(set(ranks(make_trajectory, *[(0.1, 0.2, 0.3)] * 4))) == 1


def test_a_missing_stress_is_ignored_and_a_frame_without_any_value_has_the_median_rank(make_trajectory):
    found = ranks(make_trajectory, (0.1, NAN, 0.1), (0.2, NAN, 0.2), (0.3, NAN, 0.3), (NAN, NAN, NAN))
    assert found == pytest.approx([1 / 3, 2 / 3, 1.0, 2 / 3])


def make_legs(make_trajectory, structures, uncertainties=None):
    """Return a leg of one frame for each structure, with the same uncertainty of each quantity."""
    legs = [make_trajectory([atoms], f'{number:03}') for number, atoms in enumerate(structures)]
    if uncertainties is None:
        return legs
    return [with_uncertainties(leg, np.full((3, 1), one)) for leg, one in zip(legs, uncertainties, strict=True)]


def choose(legs, **fields):
    settings = sampling('environment', descriptor=SOAP, **{'n_clusters': 50} | fields)
    selection = select(legs, settings)
    return selection.trajectory_indices.tolist(), selection.report


@pytest.fixture
def structures():
    """Sixty structures with one to three of twelve environments."""
    rng = np.random.Generator(np.random.PCG64(7))
    bonds = 1.7 + 0.1 * np.arange(12)
    return [dimers(*rng.choice(bonds, rng.integers(1, 4), replace=False)) for _ in range(60)]


def test_the_uncertain_one_of_two_structures_with_as_many_new_clusters_is_chosen(make_trajectory):
    structures = [dimers(1.8, 2.0), dimers(2.2, 2.4)]
    for uncertain in (0, 1):
        values = [2.0 if number == uncertain else 1.0 for number in range(2)]
        assert choose(make_legs(make_trajectory, structures, values), n_structures=1)[0] == [uncertain]


def test_a_certain_structure_with_many_new_clusters_precedes_an_uncertain_one_with_few(make_trajectory):
    structures = [dimers(1.8, 2.0, 2.2, 2.4), dimers(2.6), dimers(2.6, 2.8)]
    assert choose(make_legs(make_trajectory, structures, [2.0, 3.0, 1.0]), n_structures=1)[0] == [0]


def test_uncertain_structures_are_preferred_and_the_coverage_is_kept(make_trajectory, structures):
    rng = np.random.Generator(np.random.PCG64(8))
    values = rng.permutation(60) + 1.0
    plain, report = choose(make_legs(make_trajectory, structures), n_structures=8)
    weighted, weighted_report = choose(make_legs(make_trajectory, structures, values), n_structures=8)
    assert values[plain].mean() < 40
    assert values[weighted].mean() > 45
    assert weighted_report['coverage'] >= 0.9 * report['coverage']
    # The most uncertain structures alone cover less.
    alone = np.argsort(-values)[:8]
    _, alone_report = choose([make_legs(make_trajectory, structures, values)[index] for index in alone], n_structures=8)
    assert alone_report['n_clusters'] < weighted_report['coverage'] * weighted_report['n_clusters']
    medians = weighted_report['uncertainties']['medians'][UNCERTAINTIES[0]]
    # Some of the structures are duplicates, which are not candidates.
    assert medians['candidates'] == pytest.approx(30.5, abs=2)
    assert medians['selected'] == np.median(values[weighted])
    assert 'uncertainties' not in report


def test_equal_or_ignored_uncertainties_change_nothing(make_trajectory, structures):
    plain, _ = choose(make_legs(make_trajectory, structures), n_structures=8)
    assert choose(make_legs(make_trajectory, structures, np.ones(60)), n_structures=8)[0] == plain
    ignored = make_legs(make_trajectory, structures, np.arange(60.0))
    chosen, report = choose(ignored, n_structures=8, uncertainty_exponent=0)
    assert chosen == plain
    assert len(report['warnings']) == 1


def test_a_larger_exponent_prefers_uncertain_structures_more(make_trajectory, structures):
    values = np.random.Generator(np.random.PCG64(9)).permutation(60) + 1.0
    legs = make_legs(make_trajectory, structures, values)
    means = [values[choose(legs, n_structures=6, uncertainty_exponent=power)[0]].mean() for power in (0.5, 1, 4)]
    assert means == sorted(means)


def test_a_sampler_that_ignores_uncertainties_gives_a_warning(make_trajectory, structures):
    legs = make_legs(make_trajectory, structures, np.arange(60.0))
    assert len(select(legs, sampling('random', n_structures=4)).report['warnings']) == 1
    parts = [{'fraction': 1, 'sampler': {'kind': 'environment', 'descriptor': SOAP}}]
    assert select(legs, sampling('mix', n_structures=4, parts=parts)).report['warnings'] == []


def test_legs_that_were_not_assessed_have_the_median_rank(make_trajectory, structures):
    legs = make_legs(make_trajectory, structures, np.arange(60.0))
    legs[5] = replace(legs[5], extra={})
    pool = collect_frames(legs)
    assert rank_uncertainties(pool)[5] == np.median(np.delete(rank_uncertainties(pool), 5))
