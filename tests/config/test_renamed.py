"""A config with old names is refused with a message that contains each new name. Old schema versions are read."""

import pytest
from support.errors import refused

from aiida_mlip_autopipe.config import validate_config
from aiida_mlip_autopipe.config.renamed import OLD_INTERFACE, RENAMED_KEYS, RENAMED_KINDS
from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import ConfigError

COPPER = {'kind': 'alloy', 'composition': {'Cu': 1}}
OLD = {
    'name': 'old',
    'generation': [
        {'kind': 'interface', 'of': COPPER, 'validation': {'min_height_factor': 1}},
        {'kind': 'defect', 'of': {'kind': 'knowledge', 'formula': 'MgO'}, 'vacancies': {'O': 1}},
        {'kind': 'knowledge', 'formula': 'MgO'},
    ],
    'exploration': {
        'temperature_K': {'lowest': 300, 'highest': 900},
        'stages': [{'kind': 'quench', 'n_steps': 10}],
        'rescue': {'max_rescues': 2},
    },
    'sampling': {
        'kind': 'stratified',
        'given': {'campaign': 'first'},
        'test_share': 0.1,
        'valid_share': 0.1,
        'crash_share': 0.1,
        'near_equilibrium_share': 0.2,
        'held_out_kinds': ['knowledge'],
        'max_force_eV_A': 20,
        'within': {'kind': 'environment', 'n_kinds': 50},
    },
    'execution': {'min_success_share': 0.5},
}
MIX = {
    'name': 'mix',
    'generation': [COPPER],
    'sampling': {'kind': 'mix', 'parts': [{'share': 1, 'sampler': {'kind': 'fps'}}]},
}


def faults(data, folder):
    with pytest.raises(ConfigError) as caught:
        validate_config(data, folder)
    return caught.value.faults


def test_each_old_name_is_reported_with_its_new_name(tmp_path):
    found = {
        (fault.code, fault.path, fault.allowed.rpartition(' ')[2])
        for data in (OLD, MIX)
        for fault in faults(data, tmp_path)
    }
    key, kind = Code.KEY_RENAMED, Code.KIND_RENAMED
    assert found == {
        (kind, 'generation[0].kind', "'grain_boundary'"),
        (key, 'generation[0].validation.min_height_factor', "'min_width_factor'"),
        (kind, 'generation[1].of.kind', "'formula'"),
        (kind, 'generation[2].kind', "'formula'"),
        (key, 'exploration.temperature_K.lowest', "'min'"),
        (key, 'exploration.temperature_K.highest', "'max'"),
        (key, 'exploration.stages', "'phases'"),
        (kind, 'exploration.phases[0].kind', "'velocity_reset'"),
        (key, 'exploration.rescue', "'recovery'"),
        (key, 'exploration.recovery.max_rescues', "'max_recoveries'"),
        (key, 'sampling.given', "'reference_dataset'"),
        (key, 'sampling.test_share', "'test_fraction'"),
        (key, 'sampling.valid_share', "'valid_fraction'"),
        (key, 'sampling.crash_share', "'crash_fraction'"),
        (key, 'sampling.near_equilibrium_share', "'near_equilibrium_fraction'"),
        (kind, 'sampling.held_out_kinds[0]', "'formula'"),
        (key, 'sampling.max_force_eV_A', "'max_force_eV_per_A'"),
        (key, 'sampling.within.n_kinds', "'n_clusters'"),
        (key, 'sampling.parts[0].share', "'fraction'"),
        (key, 'execution.min_success_share', "'min_success_fraction'"),
    }


@pytest.mark.parametrize('field', sorted(OLD_INTERFACE))
def test_each_field_of_the_former_interfaces_shows_that_a_grain_boundary_is_meant(tmp_path, field):
    data = {'name': 'x', 'generation': [{'kind': 'interface', field: None}]}
    assert (Code.KIND_RENAMED, 'generation[0].kind') in {(fault.code, fault.path) for fault in faults(data, tmp_path)}


def test_an_interface_of_two_crystals_is_not_an_old_name(tmp_path):
    entry = {'kind': 'interface', 'film': COPPER, 'substrate': COPPER, 'film_miller': [1, 1, 1]}
    found = {
        (fault.code, fault.path) for fault in faults({'name': 'x', 'generation': [{**entry, 'of': COPPER}]}, tmp_path)
    }
    assert found == {
        (Code.KEY_UNKNOWN, 'generation[0].of'),
        (Code.VALUE_MISSING, 'generation[0].substrate_miller'),
    }
    assert validate_config({'name': 'x', 'generation': [{**entry, 'substrate_miller': [1, 0, 0]}]}, tmp_path)


def test_every_old_name_in_the_tables_is_tested():
    text = repr(OLD) + repr(MIX)
    keys = {old for names in RENAMED_KEYS.values() for old in names}
    kinds = {old for fields in RENAMED_KINDS.values() for names in fields.values() for old in names}
    assert {old for old in keys | kinds if repr(old) not in text} == set()


def test_the_values_under_old_names_are_validated_too(tmp_path):
    data = {'name': 'x', 'generation': [COPPER], 'exploration': {'stages': [{'n_steps': 0}], 'colour': 'red'}}
    found = {(fault.code, fault.path) for fault in faults(data, tmp_path)}
    assert found == {
        (Code.KEY_RENAMED, 'exploration.stages'),
        (Code.OUT_OF_RANGE, 'exploration.phases[0].n_steps'),
        (Code.KEY_UNKNOWN, 'exploration.colour'),
    }


def test_names_that_the_user_chose_are_left_unchanged(tmp_path):
    calculator = {'kind': 'custom', 'calculator': 'ase.calculators.lj:LennardJones', 'cutoff_A': 5}
    data = {'name': 'x', 'generation': [COPPER], 'calculator': {**calculator, 'parameters': {'share': 1, 'lowest': 2}}}
    assert validate_config(data, tmp_path).calculator.parameters == {'share': 1, 'lowest': 2}


@pytest.mark.parametrize('keys', [('test_share', 'test_fraction'), ('test_fraction', 'test_share')])
def test_a_new_name_beside_the_old_one_keeps_its_value(keys, tmp_path):
    values = {'test_share': 'nonsense', 'test_fraction': 2}
    sampling = {'kind': 'random', 'n_structures': 5, **{key: values[key] for key in keys}}
    data = {'name': 'x', 'generation': [COPPER], 'sampling': sampling}
    found = {(fault.code, fault.path) for fault in faults(data, tmp_path)}
    assert found == {(Code.KEY_RENAMED, 'sampling.test_share'), (Code.OUT_OF_RANGE, 'sampling.test_fraction')}


PHASES = [{'kind': 'hold', 'n_steps': 30}]
CHANGES = {
    'steps beside phases': ({'exploration': {'n_steps': 20, 'phases': PHASES}}, {}),
    'a setting without effect in the ensemble': ({'exploration': {'ensemble': 'npt', 'thermostat': 'bussi'}}, {}),
    'no minimum width': ({}, {'validation': {'min_width_factor': 0}}),
}


@pytest.mark.parametrize(('sections', 'fields'), CHANGES.values(), ids=CHANGES)
def test_what_version_1_accepted_is_read_with_its_number_and_refused_without(sections, fields, tmp_path):
    data = {'name': 'x', 'generation': [COPPER | {'n_seeds': 1} | fields], **sections}
    config = validate_config({**data, 'schema_version': 1}, tmp_path)
    assert config.schema_version == 2
    if fields:
        assert config.generation[0].validation.cell == 'as_given'
    elif 'phases' in sections['exploration']:
        assert config.exploration.total_steps == 30
    with refused(Code.VALUE_INVALID if fields else Code.VALUES_EXCLUDE):
        validate_config(data, tmp_path)


def test_the_given_content_is_not_changed(tmp_path):
    exploration = {'n_steps': 20, 'phases': PHASES}
    validate_config({'name': 'x', 'schema_version': 1, 'generation': [COPPER], 'exploration': exploration}, tmp_path)
    assert exploration['n_steps'] == 20
