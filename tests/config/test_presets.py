import pytest
from support.errors import refused

from aiida_mlip_autopipe.config import load_config
from aiida_mlip_autopipe.config.presets import PACKAGE_FOLDER, PRESET_SECTIONS, known_presets, preset_folders
from aiida_mlip_autopipe.core.codes import Code

CAMPAIGN = 'name: x\ngeneration: [{kind: alloy, composition: {Cu: 1.0}}]\n'
SHIPPED = sorted((path.parent.name, path.stem) for path in PACKAGE_FOLDER.glob('*/*.yaml'))


@pytest.mark.parametrize(('section', 'name'), SHIPPED)
def test_each_preset_of_the_package_is_valid(write, section, name):
    assert section in PRESET_SECTIONS
    config = load_config(write(CAMPAIGN), [f'+{section}={name}'])
    assert getattr(config, section) != getattr(load_config(write(CAMPAIGN)), section)


def test_presets_next_to_the_file_take_precedence_over_those_of_the_user_and_the_package(
    write, tmp_path, no_presets_of_the_user
):
    path = write(CAMPAIGN)

    def temperature():
        return load_config(path, ['+exploration=anneal']).exploration.temperature_K

    assert temperature() == 300
    write('temperature_K: 222\n', no_presets_of_the_user / 'exploration' / 'anneal.yaml')
    assert temperature() == 222
    write('temperature_K: 111\n', 'presets/exploration/anneal.yaml')
    assert temperature() == 111
    write('temperature_K: 7\n', 'presets/exploration/own.yaml')
    assert {'anneal', 'gentle', 'own'} <= set(known_presets('exploration', preset_folders(tmp_path)))


def test_without_xdg_config_home_the_presets_of_the_user_are_in_the_home_directory(monkeypatch, tmp_path):
    monkeypatch.delenv('XDG_CONFIG_HOME')
    monkeypatch.setenv('HOME', str(tmp_path))
    assert preset_folders(tmp_path)[1] == tmp_path / '.config' / 'mlip-autopipe' / 'presets'


@pytest.mark.parametrize(
    ('override', 'code', 'values'),
    [
        ('+exploration=aneal', Code.CHOICE_UNKNOWN, ("'aneal'", 'exploration', 'anneal, ', "'anneal'?")),
        ('+storage=fast', Code.CHOICE_UNKNOWN, ("'fast'", 'storage')),
        ('+exploration=broken', Code.YAML_INVALID, ('broken.yaml, line 2, column 1',)),
        ('+exploration=hollow', Code.YAML_INVALID, ('hollow.yaml',)),
        ('+exploration=nested', Code.KEY_UNKNOWN, ('nested.yaml', 'defaults')),
    ],
)
def test_an_invalid_preset_is_refused_on_one_line(write, override, code, values):
    write('{\n', 'presets/exploration/broken.yaml')
    write('', 'presets/exploration/hollow.yaml')
    write('defaults: [anneal]\n', 'presets/exploration/nested.yaml')
    with refused(code, *values) as caught:
        load_config(write(CAMPAIGN), [override])
    assert '\n' not in str(caught.value)


def test_a_fault_in_a_preset_is_reported_with_its_place_in_the_config(write):
    write('temperature_K: -1\n', 'presets/exploration/cold.yaml')
    with refused(Code.OUT_OF_RANGE, 'exploration.temperature_K: ', '-1', '0'):
        load_config(write(CAMPAIGN), ['+exploration=cold'])


def test_the_phases_of_a_preset_replace_the_steps_of_the_file(write):
    path = write('name: x\ngeneration:\n  - {kind: alloy, composition: {Cu: 1}}\nexploration: {n_steps: 50}\n')
    assert load_config(path).exploration.total_steps == 50
    assert load_config(path, ['+exploration=melt_quench']).exploration.total_steps == 7000
