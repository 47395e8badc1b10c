"""The kinds of exploration, and explorations of single entries."""

import pytest
import yaml
from ase.build import bulk
from ase.constraints import FixAtoms
from support.errors import refused

from aiida_mlip_autopipe.config import validate_config
from aiida_mlip_autopipe.config.campaign import config_text
from aiida_mlip_autopipe.config.checks.seeds import check_seeds
from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import ConfigError

COPPER = {'kind': 'alloy', 'composition': {'Cu': 1}, 'n_seeds': 2}


def config(folder, exploration=None, *entries):
    sections = {} if exploration is None else {'exploration': exploration}
    return validate_config({'name': 'x', 'generation': list(entries) or [COPPER], **sections}, folder)


def test_the_default_kind_is_dynamics(tmp_path):
    assert config(tmp_path).exploration.kind == 'dynamics'
    assert config(tmp_path, {'n_steps': 40}).exploration.kind == 'dynamics'


@pytest.mark.parametrize('kind', ['single_point', 'relax', 'normal_modes', 'deform'])
def test_a_config_with_all_values_is_read_to_the_same_config(kind, tmp_path):
    given = config(tmp_path, {'kind': kind, 'committee': {'calculator': {'kind': 'emt'}}}, COPPER)
    assert validate_config(yaml.safe_load(config_text(given)), tmp_path) == given


def test_an_entry_changes_settings_of_the_exploration(tmp_path):
    entry = COPPER | {'exploration': {'temperature_K': 600, 'n_steps': 40}}
    found = config(tmp_path, {'temperature_K': 300, 'frame_interval': 10}, COPPER, entry)
    assert found.exploration_of(0) == found.exploration
    changed = found.exploration_of(1)
    assert (changed.temperature_K, changed.n_steps, changed.frame_interval) == (600, 40, 10)
    assert found.n_frames == 2 * 100 + 2 * 4


def test_an_entry_with_another_kind_has_the_defaults_of_this_kind(tmp_path):
    entry = COPPER | {'exploration': {'kind': 'relax', 'n_steps': 20}}
    found = config(tmp_path, {'frame_interval': 1}, entry).exploration_of(0)
    assert (found.kind, found.n_steps, found.frame_interval) == ('relax', 20, 5)


def test_an_exploration_does_not_change_the_random_streams_of_an_entry(tmp_path):
    plain, changed = config(tmp_path, None, COPPER, COPPER | {'exploration': {'kind': 'single_point'}}).generation
    assert plain.stream_content() == changed.stream_content()


@pytest.mark.parametrize(
    ('exploration', 'code', 'place'),
    [
        ({'kind': 'single_pint'}, Code.KIND_UNKNOWN, 'kind'),
        ({'temperature_K': -1}, Code.OUT_OF_RANGE, 'temperature_K'),
        ({'phases': [{'n_steps': 0}]}, Code.OUT_OF_RANGE, 'phases[0].n_steps'),
        ({'kind': 'single_point', 'n_steps': 3}, Code.KEY_UNKNOWN, 'n_steps'),
        ({'kind': 'relax', 'temperature_K': 300}, Code.KEY_UNKNOWN, 'temperature_K'),
        ({'kind': 'normal_modes', 'frame_interval': 2}, Code.KEY_UNKNOWN, 'frame_interval'),
        ({'checkpoint_interval': 3}, Code.VALUE_INVALID, 'checkpoint_interval'),
        ({'committee': None}, Code.KEY_UNKNOWN, 'committee'),
    ],
)
def test_a_fault_in_the_exploration_of_an_entry_is_reported_with_its_place(exploration, code, place, tmp_path):
    with pytest.raises(ConfigError) as caught:
        config(tmp_path, None, COPPER, COPPER | {'exploration': exploration})
    assert [(fault.code, fault.path) for fault in caught.value.faults] == [(code, f'generation[1].exploration.{place}')]


@pytest.mark.parametrize(
    'exploration', [{'ensemble': 'nve', 'cell': 'flexible'}, {'kind': 'deform', 'mode': 'volumetric', 'direction': 'b'}]
)
def test_settings_that_exclude_each_other_are_reported_with_the_place_of_their_entry(exploration, tmp_path):
    with pytest.raises(ConfigError) as caught:
        config(tmp_path, None, COPPER, COPPER | {'exploration': exploration})
    (fault,) = caught.value.faults
    assert (fault.code, fault.path) == (Code.VALUES_EXCLUDE, 'generation[1].exploration')
    assert all(name in fault.given for name in exploration)


def test_settings_of_the_dynamics_are_refused_for_other_kinds(tmp_path):
    with pytest.raises(ConfigError) as caught:
        config(tmp_path, {'kind': 'single_point', 'temperature_K': 300, 'full_trajectory_interval': 1})
    assert {(fault.code, fault.path) for fault in caught.value.faults} == {
        (Code.KEY_UNKNOWN, 'exploration.temperature_K'),
        (Code.KEY_UNKNOWN, 'exploration.full_trajectory_interval'),
    }


@pytest.mark.parametrize('kind', ['atom', 'dimer'])
def test_atoms_and_dimers_are_single_points_by_default(kind, tmp_path):
    found = config(tmp_path, {'n_steps': 40}, {'kind': kind, 'symbols': ['Cu']})
    assert found.exploration_of(0).kind == 'single_point'
    changed = {'kind': kind, 'symbols': ['Cu'], 'exploration': {'n_steps': 20}}
    assert config(tmp_path, {'n_steps': 40}, changed).exploration_of(0).n_steps == 20


def test_an_entry_with_phases_or_steps_replaces_those_of_the_campaign(tmp_path):
    phases = {'phases': [{'n_steps': 7}]}
    assert config(tmp_path, {'n_steps': 50}, COPPER | {'exploration': phases}).exploration_of(0).total_steps == 7
    assert config(tmp_path, phases, COPPER | {'exploration': {'n_steps': 50}}).exploration_of(0).total_steps == 50


def test_settings_of_the_campaign_without_effect_for_an_entry_are_left_out(tmp_path):
    entry = COPPER | {'exploration': {'ensemble': 'nve'}}
    found = config(tmp_path, {'pressure_GPa': 2, 'thermostat_time_fs': 50}, entry).exploration_of(0)
    assert (found.pressure_GPa, found.thermostat_time_fs) == (0, 100)


@pytest.mark.parametrize(
    ('changed', 'angle_deg'),
    [({'cell': 'isotropic'}, 20), ({'ensemble': 'nvt'}, 20), ({'cell': 'anisotropic'}, 20), ({}, 9)],
)
def test_guards_of_the_campaign_without_effect_for_an_entry_are_left_out(changed, angle_deg, tmp_path):
    campaign = {'cell': 'flexible', 'guards': {'angle_change_deg': 9, 'volume_factor': 3}}
    guards = config(tmp_path, campaign, COPPER | {'exploration': changed}).exploration_of(0).guards
    assert (guards.angle_change_deg, guards.volume_factor) == (angle_deg, 3)


@pytest.mark.parametrize('fixed', [False, True])
def test_a_seed_in_which_nothing_can_move_is_refused_by_the_check_with_its_file(fixed, tmp_path):
    atoms = bulk('Au')
    if fixed:
        atoms.set_constraint(FixAtoms([0]))
    atoms.write(tmp_path / 'one.vasp')
    bulk('Cu', cubic=True).write(tmp_path / 'four.vasp')
    entry = {'kind': 'structures', 'files': ['four.vasp', 'one.vasp']}
    with refused(Code.NOTHING_MOVES, 'generation[1]: ', 'one.vasp'):
        check_seeds(config(tmp_path, None, COPPER, entry))
    check_seeds(config(tmp_path, None, COPPER, entry), explored=False)
    check_seeds(config(tmp_path, None, COPPER, entry | {'exploration': {'kind': 'single_point'}}))


def test_the_check_warns_of_a_long_time_step_and_of_settings_without_effect(tmp_path):
    exploration = {'timestep_fs': 9.0, 'thermostat': 'bussi'}
    warnings = check_seeds(config(tmp_path, exploration, COPPER)).warnings
    assert [one for one in warnings if one.startswith('generation[0]: thermostat ')] != []
    assert [one for one in warnings if '9 fs' in one] != []


def test_an_unknown_kind_in_an_entry_is_reported_together_with_faults_of_the_section(tmp_path):
    with pytest.raises(ConfigError) as caught:
        config(tmp_path, {'colour': 'red'}, COPPER | {'exploration': {'kind': 'relaxx'}})
    assert {(fault.code, fault.path) for fault in caught.value.faults} == {
        (Code.KEY_UNKNOWN, 'exploration.colour'),
        (Code.KIND_UNKNOWN, 'generation[0].exploration.kind'),
    }
