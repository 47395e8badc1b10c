import pytest

from aiida_mlip_autopipe.exploration import ExplorationSettings
from aiida_mlip_autopipe.exploration.settings.dynamics import GuardSettings
from aiida_mlip_autopipe.exploration.settings.job_settings import (
    ADDED,
    ADDED_GUARDS,
    ADDED_NOVELTY,
    join_settings,
    split_settings,
)
from aiida_mlip_autopipe.jobs.contract import REFERENCE_FILE

RAMP = {'kind': 'ramp', 'n_steps': 8, 'temperature_K': 300}


def hold(n_steps):
    return {'n_steps': n_steps}


@pytest.mark.parametrize(
    'settings',
    [
        {'n_steps': 50},
        {'phases': [hold(5)]},
        {'phases': [RAMP, hold(5)]},
        {'phases': [hold(5), RAMP]},
        {'n_steps': 50, 'checkpoint_interval': 7, 'walltime_margin_s': 3.0, 'temperature_K': [300, 400]},
    ],
)
def test_joining_split_settings_restores_them(settings):
    original = ExplorationSettings(**settings)
    content, n_steps, writing = split_settings(original)
    assert n_steps == original.total_steps
    joined = ExplorationSettings(**join_settings(content, n_steps, writing))
    assert joined.model_dump(exclude={'n_steps'}) == original.model_dump(exclude={'n_steps'})
    assert joined.total_steps == original.total_steps


def test_the_settings_that_determine_the_frames_do_not_change_with_the_number_of_steps():
    def content(**settings):
        return split_settings(ExplorationSettings(**settings))[0]

    assert content(n_steps=50) == content(n_steps=60, checkpoint_interval=7, walltime_margin_s=3.0)
    assert content(phases=[RAMP, hold(5)]) == content(phases=[RAMP, hold(50)])
    assert content(phases=[hold(5), RAMP]) != content(phases=[hold(5), RAMP | {'n_steps': 9}])
    assert content(phases=[RAMP, hold(5)]) != content(phases=[RAMP | {'n_steps': 9}, hold(5)])


@pytest.mark.parametrize('n_steps', [12, 14])
def test_the_steps_of_the_phases_must_add_up_to_those_of_the_run(n_steps):
    with pytest.raises(ValueError, match=rf'13 .* {n_steps}'):
        join_settings({'phases': [hold(5), RAMP]}, n_steps)


def test_settings_that_were_added_later_are_inputs_only_if_they_differ_from_their_defaults():
    content = split_settings(ExplorationSettings())[0]
    assert not {'cell', 'tension_GPa'} & set(content)
    assert not {'width_factor', 'angle_change_deg'} & set(content['guards'])
    # All other settings remain, including those whose value is null.
    assert {'monte_carlo', 'ensemble'} <= set(content)
    assert {'temperature_K', 'volume_factor'} <= set(content['guards'])
    changed = ExplorationSettings(cell='flexible', tension_GPa={'xx': 1}, guards={'width_factor': None})
    content = split_settings(changed)[0]
    assert (content['cell'], content['tension_GPa']['xx'], content['guards']['width_factor']) == ('flexible', 1, None)


def test_the_added_defaults_are_those_of_the_settings():
    assert {name: getattr(ExplorationSettings(), name) for name in ADDED} == ADDED
    assert {name: getattr(GuardSettings(), name) for name in ADDED_GUARDS} == ADDED_GUARDS


def test_the_path_of_a_reference_dataset_is_not_an_input():
    def novelty(**settings):
        return split_settings(ExplorationSettings(novelty={'kind': 'distance', **settings}))[0]['novelty']

    assert not ADDED_NOVELTY.keys() & novelty(threshold=0.1).keys() - {'threshold'}
    content = novelty(threshold_quantile=0.9, reference_dataset='old.db')
    assert content == novelty(threshold_quantile=0.9, reference_dataset={'campaign': 12})
    assert (content['reference_dataset'], content['threshold_quantile']) == (REFERENCE_FILE, 0.9)
    assert 'threshold' not in content
