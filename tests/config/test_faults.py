from typing import Annotated, Literal

import pytest
from pydantic import Field, ValidationError

from aiida_mlip_autopipe.config import validate_config
from aiida_mlip_autopipe.config.faults import faults_of
from aiida_mlip_autopipe.core.errors import ConfigError
from aiida_mlip_autopipe.core.settings import Settings
from aiida_mlip_autopipe.generation import GENERATORS

ALLOY = {'kind': 'alloy', 'composition': {'Cu': 0.5, 'Au': 0.5}}
VALID = {'name': 'x', 'generation': [ALLOY]}


def faults(tmp_path, **sections):
    with pytest.raises(ConfigError) as error:
        validate_config({**VALID, **sections}, tmp_path)
    lines = str(error.value).split('\n')
    assert lines == [str(fault) for fault in error.value.faults]
    return lines


def one_fault(tmp_path, **sections):
    (line,) = faults(tmp_path, **sections)
    return line


@pytest.mark.parametrize(
    ('sections', 'line'),
    [
        (
            {'name': 'my campaign!'},
            "name: got 'my campaign!'; must be letters, digits, _ and - only; did you mean 'my_campaign'?",
        ),
        ({'name': 2024}, 'name: got 2024; must be a text; quote it'),
        ({'name': True}, 'name: got true; must be a text; quote it'),
        ({'name': None}, 'name: got null; must be a text'),
        ({'random_seed': -1}, 'random_seed: got -1; must be at least 0'),
        ({'random_seed': 2**63}, 'random_seed: got 9223372036854775808; must be below 9.22337e+18'),
        ({'generation': []}, 'generation: got []; must have at least one entry'),
        ({'generation': ALLOY}, 'generation: got {kind: alloy, composition: {Cu: 0.5, Au: 0.5}}; must be a list'),
        ({'generation': ['alloy']}, "generation[0]: got 'alloy'; must be a mapping"),
        ({'calculator': 'emt'}, "calculator: got 'emt'; must be a mapping"),
        ({'exploration': {'n_steps': 10.5}}, 'exploration.n_steps: got 10.5; must be an integer'),
        ({'exploration': {'n_steps': 'ten'}}, "exploration.n_steps: got 'ten'; must be an integer"),
        ({'exploration': {'temperature_K': -300}}, 'exploration.temperature_K: got -300; must be at least 0'),
        ({'exploration': {'timestep_fs': 'fast'}}, "exploration.timestep_fs: got 'fast'; must be a number"),
        ({'exploration': {'timestep_fs': 0}}, 'exploration.timestep_fs: got 0; must be above 0'),
        ({'exploration': {'timestep_fs': float('nan')}}, 'exploration.timestep_fs: got NaN; must be a finite number'),
        (
            {'exploration': {'ensemble': 'NTV'}},
            "exploration.ensemble: got 'NTV'; must be one of auto, nve, nvt, npt; did you mean 'nvt'?",
        ),
        (
            {'exploration': {'stages': [{'kind': 'hold'}]}},
            'exploration.stages[0].n_steps: got nothing; a value is needed here',
        ),
        (
            {'execution': {'reuse_finished': 'perhaps'}},
            "execution.reuse_finished: got 'perhaps'; must be true or false",
        ),
        ({'execution': {'max_concurrent_jobs': 999}}, 'execution.max_concurrent_jobs: got 999; must be at most 90'),
        (
            {'storage': {'database': 'out.dbb'}},
            "storage.database: got 'out.dbb'; must end in .db, the suffix of an ASE SQLite database; did you mean",
        ),
        ({'sampling': {'kind': 3}}, 'sampling.kind: got 3; must be one of '),
        ({'sampling': {'kind': 'fsp'}}, "did you mean 'fps'?"),
    ],
)
def test_a_bad_value_is_told_with_what_is_allowed(tmp_path, sections, line):
    assert line in one_fault(tmp_path, **sections)


def test_an_unknown_key_brings_the_known_ones_and_the_nearest(tmp_path):
    assert one_fault(tmp_path, samplign={}) == (
        'samplign: got {}; there is no such key here, there are name, schema_version, random_seed, generation, '
        "calculator, exploration, sampling, storage, execution; did you mean 'sampling'?"
    )
    line = one_fault(tmp_path, calculator={'kind': 'emt', 'modle': 'x'})
    assert line.startswith("calculator.modle: got 'x'; there is no such key here, there are kind, ")
    assert 'modal' not in line
    line = one_fault(tmp_path, generation=[{**ALLOY, 'latice': 'fcc'}])
    assert line.startswith("generation[0].latice: got 'fcc'; ")
    assert line.endswith("did you mean 'lattice'?")
    line = one_fault(tmp_path, generation=[{**ALLOY, 'perturb': {'ratle_A': 0.1}}])
    assert line.startswith('generation[0].perturb.ratle_A: got 0.1; ')
    assert 'rattle_temperature_K' in line


@pytest.mark.parametrize(
    ('given', 'line'),
    [
        ('no.db', "sampling.given: got 'no.db'; there is no such file in"),
        ('bad.xyz', "sampling.given: got '"),
        ({'campaign': ''}, "sampling.given.campaign: got ''; "),
    ],
)
def test_a_reference_dataset_that_cannot_be_had_is_one_fault(tmp_path, given, line):
    (tmp_path / 'bad.xyz').write_text('three')
    assert line in one_fault(tmp_path, sampling={'kind': 'fps', 'given': given})


def test_a_part_of_a_mix_has_no_setting_of_the_selection(tmp_path):
    part = {'share': 1, 'sampler': {'kind': 'fps', 'test_share': 0.1}}
    line = one_fault(tmp_path, sampling={'kind': 'mix', 'parts': [part]})
    assert line.startswith('sampling.parts[0].sampler.test_share: got 0.1; there is no such key here')


def test_an_unknown_kind_brings_the_known_ones(tmp_path):
    line = one_fault(tmp_path, generation=[ALLOY, {'kind': 'aloy'}])
    assert line.startswith(f"generation[1].kind: got 'aloy'; must be one of {', '.join(GENERATORS)}; ")
    assert line.endswith("did you mean 'alloy'?")
    line = one_fault(tmp_path, generation=[{'composition': {'Cu': 1}}])
    assert line == f'generation[0].kind: got nothing; must be one of {", ".join(GENERATORS)}'


@pytest.mark.parametrize(('given', 'nearest'), [('Cux', 'Cu'), ('CU', 'Cu'), ('Gold', 'Au')])
def test_a_mistyped_element_brings_the_nearest(tmp_path, given, nearest):
    line = one_fault(tmp_path, generation=[{'kind': 'alloy', 'composition': {given: 1}}])
    assert line.startswith(f'generation[0].composition.{given}: got {given!r}; ')
    assert line.endswith(f'did you mean {nearest!r}?')
    assert line.count('did you mean') == 1


def test_a_missing_file_brings_the_nearest(tmp_path):
    (tmp_path / 'slab.cif').touch()
    entry = {'kind': 'structures', 'files': ['slab.cif', 'slap.cif', '..']}
    assert faults(tmp_path, generation=[entry]) == [
        f"generation[0].files[1]: got 'slap.cif'; there is no such file in {tmp_path}; did you mean 'slab.cif'?",
        "generation[0].files[2]: got '..'; is a folder, not a file",
    ]


def test_rules_between_fields_are_told_at_their_section(tmp_path):
    line = one_fault(tmp_path, generation=[{'kind': 'alloy', 'composition': {'Cu': 0.5, 'Au': 0.4}}])
    assert line.startswith('generation[0].composition: got {Cu: 0.5, Au: 0.4}; the fractions sum to 0.9')
    line = one_fault(tmp_path, exploration={'n_steps': 10, 'n_equilibration_steps': 10})
    assert line.startswith('exploration: got {n_steps: 10, n_equilibration_steps: 10}; 10 equilibration steps')


@pytest.mark.parametrize(
    ('given', 'line'),
    [
        ('hot', "exploration.temperature_K: got 'hot'; must be a number, a list or a mapping"),
        ([300, 'hot'], "exploration.temperature_K[1]: got 'hot'; must be a number"),
        ([300, -1], 'exploration.temperature_K[1]: got -1; must be at least 0'),
        ({'lowest': 300}, 'exploration.temperature_K.highest: got nothing; a value is needed here'),
        (
            {'lowest': 3, 'highest': 1},
            'exploration.temperature_K: got {lowest: 3, highest: 1}; the highest value, 1, is',
        ),
        (
            {'lowest': 3, 'highst': 4, 'highest': 5},
            'exploration.temperature_K.highst: got 4; there is no such key here',
        ),
    ],
)
def test_of_several_types_only_the_one_that_was_meant_is_judged(tmp_path, given, line):
    assert one_fault(tmp_path, exploration={'temperature_K': given}).startswith(line)


def test_a_long_value_is_told_by_its_size(tmp_path):
    assert 'got a list of 40 entries; ' in one_fault(tmp_path, name=list(range(40)))
    assert 'got a mapping of 40 entries; ' in one_fault(tmp_path, name={f'key{i}': i for i in range(40)})
    assert len(one_fault(tmp_path, name='word ' * 400)) < 200


def test_an_entry_with_a_fault_does_not_make_the_list_too_short(tmp_path):
    assert len(faults(tmp_path, generation=[{'kind': 'nothing'}])) == 1


def test_faults_of_all_sections_are_told_at_once(tmp_path):
    lines = faults(
        tmp_path,
        name='a b',
        generation=[{**ALLOY, 'n_seeds': 0, 'label': 3}, {'kind': 'x'}],
        calculator={'device': 'gpu'},
        exploration={'ensemble': 'x', 'n_steps': 0},
        execution='none',
        unknown=1,
    )
    assert [line.partition(':')[0] for line in lines] == [
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
    return [str(fault) for fault in faults_of(error.value, data, Drawing)]


def test_the_kind_is_never_part_of_the_path():
    assert faults_in({'shape': {'kind': 'circle', 'radius': 0.3}}) == [
        'shape.radius: got 0.3; must be a multiple of 0.5'
    ]
    assert faults_in({'shape': {'kind': 'circle', 'radius': 1, 'circle': 'x'}}) == [
        "shape.circle: got 'x'; must be an integer"
    ]
    assert faults_in({'shape': {'kind': 'circle'}}) == ['shape.radius: got nothing; a value is needed here']
    assert faults_in({'shape': {'side': 'x'}}) == ['shape.kind: got nothing; must be one of circle, square']


def test_in_a_plain_union_of_models_the_nearest_one_is_judged():
    assert faults_in({'shape': {'kind': 'square', 'side': 'A'}, 'spare': {'kind': 'square', 'side': 'a'}}) == [
        "shape.side: got 'A'; must have at least 2 characters",
        "spare.side: got 'a'; must have at least 2 characters",
    ]


def test_a_plain_union_within_one_by_kind_is_judged_by_itself():
    assert faults_in({'shape': {'kind': 'circle', 'radius': 1, 'line': 'x'}}) == [
        "shape.line: got 'x'; must be a number or a list"
    ]
    assert faults_in({'shape': {'kind': 'circle', 'radius': 'y', 'line': [1, 'x']}}) == [
        "shape.radius: got 'y'; must be a number",
        "shape.line[1]: got 'x'; must be a number",
    ]


def test_a_bad_key_and_its_bad_value_are_two_faults():
    assert faults_in({'shape': {'kind': 'square'}, 'sizes': {'ab': 'x'}}) == [
        "sizes.ab: got 'ab'; must have at most one character",
        "sizes.ab: got 'x'; must be an integer or a list",
    ]


def test_a_file_that_is_no_mapping_is_told():
    assert faults_in([]) == ['the file: got []; must be a mapping']
