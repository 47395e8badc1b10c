from pathlib import Path

import pytest
import yaml
from support.errors import refused

from aiida_mlip_autopipe.config import CampaignConfig, config_hash, config_text, load_config, validate_config
from aiida_mlip_autopipe.config.campaign import CONFIG_VERSION
from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import ConfigError

MINIMAL = 'name: cu_au\ngeneration:\n  - {kind: alloy, composition: {Cu: 0.5, Au: 0.5}}\n'


def test_a_minimal_file_has_defaults_for_everything_else(write):
    config = load_config(write(MINIMAL))
    assert (config.name, config.random_seed) == ('cu_au', 0)
    assert [entry.kind for entry in config.generation] == ['alloy']
    assert (config.calculator.kind, config.calculator.model) == ('sevennet', '7net-0')
    assert (config.sampling.kind, config.sampling.n_structures) == ('environment', 100)
    assert config.storage.database is None


def test_a_section_without_a_kind_has_the_default_kind(write):
    config = load_config(write(MINIMAL + 'calculator: {device: cpu}\nsampling: {n_structures: 5}\n'))
    assert (config.calculator.kind, config.calculator.device) == ('sevennet', 'cpu')
    assert (config.sampling.kind, config.sampling.n_structures) == ('environment', 5)


def test_an_empty_section_has_default_values(write):
    empty = 'calculator:\nexploration:\nsampling:\nstorage:\nexecution:\nrandom_seed:\n'
    assert load_config(write(MINIMAL + empty)) == load_config(write(MINIMAL))


@pytest.mark.parametrize('suffix', ['.yaml', '.yml', '.txt', ''])
def test_a_file_may_have_any_name_and_its_path_may_be_relative(write, monkeypatch, suffix, tmp_path):
    path = write(MINIMAL, f'some folder/my file{suffix}')
    monkeypatch.chdir(path.parent)
    assert load_config(path.name).name == 'cu_au'
    monkeypatch.chdir(tmp_path)
    assert load_config(str(path.relative_to(tmp_path))).name == 'cu_au'


def test_input_files_are_relative_to_the_config_file_and_the_database_is_not(write, tmp_path, monkeypatch):
    from ase.build import bulk
    from ase.io import write as write_atoms

    path = write(
        'name: x\n'
        'generation: [{kind: structures, files: [cells/cu.cif]}]\n'
        'calculator: {kind: mace, model: models/my.model}\n'
        'storage: {database: results/x.db}\n',
        'project/campaign.yaml',
    )
    folder = path.parent
    (folder / 'cells').mkdir()
    write_atoms(folder / 'cells' / 'cu.cif', bulk('Cu'))
    write('weights', 'project/models/my.model')
    monkeypatch.chdir(tmp_path)
    config = load_config('project/campaign.yaml')
    assert config.generation[0].files == (folder / 'cells' / 'cu.cif',)
    assert config.calculator.model == str(folder / 'models' / 'my.model')
    assert config.storage.database == Path('results/x.db')


def test_a_model_next_to_the_config_file_needs_no_folder_in_its_path(write, tmp_path):
    write('weights', 'my.pth')
    config = load_config(write(MINIMAL + 'calculator: {model: my.pth}\n'))
    assert config.calculator.model == str(tmp_path / 'my.pth')


def test_settings_created_in_python_may_contain_paths_that_do_not_exist_here():
    data = {'name': 'x', 'generation': [{'kind': 'structures', 'files': ['elsewhere/cu.cif']}]}
    data['calculator'] = {'kind': 'mace', 'model': '/scratch/my.model'}
    config = CampaignConfig.model_validate(data)
    assert config.generation[0].files == (Path('elsewhere/cu.cif'),)
    assert config.calculator.model == '/scratch/my.model'


def test_overrides_are_validated_with_the_file(write):
    config = load_config(write(MINIMAL), ['generation[0].n_seeds=3', 'sampling.n_structures=7', 'name=other'])
    assert (config.generation[0].n_seeds, config.sampling.n_structures, config.name) == (3, 7, 'other')
    with refused(Code.TYPE_WRONG, 'generation[0].n_seeds: ', "'many'"):
        load_config(write(MINIMAL), ['generation[0].n_seeds=many'])


def test_nobelium_is_an_element_in_the_file_and_in_an_override(write):
    config = load_config(write('name: on\ngeneration: [{kind: alloy, composition: {No: 1}, lattice: fcc, a_A: 5}]\n'))
    assert (config.name, config.generation[0].composition) == ('on', {'No': 1.0})
    config = load_config(
        write(MINIMAL), ['generation[0].composition={No: 0.5, Cu: 0.5}', '~generation[0].composition.Au']
    )
    assert set(config.generation[0].composition) == {'No', 'Cu'}


@pytest.mark.parametrize('key', ['hydra', 'defaults'])
def test_a_key_of_hydra_is_unknown(write, key):
    with refused(Code.KEY_UNKNOWN, f'{key}: '):
        load_config(write(MINIMAL + f'{key}: {{x: 1}}\n'))


def test_the_text_of_a_config_is_read_as_the_same_config(write):
    config = load_config(
        write(MINIMAL), ['execution.scheduler_lines="export X=\\${HOME}"', 'exploration.timestep_fs=1e-2']
    )
    assert '${HOME}' in config.execution.scheduler_lines
    assert load_config(write(config_text(config), 'again.yaml')) == config


def test_the_hash_depends_only_on_the_content(write):
    config = load_config(write(MINIMAL))
    spelled_out = load_config(write('# other\n' + config_text(config), 'elsewhere/b.yaml'))
    assert config_hash(spelled_out) == config_hash(config)
    assert len(config_hash(config)) == 64
    assert config_hash(load_config(write(MINIMAL), ['random_seed=1'])) != config_hash(config)
    other_order = MINIMAL.replace('{Cu: 0.5, Au: 0.5}', '{Au: 0.5, Cu: 0.5}')
    assert config_hash(load_config(write(other_order))) == config_hash(config)


FILES = """
name: moved
generation:
  - {kind: structures, files: [seeds.xyz]}
calculator: {kind: sevennet, model: my.pth}
sampling: {kind: random, reference_dataset: reference.xyz}
storage: {database: /somewhere/moved.db}
"""


def test_the_hash_depends_on_the_content_of_files_but_not_on_their_folder(write):
    def load(folder, **changed):
        for name in ('seeds.xyz', 'reference.xyz'):
            element = changed.get(name, 'Cu')
            write(f'1\nLattice="4 0 0 0 4 0 0 0 4" pbc="T T T"\n{element} 0 0 0\n', f'{folder}/{name}')
        write(changed.get('my.pth', b'weights'), f'{folder}/my.pth')
        return load_config(write(FILES.replace('/somewhere', f'/{folder}'), f'{folder}/campaign.yaml'))

    here = config_hash(load('here'))
    assert config_hash(load('there')) == here
    for name, content in {'seeds.xyz': 'Ag', 'reference.xyz': 'Ag', 'my.pth': b'others'}.items():
        assert config_hash(load('other', **{name: content})) != here, name


def test_a_config_whose_file_was_deleted_cannot_be_hashed(write):
    file = write('1\nLattice="4 0 0 0 4 0 0 0 4" pbc="T T T"\nCu 0 0 0\n', 'a.xyz')
    config = load_config(write('name: x\ngeneration: [{kind: structures, files: [a.xyz]}]\n'))
    file.unlink()
    with refused(Code.FILE_UNREADABLE, 'a.xyz'):
        config_hash(config)


def test_a_dumped_config_has_the_same_hash():
    data = {'name': 'é', 'generation': [{'kind': 'alloy', 'composition': {'Cu': 1}}]}
    with pytest.raises(ConfigError):
        validate_config(data, Path())
    data['name'] = 'e'
    dumped = validate_config(data, Path()).model_dump(mode='json')
    assert config_hash(CampaignConfig.model_validate(dumped)) == config_hash(validate_config(data, Path()))


def test_a_missing_config_file_is_refused(tmp_path):
    with refused(Code.FILE_MISSING, str(tmp_path / 'nowhere.yaml')):
        load_config(tmp_path / 'nowhere.yaml')


def test_only_the_version_of_a_newer_file_is_reported(write):
    newer = f'schema_version: {CONFIG_VERSION + 1}\nnew_section: {{what: ever}}\nrandom_seed: many\n'
    with pytest.raises(ConfigError) as raised:
        load_config(write(MINIMAL + newer))
    (fault,) = raised.value.faults
    assert (fault.code, fault.path) == (Code.SCHEMA_VERSION, 'schema_version')
    assert fault.given == str(CONFIG_VERSION + 1)


def test_the_default_schema_version_is_the_current_one_and_is_shown(write):
    config = load_config(write(MINIMAL))
    assert config.schema_version == CONFIG_VERSION
    assert f'\nschema_version: {CONFIG_VERSION}\n' in config_text(config)
    assert load_config(write(MINIMAL + f'schema_version: {CONFIG_VERSION}\n')) == config


EXAMPLES = sorted((Path(__file__).parents[2] / 'workchains' / 'configs').glob('*.yaml'))


@pytest.mark.parametrize('path', EXAMPLES, ids=[path.stem for path in EXAMPLES])
def test_every_example_config_is_valid_and_equals_the_one_with_all_values(path):
    config = load_config(path)
    assert config.name == path.stem
    assert validate_config(yaml.safe_load(config_text(config)), path.parent) == config


def test_the_removed_time_limit_of_sqs_is_ignored_if_it_is_not_set_and_otherwise_refused(tmp_path):
    def load(limit):
        sqs = {'n_restarts': 2, 'time_limit_s': limit}
        entry = {'kind': 'alloy', 'arrangement': 'sqs', 'composition': {'Cu': 0.5, 'Au': 0.5}, 'sqs': sqs}
        return validate_config({'name': 'x', 'generation': [entry]}, tmp_path)

    assert load(None).generation[0].sqs.n_restarts == 2
    with refused(Code.KEY_RENAMED, 'generation[0].sqs', 'validation.time_limit_s'):
        load(60)


ENTRY = 'generation: [{kind: alloy, composition: {Cu: 1}}]\n'


@pytest.mark.parametrize(
    ('text', 'code', 'place'),
    [
        ('name: x\ngeneration: [{kind: surface, of: {kind: [x]}}]\n', Code.KIND_UNKNOWN, 'generation[0].of'),
        (f'name: x\ngeneration: [{{kind: formula, formula: Ti{"9" * 300}}}]', Code.FORMULA_INVALID, 'formula'),
        (f'name: x\ngeneration: [{{kind: structures, files: [{"x" * 5000}]}}]', Code.FILE_MISSING, 'files[0]'),
        ('name: x\ngeneration: [{kind: structures, files: [~nobody/x.cif]}]', Code.FILE_MISSING, 'files[0]'),
        ("name: x\ngeneration: [{kind: structures, files: ['a\\0.cif']}]", Code.FILE_MISSING, 'files[0]'),
        (
            'name: x\ngeneration: [{kind: alloy, composition_grid: {elements: [Cu, Au], step: 1e-12}}]',
            Code.OUT_OF_RANGE,
            'generation[0].composition_grid.step',
        ),
        (
            'name: x\ngeneration: [{kind: alloy, composition_grid: {elements: [Cu, Au, Ag, Ni, Pd, Pt], step: 0.01}}]',
            Code.OUT_OF_RANGE,
            'generation[0].composition_grid',
        ),
        (
            f'name: x\ngeneration: [{{kind: alloy, composition: {{Cu: 1}}, n_seeds: {"9" * 25}}}]',
            Code.OUT_OF_RANGE,
            'generation[0].n_seeds',
        ),
        (f'name: {"n" * 101}\n{ENTRY}', Code.WRONG_LENGTH, 'name'),
        (f'name: -rf\n{ENTRY}', Code.WRONG_PATTERN, 'name'),
        (f'name: --help\n{ENTRY}', Code.WRONG_PATTERN, 'name'),
        (f"name: '12'\n{ENTRY}", Code.WRONG_PATTERN, 'name'),
        (f'name: x\n{ENTRY}execution: {{queue: "a\\nb"}}\n', Code.WRONG_PATTERN, 'execution.queue'),
        (f'name: x\n{ENTRY}execution: {{account: "a\\0"}}\n', Code.WRONG_PATTERN, 'execution.account'),
        (f'name: x\n{ENTRY}execution: {{scheduler_lines: "a\\0"}}\n', Code.WRONG_PATTERN, 'scheduler_lines'),
        (f'name: x\n{ENTRY}storage: {{database: {"x" * 300}.db}}\n', Code.WRONG_LENGTH, 'storage.database'),
        (f'name: x\n{ENTRY}storage: {{database: .}}\n', Code.FILE_SUFFIX, 'storage.database'),
        (f'name: x\n{ENTRY}random_seed: true\n', Code.TYPE_WRONG, 'random_seed'),
        (f'name: x\n{ENTRY}exploration: {{temperature_K: [300, true]}}\n', Code.TYPE_WRONG, 'temperature_K[1]'),
        ('name: x\ngeneration: [{kind: alloy, composition: {Cu: true}}]\n', Code.TYPE_WRONG, 'composition.Cu'),
        (
            'name: x\ngeneration: [{kind: alloy, composition: {Cu: 1}, perturb: {rattle_A: true}}]\n',
            Code.TYPE_WRONG,
            'generation[0].perturb.rattle_A',
        ),
    ],
)
def test_an_extreme_value_is_refused_with_its_place(write, text, code, place):
    with refused(code, place):
        load_config(write(text))


@pytest.mark.parametrize(
    'override', ['a' * 300 + '=1', f'x={"[" * 3000}', f'random_seed={"9" * 5000}', 'x=' + 'y' * 20_000]
)
def test_an_extreme_override_is_refused(write, override):
    with refused(Code.OVERRIDE_INVALID):
        load_config(write(MINIMAL), [override])


def test_the_home_folder_of_the_database_is_expanded(write, monkeypatch):
    monkeypatch.setenv('HOME', '/home/me')
    config = load_config(write(MINIMAL + 'storage: {database: ~/cu.db}\n'))
    assert config.storage.database == Path('/home/me/cu.db')
