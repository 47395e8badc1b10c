"""Rows of earlier versions are read with the current keys."""

import pytest
from ase.build import bulk

from aiida_mlip_autopipe.structures.rows.keys import current_pairs, read_level
from aiida_mlip_autopipe.structures.rows.level import LevelOfTheory
from aiida_mlip_autopipe.structures.rows.row import Row

OLD = {
    'seed': 'seed-abc',
    'step': 10,
    'seed_kind': 'alloy',
    'label_source': 'mlip:mace:mp0.model',
    'architecture': 'mace',
    'model': 'mp0.model',
    'model_sha256': 'sha256:' + 'a' * 64,
    'precision': 'float32',
    'temperature_K': 290.0,
    'target_temperature_K': 300.0,
}


def test_the_keys_of_an_old_row_are_renamed_and_derived():
    pairs = current_pairs(OLD, {'seed': {'kind': 'alloy', 'label': '77', 'parent': 'p'}})
    assert 'seed_kind' not in pairs
    assert (pairs['kind'], pairs['label'], pairs['parent'], pairs['temperature']) == ('alloy', '_77', 'p', 300.0)
    assert pairs['level'] == read_level(OLD, {}).hash
    without_thermostat = {key: value for key, value in OLD.items() if key != 'target_temperature_K'}
    assert current_pairs(without_thermostat, {})['temperature'] == 290.0


def test_current_keys_and_the_keys_of_a_foreign_row_do_not_change():
    level = LevelOfTheory(method='dft', code='vasp', name='dft:vasp:pbe', parameters={'cutoff_eV': 520})
    pairs = {'kind': 'surface', 'level': level.hash, 'temperature': 1.0, 'temperature_K': 2.0}
    assert current_pairs(pairs, {'level': level.model_dump(), 'seed': {'kind': 'alloy'}}) == pairs
    assert current_pairs({'mine': 1}, {}) == {'mine': 1}
    assert read_level({'mine': 1}, {}) is None


def test_old_rows_of_two_models_with_the_same_name_have_different_levels():
    other = OLD | {'model_sha256': 'sha256:' + 'b' * 64}
    assert read_level(OLD, {}).hash != read_level(other, {}).hash
    known = LevelOfTheory(method='mlip', code='mace', name='x', parameters={'model_sha256': 'a' * 64, 'head': 'omat'})
    assert 'settings: none and unknown' in known.differences(read_level(OLD, {}))


def test_old_dft_levels_are_told_apart_by_their_names():
    pbe, scan = (read_level({'label_source': f'dft:vasp:{name}'}, {}) for name in ('pbe', 'scan'))
    assert (pbe.method, pbe.code) == ('dft', 'vasp')
    assert pbe.hash != scan.hash


def test_the_identity_is_the_run_the_step_and_the_level():
    rows = [
        Row(bulk('Cu'), OLD | {'exploration': 'run-1'}),
        Row(bulk('Cu'), OLD | {'exploration': 'run-2'}),
        Row(bulk('Cu'), OLD | {'exploration': 'run-1', 'step': 11}),
        Row(bulk('Cu'), OLD | {'exploration': 'run-1', 'label_source': 'dft:vasp:pbe'}),
    ]
    assert len({row.identity for row in rows}) == 4
    assert rows[0].identity == ('run-1', 10, rows[0].level.hash)
    assert Row(bulk('Cu'), OLD).identity.run == 'seed-abc'


@pytest.mark.parametrize('code', ['emt', 'lj'])
def test_levels_without_a_model_do_not_depend_on_the_version_of_ase(code):
    old, new = (
        {'method': 'mlip', 'code': code, 'name': f'mlip:{code}', 'parameters': {'precision': 'float64'}} for _ in 'ab'
    )
    old['parameters'] = old['parameters'] | {'calculator_version': '3.28.0'}
    level = LevelOfTheory(**new)
    assert LevelOfTheory(**old).hash == level.hash
    # The stored hash of an earlier version is replaced.
    pairs = {'label_source': f'mlip:{code}', 'level': 'level-0123456789abcdef'}
    assert current_pairs(pairs, {'level': old})['level'] == level.hash
    other = {**old, 'code': 'chgnet', 'name': 'mlip:chgnet'}
    assert LevelOfTheory(**other).parameters['calculator_version'] == '3.28.0'
