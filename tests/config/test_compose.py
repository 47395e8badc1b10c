from pathlib import Path

import pytest
from support.errors import refused

from aiida_mlip_autopipe.config.compose import compose_config
from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import CombinedError

DATA = {
    'name': 'x',
    'generation': [{'kind': 'alloy', 'composition': {'Cu': 0.5, 'No': 0.5}}, {'kind': 'alloy', 'n_seeds': 2}],
    'exploration': {'temperature_K': 300, 'n_steps': 10},
}


@pytest.fixture
def folder(write):
    write('temperature_K: 1000\nensemble: nvt\n', 'presets/exploration/hot.yaml')
    return write('n_steps: 99\ntemperature_K: 50\n', 'presets/exploration/cold.yaml').parents[1]


def compose(*overrides, data=DATA, folder=Path('nowhere')):
    return compose_config(data, overrides, [folder])


def test_data_without_overrides_are_unchanged():
    odd = {'a': 'No', 'b': '1e5', 'c': 1e-5, 'd': None, 'e': [True, 3], 'f': {}, 'g': 'x: "y"\n#', 'h': 'é'}
    composed = compose(data={**DATA, 'odd': odd})
    assert composed == {**DATA, 'odd': odd}
    assert list(composed) == [*DATA, 'odd']
    assert list(composed['odd']) == list(odd)


@pytest.mark.parametrize(
    ('override', 'path', 'value'),
    [
        ('sampling.n_structures=500', ['sampling', 'n_structures'], 500),
        ('exploration.n_steps=20', ['exploration', 'n_steps'], 20),
        ('+exploration.n_steps=20', ['exploration', 'n_steps'], 20),
        ('++exploration.n_steps=20', ['exploration', 'n_steps'], 20),
        ('generation[1].n_seeds=3', ['generation', 1, 'n_seeds'], 3),
        ('generation.1.n_seeds=3', ['generation', 1, 'n_seeds'], 3),
        ('generation[0].composition={Cu: 0.1, No: 0.9}', ['generation', 0, 'composition'], {'Cu': 0.1, 'No': 0.9}),
        ('generation[0].composition.Cu=.5', ['generation', 0, 'composition', 'Cu'], 0.5),
        ('generation=[{kind: structures}]', ['generation'], [{'kind': 'structures'}]),
        ('generation[2]={kind: structures}', ['generation', 2], {'kind': 'structures'}),
        ('generation.2.kind=structures', ['generation', 2], {'kind': 'structures'}),
        ('exploration.temperature_K=[300,600]', ['exploration', 'temperature_K'], [300, 600]),
        ('storage.database=/tmp/a-b_c.db', ['storage', 'database'], '/tmp/a-b_c.db'),
        ('calculator.model=~/models/x#1=é.pth', ['calculator', 'model'], '~/models/x#1=é.pth'),
        ('name=my campaign', ['name'], 'my campaign'),
        ('name="a,b"', ['name'], 'a,b'),
        ('name=', ['name'], ''),
        ('execution.queue=null', ['execution', 'queue'], None),
        ('exploration=anneal.yaml', ['exploration'], 'anneal.yaml'),
        ('exploration={n_steps: 5}', ['exploration', 'n_steps'], 5),
    ],
)
def test_an_override_changes_or_adds_a_value(override, path, value):
    found = compose(override)
    for key in path:
        found = found[key]
    assert found == value


def test_several_overrides_add_entries_to_a_list():
    composed = compose('generation[2].kind=a', 'generation[2].n_seeds=1', 'generation[3]={kind: b}')
    assert composed['generation'] == [*DATA['generation'], {'kind': 'a', 'n_seeds': 1}, {'kind': 'b'}]
    assert compose('x[2]=5', data={'x': [3, 4]})['x'] == [3, 4, 5]
    assert len(DATA['generation']) == 2


def test_an_override_removes_a_key():
    assert compose('~exploration.n_steps')['exploration'] == {'temperature_K': 300}
    assert 'exploration' not in compose('~exploration')


def test_overrides_take_precedence_over_presets_and_presets_over_the_file(folder):
    assert compose('+exploration=hot', folder=folder)['exploration'] == {
        'temperature_K': 1000,
        'n_steps': 10,
        'ensemble': 'nvt',
    }
    for overrides in (
        ('exploration=hot', 'exploration.temperature_K=7'),
        ('exploration.temperature_K=7', '+exploration=hot'),
    ):
        assert compose(*overrides, folder=folder)['exploration']['temperature_K'] == 7


@pytest.mark.parametrize('overrides', [('+exploration=[hot, cold]',), ('+exploration=hot', 'exploration=cold')])
def test_a_later_preset_takes_precedence_over_an_earlier_one(folder, overrides):
    exploration = compose(*overrides, folder=folder)['exploration']
    assert exploration == {'temperature_K': 50, 'n_steps': 99, 'ensemble': 'nvt'}


def test_interpolations_are_resolved(monkeypatch):
    monkeypatch.setenv('QUEUE', 'long')
    composed = compose(data={**DATA, 'execution': {'queue': '${oc.env:QUEUE}', 'account': '${name}', 'x': r'\${HOME}'}})
    assert composed['execution'] == {'queue': 'long', 'account': 'x', 'x': '${HOME}'}


def test_keys_that_hydra_reserves_are_not_removed():
    assert compose(data={**DATA, 'hydra': {'run': 1}, 'defaults': ['x']}) == {
        **DATA,
        'hydra': {'run': 1},
        'defaults': ['x'],
    }


@pytest.mark.parametrize(
    ('overrides', 'values'),
    [
        (['foo'], [("'foo'", 'section.key=value', 'list[0].key=value')]),
        (['=3'], [("'=3'", 'section.key=value')]),
        (['a b=3'], [("'a b=3'", 'section.key=value')]),
        (['~a=3'], [("'~a=3'", 'section.key=value')]),
        (['a/b@c=3'], [("'a/b@c=3'", 'section.key=value')]),
        (['hydra.run.dir=x'], [("'hydra.run.dir=x'", 'Hydra')]),
        (['generation[5].n_seeds=3'], [("'generation[5].n_seeds=3'", '2', "'5'")]),
        (['generation.n_seeds=3'], [("'generation.n_seeds=3'", '2', "'n_seeds'")]),
        (['~generation[1]'], [("'~generation[1]'", 'generation=[…]')]),
        (['~nowhere.key'], [("'~nowhere.key'", ' nowhere.key')]),
        (['name=a,b'], [("'name=a,b'", 'name=[a,b]')]),
        (['generation[0].n_seeds=range(1,4)'], [('range(1,4)', 'generation[0].n_seeds=[a,b]')]),
        (['name={a'], [("'name={a'", '''name="'…'"''')]),
        (['foo', 'a.b=1', 'bar'], [("'foo'",), ("'bar'",)]),
        (['name={a', 'a.b=1', 'generation[5].x=1'], [("'name={a'",), ("'generation[5].x=1'",)]),
    ],
)
def test_each_invalid_override_is_reported_on_one_line(overrides, values):
    with pytest.raises(CombinedError) as caught:
        compose(*overrides)
    assert [error.code for error in caught.value.errors] == [Code.OVERRIDE_INVALID] * len(values)
    for line, expected in zip(str(caught.value).split('\n'), values, strict=True):
        assert all(value in line for value in expected), line


def test_a_section_is_not_removed_while_a_preset_is_applied_to_it(folder):
    assert 'exploration' not in compose('~exploration')
    with pytest.raises(CombinedError) as caught:
        compose('~exploration', '+exploration=hot', folder=folder)
    (error,) = caught.value.errors
    assert error.code == Code.OVERRIDE_INVALID
    assert 'preset' in str(error)


def test_errors_of_several_overrides_keep_their_codes():
    with pytest.raises(CombinedError) as caught:
        compose('foo', '+exploration=nowhere')
    assert [error.code for error in caught.value.errors] == [Code.OVERRIDE_INVALID, Code.CHOICE_UNKNOWN]


def test_a_preset_replaces_a_section_that_is_not_a_mapping(folder):
    composed = compose('+exploration=hot', data={'name': 'x', 'exploration': None}, folder=folder)
    assert composed['exploration'] == {'temperature_K': 1000, 'ensemble': 'nvt'}


def test_an_interpolation_without_a_value_is_reported_with_its_place():
    with refused(Code.INTERPOLATION_FAILED, 'name: ', "'nowhere'", r'\${'):
        compose('name=${nowhere}')
    with refused(Code.INTERPOLATION_FAILED, 'execution.queue: ', "'nowhere'"):
        compose('a.b=1', 'a.c=2', data={**DATA, 'execution': {'queue': '${nowhere}'}})


def test_the_state_of_hydra_is_restored(folder, tmp_path, monkeypatch):
    from hydra import initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra

    monkeypatch.chdir(tmp_path)
    compose('+exploration=hot', folder=folder)
    assert not GlobalHydra.instance().is_initialized()
    assert Path.cwd() == tmp_path
    assert [path.name for path in tmp_path.iterdir()] == ['presets']
    with initialize_config_dir(version_base='1.3', config_dir=str(folder)):
        before = GlobalHydra.instance().config_loader()
        compose('+exploration=hot', folder=folder)
        assert GlobalHydra.instance().config_loader() is before
    with refused(Code.OVERRIDE_INVALID):
        compose('name={a')
    assert not GlobalHydra.instance().is_initialized()
