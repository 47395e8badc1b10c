from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from support.errors import refused

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.storage import export_dataset
from aiida_mlip_autopipe.storage.imports.levels import (
    complete_level,
    join_levels,
    k_spacing,
    level_from_name,
    level_of_dataset,
)
from aiida_mlip_autopipe.storage.imports.quantum_espresso import read_pw
from aiida_mlip_autopipe.structures.rows.level import LevelOfTheory


def level(**parameters):
    return LevelOfTheory(method='dft', code='vasp', name='dft:vasp:pbe', parameters=parameters)


def test_a_mapping_gives_a_level_and_its_name():
    given = {'method': 'dft', 'code': 'vasp', 'functional': 'PBE', 'cutoff_eV': 520}
    found = complete_level(given, None)
    assert (found.name, found.parameters) == ('dft:vasp:pbe-520eV', {'functional': 'PBE', 'cutoff_eV': 520})
    assert complete_level(given | {'name': 'dft:vasp:mine'}, None).hash == found.hash


def test_two_levels_that_are_known_only_by_different_names_differ():
    one, other = (complete_level(level_from_name(f'dft:vasp:{name}'), None) for name in ('pbe', 'scan'))
    assert one.hash != other.hash


@pytest.mark.parametrize(
    ('given', 'code', 'values'),
    [
        (None, Code.VALUE_MISSING, ['level.method', '--level']),
        ({'functional': 'PBE'}, Code.VALUE_MISSING, ['level.method']),
        ({'method': 'dft'}, Code.VALUE_MISSING, ['level.code']),
        ({'method': 'DFT', 'code': 'vasp'}, Code.CHOICE_UNKNOWN, ['level.method', 'DFT', 'dft']),
        ({'method': 'dft', 'code': 'vasp', 'name': 'pbe'}, Code.WRONG_PATTERN, ['level.name', 'pbe', 'dft:']),
    ],
)
def test_an_incomplete_level_is_refused(given, code, values):
    with refused(code, *values):
        complete_level(given, None)


@pytest.mark.parametrize('name', ['pbe', 'DFT:vasp:pbe', 'dft:', 'dft vasp'])
def test_a_malformed_name_is_refused(name):
    with refused(Code.WRONG_PATTERN, '--level', name):
        level_from_name(name)


def test_fields_from_the_user_complete_and_replace_those_of_a_file():
    found = complete_level({'cutoff_eV': 500, 'dispersion': 'd3'}, level(functional='pbe', cutoff_eV=400))
    assert found.parameters == {'functional': 'pbe', 'cutoff_eV': 500, 'dispersion': 'd3'}
    assert found.name == 'dft:vasp:pbe'


def test_the_level_of_a_dataset_must_agree_with_a_file_in_the_fields_that_both_have():
    dataset = level(functional='pbe', cutoff_eV=400, potentials={'Cu': 'a'}, kspacing_per_A=0.3)
    file = level(functional='pbe', version='6.4', potentials={'Au': 'b'}, kspacing_per_A=0.2)
    expected = level(functional='pbe', cutoff_eV=400, potentials={'Cu': 'a', 'Au': 'b'}, kspacing_per_A=0.3)
    assert complete_level(dataset, file).hash == expected.hash
    for other, difference in (
        (level(functional='scan'), 'functional: pbe and scan'),
        (level(potentials={'Cu': 'c'}), 'potentials.Cu: a and c'),
        (level(kspacing_per_A=0.5), 'kspacing_per_A: 0.3 and 0.5'),
    ):
        with refused(Code.LEVELS_MIXED, difference):
            complete_level(dataset, other)


def test_levels_of_files_are_joined_by_element_and_largest_spacing():
    one = level(cutoff_eV=400, potentials={'Cu': 'a'}, kspacing_per_A=0.2)
    other = level(cutoff_eV=400, potentials={'Cu': 'a', 'Au': 'b'}, kspacing_per_A=0.3)
    joined = level(cutoff_eV=400, potentials={'Cu': 'a', 'Au': 'b'}, kspacing_per_A=0.3)
    assert join_levels(one, other).hash == join_levels(other, one).hash == joined.hash
    for changed, difference in (
        ({'dispersion': 'd3'}, 'dispersion: none and d3'),
        ({'potentials': {'Cu': 'x'}}, 'potentials.Cu: a and x'),
    ):
        with refused(Code.LEVELS_MIXED, difference):
            join_levels(one, level(**(one.parameters | changed)))


def test_the_level_of_a_dataset_is_that_of_its_rows(make_rows, tmp_path):
    rows = make_rows(2)
    export_dataset(tmp_path / 'a.db', rows)
    assert level_of_dataset(tmp_path / 'a.db').hash == rows[0].level.hash
    export_dataset(tmp_path / 'b.db', [*rows, *make_rows(1, label_source='dft:vasp:pbe')])
    with refused(Code.LEVELS_MIXED, 'b.db', 'method: mlip and dft'):
        level_of_dataset(tmp_path / 'b.db')


def test_the_spacing_of_a_mesh_does_not_count_vacuum():
    copper = bulk('Cu', cubic=True)
    assert k_spacing(copper, [4, 4, 2]) == pytest.approx(2 * np.pi / 3.61 / 2, abs=1e-3)
    slab = Atoms('Cu', cell=[3, 3, 20], pbc=True)
    assert k_spacing(slab, [5, 6, 1]) == pytest.approx(2 * np.pi / 3 / 5, abs=1e-3)
    assert k_spacing(Atoms('Cu', cell=[20, 20, 20], pbc=True), [1, 1, 1]) is None
    assert k_spacing(slab, None) is None


def test_parameters_must_be_a_mapping():
    with refused(Code.VALUE_INVALID, 'level.parameters', '[1]'):
        complete_level({'method': 'dft', 'code': 'vasp', 'parameters': [1]}, None)


@pytest.mark.parametrize(('field', 'hint'), [('fucntional', 'functional'), ('colour', 'parameters: {colour')])
def test_an_unknown_field_is_refused_unless_it_is_a_parameter(field, hint):
    known = {'method': 'dft', 'code': 'vasp'}
    with refused(Code.KEY_UNKNOWN, f'level.{field}', hint):
        complete_level(known | {field: 'x'}, None)
    assert complete_level(known | {'parameters': {field: 'x'}}, None).parameters == {field: 'x'}


def test_the_fields_of_a_level_from_a_file_can_be_given_again():
    (frame,) = read_pw(Path(__file__).parents[1] / 'dft' / 'pw' / 'crystal.out')
    found = frame.level
    assert 'cutoff_eV' in found.parameters
    given = {'method': found.method, 'code': found.code, 'name': found.name, **found.parameters}
    assert complete_level(given, None).hash == found.hash
