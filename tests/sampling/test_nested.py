import numpy as np
import pytest
from pydantic import ValidationError
from support.sampling import numbers_in, sampling

from aiida_mlip_autopipe.sampling import SelectionSettings, select_frames

SOAP = {'n_max': 4, 'l_max': 3}
FPS = {'kind': 'fps', 'descriptor': SOAP}


def names(selection, trajectories):
    return [trajectories[t].seed_id for t in selection.trajectory_indices]


def with_temperatures(trajectory, temperatures):
    trajectory.temperatures[:] = temperatures
    return trajectory


@pytest.fixture
def hot_and_cold(make_trajectory, rattled):
    """Return 40 frames at 300 K, 8 at 600 K and 2 at 1200 K."""
    counts = {300: 40, 600: 8, 1200: 2}
    return [
        with_temperatures(
            make_trajectory(rattled(n, temperature, amplitude=temperature / 6000), f'{temperature}'), temperature
        )
        for temperature, n in counts.items()
    ]


def test_strata_have_equal_numbers_of_frames_and_large_ones_have_more_if_small_ones_have_too_few(hot_and_cold):
    settings = sampling('stratified', n_structures=18, n_strata=3, near_equilibrium_fraction=0, within=FPS)
    selection = select_frames(hot_and_cold, settings, random_seed=1)
    chosen = names(selection, hot_and_cold)
    assert {name: chosen.count(name) for name in set(chosen)} == {'1200': 2, '600': 8, '300': 8}
    assert selection.report['strata'] == [
        {'stratum': '300 to 600 K', 'n_candidates': 40, 'n_selected': 8},
        {'stratum': '600 to 900 K', 'n_candidates': 8, 'n_selected': 8},
        {'stratum': '900 to 1200 K', 'n_candidates': 2, 'n_selected': 2},
    ]


def test_strata_use_the_target_temperature_if_it_is_known(make_trajectory, rattled):
    trajectory = with_temperatures(make_trajectory(rattled(10)), np.linspace(100, 900, 10))
    trajectory.extra['target_temperature_K'] = np.repeat([300.0, 500.0], 5)
    settings = sampling(
        'stratified', n_structures=4, n_strata=2, near_equilibrium_fraction=0, within={'kind': 'random'}
    )
    selection = select_frames([trajectory], settings, random_seed=1)
    assert [stratum['stratum'] for stratum in selection.report['strata']] == ['300 to 400 K', '400 to 500 K']
    assert sum(frame < 5 for frame in selection.frame_indices) == 2


@pytest.mark.parametrize(('by', 'expected'), [('seed', ['a', 'b', 'c']), ('composition', ['AuCu3', 'Cu'])])
def test_strata_can_be_seeds_or_compositions(make_trajectory, rattled, by, expected):
    pure = rattled(5, 3)
    for atoms in pure:
        atoms.numbers[:] = 29
    trajectories = [
        make_trajectory(rattled(5, 1), 'a'),
        make_trajectory(rattled(5, 2), 'b'),
        make_trajectory(pure, 'c'),
    ]
    settings = sampling('stratified', n_structures=6, by=by, near_equilibrium_fraction=0, within=FPS)
    strata = select_frames(trajectories, settings, random_seed=1).report['strata']
    assert [stratum['stratum'] for stratum in strata] == expected
    assert {stratum['n_selected'] for stratum in strata} == {6 // len(expected)}


def test_energies_are_compared_within_a_composition(make_trajectory, rattled):
    pure = rattled(10, 3)
    for atoms in pure:
        atoms.numbers[:] = 29
    trajectories = [make_trajectory(rattled(10, 1), 'a'), make_trajectory(pure, 'b')]
    trajectories[0].energies[:] = 4 * np.arange(10) / 10
    trajectories[1].energies[:] = -400 + 4 * np.arange(10) / 10
    settings = sampling('stratified', n_structures=9, by='energy', n_strata=3, near_equilibrium_fraction=0, within=FPS)
    strata = select_frames(trajectories, settings, random_seed=1).report['strata']
    assert [stratum['stratum'] for stratum in strata] == [
        '0 to 0.3 eV/atom',
        '0.3 to 0.6 eV/atom',
        '0.6 to 0.9 eV/atom',
    ]
    assert sum(stratum['n_candidates'] for stratum in strata) == 20


def test_a_fraction_is_chosen_near_equilibrium_first(make_trajectory, rattled):
    trajectory = make_trajectory(rattled(40))
    trajectory.energies[:] = np.random.default_rng(0).permutation(40)
    settings = sampling('stratified', n_structures=10, near_equilibrium_fraction=0.5, within=FPS)
    selection = select_frames([trajectory], settings, random_seed=1)
    assert selection.report['n_near_equilibrium'] == 5
    assert (trajectory.energies[selection.frame_indices[:5]] < 10).all()
    assert len(set(selection.frame_indices)) == 10


def test_each_sampler_of_a_mix_chooses_its_fraction(hot_and_cold):
    settings = sampling(
        'mix',
        n_structures=12,
        parts=[{'fraction': 2, 'sampler': {'kind': 'stride'}}, {'fraction': 1, 'sampler': FPS}],
    )
    selection = select_frames(hot_and_cold, settings, random_seed=1)
    assert selection.report['parts'] == [
        {'sampler': 'stride', 'n_selected': 8},
        {'sampler': 'fps', 'n_selected': 4},
    ]
    assert np.isnan(selection.distances[:8]).all()
    # For the second sampler, the frames of the first count as chosen.
    assert (selection.distances[8:] > 0).all()
    pairs = set(zip(selection.trajectory_indices.tolist(), selection.frame_indices.tolist(), strict=True))
    assert len(pairs) == 12


def test_other_parts_of_a_mix_choose_more_frames_if_one_part_finds_too_few(hot_and_cold):
    covers = {'kind': 'fps', 'descriptor': SOAP, 'coverage_radius': 2.0}
    settings = sampling(
        'mix',
        n_structures=12,
        parts=[{'fraction': 1, 'sampler': {'kind': 'random'}}, {'fraction': 1, 'sampler': covers}],
    )
    selection = select_frames(hot_and_cold, settings, random_seed=1)
    assert [part['n_selected'] for part in selection.report['parts']] == [12, 0]


def test_if_too_many_structures_are_requested_all_are_chosen_with_a_warning(hot_and_cold):
    for settings in (
        sampling('mix', n_structures=60, parts=[{'fraction': 1, 'sampler': FPS}]),
        sampling('stratified', n_structures=60, within=FPS),
    ):
        selection = select_frames(hot_and_cold, settings, random_seed=1)
        assert len(selection) == 50
        assert numbers_in(selection.report['warnings'][0]) == [50, 50, 60]


@pytest.mark.parametrize(
    'parts',
    [
        [],
        [{'fraction': 0, 'sampler': {'kind': 'random'}}],
        [{'fraction': 1, 'sampler': {'kind': 'mix', 'parts': []}}],
        [{'fraction': 1, 'sampler': {'kind': 'fsp'}}],
    ],
)
def test_invalid_parts_are_refused(parts):
    with pytest.raises(ValidationError):
        sampling('mix', parts=parts)


def test_settings_can_be_written_to_json_and_read_again():
    settings = sampling(
        'mix', parts=[{'fraction': 1, 'sampler': FPS}, {'fraction': 0.5, 'sampler': {'kind': 'direct'}}]
    )
    assert sampling(**settings.model_dump(mode='json')) == settings


@pytest.mark.parametrize('field', SelectionSettings.model_fields)
def test_inner_samplers_refuse_settings_of_the_selection(field):
    part = {'kind': 'fps', field: None}
    for fields in (
        {'kind': 'mix', 'parts': [{'fraction': 1, 'sampler': part}]},
        {'kind': 'stratified', 'within': part},
    ):
        with pytest.raises(ValidationError) as caught:
            sampling(**fields)
        assert [fault['loc'][-1] for fault in caught.value.errors() if fault['type'] == 'extra_forbidden'] == [field]
