"""A validated config, such as that of an earlier campaign, is changed by overrides."""

from pathlib import Path

import pytest
from support.errors import refused

from aiida_mlip_autopipe.config import CampaignConfig, load_config, validate_config
from aiida_mlip_autopipe.config.change import change_config, given_settings
from aiida_mlip_autopipe.core.codes import Code

FOLDER = Path(__file__).parents[2] / 'workchains' / 'configs'
EXAMPLES = ('committee', 'labelling', 'monte_carlo', 'novelty', 'deform_full', 'structures_full')
DATA = {
    'name': 'cu',
    'generation': [{'kind': 'alloy', 'lattice': 'fcc', 'composition': {'Cu': 0.5, 'Au': 0.5}, 'n_seeds': 2}],
    'calculator': {'kind': 'emt', 'cutoff_A': 5.0},
    'exploration': {'temperature_K': 400, 'n_steps': 100, 'ensemble': 'npt'},
    'sampling': {'kind': 'fps', 'n_structures': 7, 'descriptor': {'kind': 'soap', 'r_cut_A': 4.0}},
}


@pytest.fixture
def config(tmp_path):
    return validate_config(DATA, tmp_path)


def change(config, *overrides, folder=Path()):
    return change_config(config, overrides, folder)


@pytest.mark.parametrize('name', EXAMPLES)
def test_a_config_without_changes_is_read_again(name):
    config = load_config(FOLDER / f'{name}.yaml')
    assert validate_config(given_settings(config), Path('/')) == config


def test_only_the_settings_of_the_file_are_given(config):
    assert given_settings(config) == {**DATA, 'exploration': {'kind': 'dynamics', **DATA['exploration']}}


def test_a_value_is_changed_and_an_entry_is_added(config):
    changed = change(config, 'generation[0].n_seeds=5', 'generation[1]={kind: dimer, symbols: [Cu, Au]}')
    assert [entry.kind for entry in changed.generation] == ['alloy', 'dimer']
    assert changed.generation[0].n_seeds == 5
    unchanged = {'exclude': {'generation'}}
    assert changed.model_dump(**unchanged) == config.model_dump(**unchanged)


@pytest.mark.parametrize('override', ['calculator.kind=lj', 'calculator={kind: lj}'])
def test_another_calculator_has_its_own_defaults(config, override):
    """The cutoff of the previous calculator does not apply."""
    changed = change(config, override)
    assert changed.calculator.kind == 'lj'
    assert changed.calculator.cutoff_A == 8.5


def test_another_sampler_keeps_what_all_selections_have(config):
    changed = change(config, 'sampling.kind=random')
    assert (changed.sampling.kind, changed.sampling.n_structures) == ('random', 7)


def test_defaults_without_effect_for_another_ensemble_are_not_given(config):
    assert change(config, 'exploration.ensemble=nve').exploration.ensemble == 'nve'


def test_text_with_the_syntax_of_an_interpolation_is_kept(tmp_path):
    config = CampaignConfig.model_validate({**DATA, 'execution': {'queue': '${HOME}'}})
    assert change(config, 'exploration.n_steps=200').execution.queue == '${HOME}'


def test_faults_of_the_changed_config_are_reported(config):
    with refused(Code.OUT_OF_RANGE, 'exploration.n_steps', '-1'):
        change(config, 'exploration.n_steps=-1')
    with refused(Code.OVERRIDE_INVALID, "'foo'"):
        change(config, 'foo')
