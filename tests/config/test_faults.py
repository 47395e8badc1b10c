from typing import Annotated, Literal

import pytest
from ase.build import bulk
from pydantic import Field, ValidationError

from aiida_mlip_autopipe.config import CampaignConfig, validate_config
from aiida_mlip_autopipe.config.faults import faults_of
from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import ConfigError
from aiida_mlip_autopipe.core.settings import Settings
from aiida_mlip_autopipe.exploration import CALCULATORS
from aiida_mlip_autopipe.generation import GENERATORS

ALLOY = {'kind': 'alloy', 'composition': {'Cu': 0.5, 'Au': 0.5}}
ALLOY_TEXT = '{kind: alloy, composition: {Cu: 0.5, Au: 0.5}}'
VALID = {'name': 'x', 'generation': [ALLOY]}


def faults(tmp_path, **sections):
    with pytest.raises(ConfigError) as error:
        validate_config({**VALID, **sections}, tmp_path)
    assert str(error.value).split('\n') == [str(fault) for fault in error.value.faults]
    return error.value.faults


def one_fault(tmp_path, **sections):
    (fault,) = faults(tmp_path, **sections)
    return fault


@pytest.mark.parametrize(
    ('sections', 'code', 'path', 'given', 'allowed'),
    [
        ({'name': 'my campaign!'}, Code.WRONG_PATTERN, 'name', "'my campaign!'", ['_', '-']),
        ({'name': 2024}, Code.TYPE_WRONG, 'name', '2024', ['quote']),
        ({'name': True}, Code.TYPE_WRONG, 'name', 'true', ['quote']),
        ({'name': None}, Code.TYPE_WRONG, 'name', 'null', []),
        ({'random_seed': -1}, Code.OUT_OF_RANGE, 'random_seed', '-1', ['0']),
        ({'random_seed': 2**63}, Code.OUT_OF_RANGE, 'random_seed', '9223372036854775808', ['9.22337e+18']),
        ({'generation': []}, Code.WRONG_LENGTH, 'generation', '[]', ['one']),
        ({'generation': ALLOY}, Code.TYPE_WRONG, 'generation', ALLOY_TEXT, ['list']),
        ({'generation': ['alloy']}, Code.TYPE_WRONG, 'generation[0]', "'alloy'", ['mapping']),
        ({'calculator': 'emt'}, Code.TYPE_WRONG, 'calculator', "'emt'", ['mapping']),
        ({'exploration': {'n_steps': 10.5}}, Code.TYPE_WRONG, 'exploration.n_steps', '10.5', ['integer']),
        ({'exploration': {'n_steps': 'ten'}}, Code.TYPE_WRONG, 'exploration.n_steps', "'ten'", ['integer']),
        ({'exploration': {'temperature_K': -300}}, Code.OUT_OF_RANGE, 'exploration.temperature_K', '-300', ['0']),
        ({'exploration': {'timestep_fs': 'fast'}}, Code.TYPE_WRONG, 'exploration.timestep_fs', "'fast'", ['number']),
        ({'exploration': {'timestep_fs': 0}}, Code.OUT_OF_RANGE, 'exploration.timestep_fs', '0', ['0']),
        ({'exploration': {'timestep_fs': float('nan')}}, Code.OUT_OF_RANGE, 'exploration.timestep_fs', 'NaN', []),
        (
            {'exploration': {'ensemble': 'NTV'}},
            Code.CHOICE_UNKNOWN,
            'exploration.ensemble',
            "'NTV'",
            ['auto, nve, nvt, npt'],
        ),
        (
            {'exploration': {'phases': [{'kind': 'hold'}]}},
            Code.VALUE_MISSING,
            'exploration.phases[0].n_steps',
            'nothing',
            [],
        ),
        (
            {'execution': {'reuse_finished': 'perhaps'}},
            Code.TYPE_WRONG,
            'execution.reuse_finished',
            "'perhaps'",
            ['true', 'false'],
        ),
        (
            {'execution': {'max_concurrent_jobs': 999}},
            Code.OUT_OF_RANGE,
            'execution.max_concurrent_jobs',
            '999',
            ['90'],
        ),
        ({'storage': {'database': 'out.dbb'}}, Code.FILE_SUFFIX, 'storage.database', "'out.dbb'", ['.db']),
        ({'sampling': {'kind': 3}}, Code.KIND_UNKNOWN, 'sampling.kind', '3', ['environment', 'fps']),
    ],
)
def test_an_invalid_value_is_reported_with_the_allowed_values(tmp_path, sections, code, path, given, allowed):
    fault = one_fault(tmp_path, **sections)
    assert (fault.code, fault.path, fault.given) == (code, path, given)
    assert all(value in fault.allowed for value in allowed), fault.allowed


@pytest.mark.parametrize(
    ('sections', 'nearest'),
    [
        ({'name': 'my campaign!'}, 'my_campaign'),
        ({'exploration': {'ensemble': 'NTV'}}, 'nvt'),
        ({'storage': {'database': 'out.dbb'}}, 'out.db'),
        ({'sampling': {'kind': 'fsp'}}, 'fps'),
    ],
)
def test_the_nearest_valid_value_is_proposed(tmp_path, sections, nearest):
    fault = one_fault(tmp_path, **sections)
    assert fault.nearest == nearest
    assert repr(nearest) in str(fault)


def test_an_unknown_key_is_reported_with_the_known_keys_and_the_nearest_key(tmp_path):
    fault = one_fault(tmp_path, samplign={})
    assert (fault.code, fault.path, fault.given, fault.nearest) == (Code.KEY_UNKNOWN, 'samplign', '{}', 'sampling')
    assert ', '.join(CampaignConfig.model_fields) in fault.allowed
    fault = one_fault(tmp_path, calculator={'kind': 'emt', 'modle': 'x'})
    assert (fault.code, fault.path, fault.given) == (Code.KEY_UNKNOWN, 'calculator.modle', "'x'")
    assert ', '.join(CALCULATORS.load('emt').settings_class.model_fields) in fault.allowed
    assert 'modal' not in str(fault)
    fault = one_fault(tmp_path, generation=[{**ALLOY, 'latice': 'fcc'}])
    assert (fault.path, fault.given, fault.nearest) == ('generation[0].latice', "'fcc'", 'lattice')
    fault = one_fault(tmp_path, generation=[{**ALLOY, 'perturb': {'ratle_A': 0.1}}])
    assert (fault.path, fault.given) == ('generation[0].perturb.ratle_A', '0.1')
    assert 'rattle_temperature_K' in fault.allowed


@pytest.mark.parametrize(
    ('reference', 'code', 'path', 'given'),
    [
        ('no.db', Code.FILE_MISSING, 'sampling.reference_dataset', "'no.db'"),
        ('bad.xyz', Code.FILE_UNREADABLE, 'sampling.reference_dataset', "bad.xyz'"),
        ({'campaign': ''}, Code.WRONG_LENGTH, 'sampling.reference_dataset.campaign', "''"),
    ],
)
def test_a_missing_or_unreadable_reference_dataset_is_one_fault(tmp_path, reference, code, path, given):
    (tmp_path / 'bad.xyz').write_text('three')
    fault = one_fault(tmp_path, sampling={'kind': 'fps', 'reference_dataset': reference})
    assert (fault.code, fault.path) == (code, path)
    assert given in fault.given
    novelty = {'kind': 'distance', 'threshold': 0.1, 'reference_dataset': reference}
    fault = one_fault(tmp_path, exploration={'novelty': novelty})
    assert (fault.code, fault.path) == (code, path.replace('sampling', 'exploration.novelty'))


@pytest.mark.parametrize(
    ('settings', 'code'),
    [
        ({}, Code.VALUE_MISSING),
        ({'threshold': 0.1, 'threshold_quantile': 0.9, 'reference_dataset': 'old.traj'}, Code.VALUES_EXCLUDE),
        ({'threshold_quantile': 0.9}, Code.VALUES_INCOMPLETE),
    ],
)
def test_novelty_needs_one_threshold_and_a_quantile_needs_a_reference_dataset(tmp_path, settings, code):
    bulk('Cu').write(tmp_path / 'old.traj')
    fault = one_fault(tmp_path, exploration={'novelty': {'kind': 'distance', **settings}})
    assert (fault.code, fault.path) == (code, 'exploration.novelty')


def test_a_single_entry_cannot_have_a_reference_dataset(tmp_path):
    novelty = {'kind': 'distance', 'threshold': 0.1, 'reference_dataset': 'old.traj'}
    fault = one_fault(tmp_path, generation=[{**ALLOY, 'exploration': {'novelty': novelty}}])
    assert (fault.code, fault.path) == (
        Code.VALUE_INVALID,
        'generation[0].exploration.novelty.reference_dataset',
    )


def test_a_part_of_a_mix_does_not_accept_settings_of_the_selection(tmp_path):
    part = {'fraction': 1, 'sampler': {'kind': 'fps', 'test_fraction': 0.1}}
    fault = one_fault(tmp_path, sampling={'kind': 'mix', 'parts': [part]})
    assert (fault.code, fault.path) == (Code.KEY_UNKNOWN, 'sampling.parts[0].sampler.test_fraction')
    assert fault.given == '0.1'


def test_an_unknown_kind_is_reported_with_the_known_kinds(tmp_path):
    fault = one_fault(tmp_path, generation=[ALLOY, {'kind': 'aloy'}])
    assert (fault.code, fault.path, fault.given) == (Code.KIND_UNKNOWN, 'generation[1].kind', "'aloy'")
    assert ', '.join(GENERATORS) in fault.allowed
    assert fault.nearest == 'alloy'
    fault = one_fault(tmp_path, generation=[{'composition': {'Cu': 1}}])
    assert (fault.code, fault.path, fault.given) == (Code.KIND_MISSING, 'generation[0].kind', 'nothing')
    assert ', '.join(GENERATORS) in fault.allowed


@pytest.mark.parametrize(('given', 'nearest'), [('Cux', 'Cu'), ('CU', 'Cu'), ('Gold', 'Au')])
def test_a_mistyped_element_is_reported_with_the_nearest_element(tmp_path, given, nearest):
    fault = one_fault(tmp_path, generation=[{'kind': 'alloy', 'composition': {given: 1}}])
    assert (fault.code, fault.path) == (Code.ELEMENT_UNKNOWN, f'generation[0].composition.{given}')
    assert (fault.given, fault.nearest) == (repr(given), nearest)
    assert str(fault).count(repr(nearest)) == 1


def test_a_missing_file_is_reported_with_the_nearest_name(tmp_path):
    (tmp_path / 'slab.cif').touch()
    entry = {'kind': 'structures', 'files': ['slab.cif', 'slap.cif', '..']}
    missing, folder = faults(tmp_path, generation=[entry])
    assert (missing.code, missing.path) == (Code.FILE_MISSING, 'generation[0].files[1]')
    assert (missing.given, missing.nearest) == ("'slap.cif'", 'slab.cif')
    assert str(tmp_path) in missing.allowed
    assert (folder.code, folder.path, folder.given) == (Code.NOT_A_FILE, 'generation[0].files[2]', "'..'")


def test_a_folder_in_place_of_a_file_is_refused_even_if_a_file_has_a_similar_name(tmp_path):
    (tmp_path / 'cells').mkdir()
    (tmp_path / 'cells1').touch()
    entry = {'kind': 'structures', 'files': ['.']}
    fault = one_fault(tmp_path / 'cells', generation=[entry])
    assert (fault.code, fault.path, fault.given) == (Code.NOT_A_FILE, 'generation[0].files[0]', "'.'")


def test_a_violated_rule_about_several_values_is_reported_at_their_section(tmp_path):
    fault = one_fault(tmp_path, generation=[{'kind': 'alloy', 'composition': {'Cu': 0.5, 'Au': 0.4}}])
    assert (fault.path, fault.given) == ('generation[0].composition', '{Cu: 0.5, Au: 0.4}')
    assert '0.9' in fault.allowed
    fault = one_fault(tmp_path, exploration={'n_steps': 10, 'n_equilibration_steps': 10})
    assert (fault.path, fault.given) == ('exploration', '{n_steps: 10, n_equilibration_steps: 10}')
    assert '10' in fault.allowed


@pytest.mark.parametrize(
    ('temperature', 'code', 'path', 'given'),
    [
        ('hot', Code.TYPE_WRONG, '', "'hot'"),
        ([300, 'hot'], Code.TYPE_WRONG, '[1]', "'hot'"),
        ([300, -1], Code.OUT_OF_RANGE, '[1]', '-1'),
        ({'min': 300}, Code.VALUE_MISSING, '.max', 'nothing'),
        ({'min': 3, 'max': 1}, Code.OUT_OF_RANGE, '', '{min: 3, max: 1}'),
        ({'min': 3, 'highst': 4, 'max': 5}, Code.KEY_UNKNOWN, '.highst', '4'),
    ],
)
def test_a_value_with_several_allowed_types_is_reported_for_the_nearest_type(tmp_path, temperature, code, path, given):
    fault = one_fault(tmp_path, exploration={'temperature_K': temperature})
    assert (fault.code, fault.path, fault.given) == (code, f'exploration.temperature_K{path}', given)


def test_all_allowed_types_are_listed_if_none_matches(tmp_path):
    fault = one_fault(tmp_path, exploration={'temperature_K': 'hot'})
    assert all(name in fault.allowed for name in ('number', 'list', 'mapping'))


def test_a_long_value_is_reported_by_its_type_and_size(tmp_path):
    assert '40' in one_fault(tmp_path, name=list(range(40))).given
    assert '40' in one_fault(tmp_path, name={f'key{i}': i for i in range(40)}).given
    assert '39' not in one_fault(tmp_path, name=list(range(40))).given
    assert len(str(one_fault(tmp_path, name='word ' * 400))) < 200


def test_an_invalid_entry_counts_towards_the_length_of_the_list(tmp_path):
    assert len(faults(tmp_path, generation=[{'kind': 'nothing'}])) == 1


def test_faults_of_all_sections_are_reported_together(tmp_path):
    found = faults(
        tmp_path,
        name='a b',
        generation=[{**ALLOY, 'n_seeds': 0, 'label': 3}, {'kind': 'x'}],
        calculator={'device': 'gpu'},
        exploration={'ensemble': 'x', 'n_steps': 0},
        execution='none',
        unknown=1,
    )
    assert [fault.path for fault in found] == [
        'name',
        'generation[0].label',
        'generation[0].n_seeds',
        'generation[1].kind',
        'calculator.device',
        'exploration.ensemble',
        'exploration.n_steps',
        'execution',
        'unknown',
    ]


class Circle(Settings):
    kind: Literal['circle']
    radius: float = Field(multiple_of=0.5)
    circle: int = 0
    line: float | tuple[float, float] = 1


class Square(Settings):
    kind: Literal['square'] = 'square'
    side: Annotated[str, Field(pattern='^[a-z]+$', min_length=2)] = 'aa'


class Drawing(Settings):
    shape: Annotated[Circle | Square, Field(discriminator='kind')]
    spare: Circle | Square | None = None
    sizes: dict[Annotated[str, Field(max_length=1)], int | list[int]] = Field(default_factory=dict)


def faults_in(data):
    with pytest.raises(ValidationError) as error:
        Drawing.model_validate(data)
    return faults_of(error.value, data, Drawing)


def codes_and_places(data):
    return [(fault.code, fault.path, fault.given) for fault in faults_in(data)]


def test_the_kind_is_never_part_of_the_path():
    (fault,) = faults_in({'shape': {'kind': 'circle', 'radius': 0.3}})
    assert (fault.code, fault.path, fault.given) == (Code.OUT_OF_RANGE, 'shape.radius', '0.3')
    assert '0.5' in fault.allowed
    assert codes_and_places({'shape': {'kind': 'circle', 'radius': 1, 'circle': 'x'}}) == [
        (Code.TYPE_WRONG, 'shape.circle', "'x'")
    ]
    assert codes_and_places({'shape': {'kind': 'circle'}}) == [(Code.VALUE_MISSING, 'shape.radius', 'nothing')]
    (fault,) = faults_in({'shape': {'side': 'x'}})
    assert (fault.code, fault.path, fault.given) == (Code.KIND_MISSING, 'shape.kind', 'nothing')
    assert 'circle, square' in fault.allowed


def test_a_fault_in_a_plain_union_of_models_is_reported_for_the_nearest_model():
    found = faults_in({'shape': {'kind': 'square', 'side': 'A'}, 'spare': {'kind': 'square', 'side': 'a'}})
    assert [(fault.code, fault.path, fault.given) for fault in found] == [
        (Code.WRONG_LENGTH, 'shape.side', "'A'"),
        (Code.WRONG_LENGTH, 'spare.side', "'a'"),
    ]
    assert all('2' in fault.allowed for fault in found)


def test_a_string_that_does_not_match_a_pattern_is_reported_with_the_pattern():
    (fault,) = faults_in({'shape': {'kind': 'square', 'side': 'AA'}})
    assert (fault.code, fault.path, fault.given) == (Code.WRONG_PATTERN, 'shape.side', "'AA'")
    assert '^[a-z]+$' in fault.allowed


def test_faults_in_a_plain_union_inside_a_union_by_kind_are_reported():
    assert codes_and_places({'shape': {'kind': 'circle', 'radius': 1, 'line': 'x'}}) == [
        (Code.TYPE_WRONG, 'shape.line', "'x'")
    ]
    assert codes_and_places({'shape': {'kind': 'circle', 'radius': 'y', 'line': [1, 'x']}}) == [
        (Code.TYPE_WRONG, 'shape.radius', "'y'"),
        (Code.TYPE_WRONG, 'shape.line[1]', "'x'"),
    ]


def test_an_invalid_key_and_its_invalid_value_are_two_faults():
    assert codes_and_places({'shape': {'kind': 'square'}, 'sizes': {'ab': 'x'}}) == [
        (Code.WRONG_LENGTH, 'sizes.ab', "'ab'"),
        (Code.TYPE_WRONG, 'sizes.ab', "'x'"),
    ]


def test_a_file_that_is_not_a_mapping_is_refused():
    assert codes_and_places([]) == [(Code.TYPE_WRONG, 'the file', '[]')]
