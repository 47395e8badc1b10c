from pathlib import Path

import pytest
from support.errors import refused

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.yaml_file import read_yaml_file, yaml_text


@pytest.fixture
def write(tmp_path):
    def write_file(content: str | bytes, name: str = 'campaign.yaml') -> Path:
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write_file


def test_words_that_are_booleans_in_yaml_1_1_are_strings(write):
    text = 'elements: [No, Y, on, off, yes]\nflag: true\n"n": ~\n'
    assert read_yaml_file(write(text)) == {'elements': ['No', 'Y', 'on', 'off', 'yes'], 'flag': True, 'n': None}


@pytest.mark.parametrize(
    ('text', 'value'),
    [
        ('1e-3', 0.001),
        ('-1.5E+2', -150.0),
        ('.5', 0.5),
        ('007', 7),
        ('12:30:00', '12:30:00'),
        ('2024-01-01', '2024-01-01'),
        ('"1e-3"', '1e-3'),
        ('-.inf', float('-inf')),
        ('', None),
        ("''", ''),
    ],
)
def test_plain_scalars_are_read_with_the_core_schema_of_yaml_1_2(write, text, value):
    assert read_yaml_file(write(f'key: {text}\n')) == {'key': value}


def test_keys_of_a_mapping_override_merged_ones(write):
    text = 'a: &a {x: 1, y: 2}\nb: &b {y: 3, z: 4}\nc:\n  x: 9\n  <<: [*a, *b]\n'
    assert read_yaml_file(write(text))['c'] == {'x': 9, 'y': 2, 'z': 4}


@pytest.mark.parametrize(
    ('text', 'values'),
    [
        ('', ('`mlip-autopipe config init`',)),
        ('# only a comment\n', ('`mlip-autopipe config init`',)),
        ('- a\n- b\n', ('list',)),
        ('just words\n', ('single value',)),
        ('name: x\nname: y\n', ('line 2: ', "'name'")),
        ('a:\n  - {b: 1, c: 2, b: 3}\n', ('line 2: ', "'b'")),
        ('a: 1\nb: [1, 2\nc: 3\n', ('line 3, column 2: ',)),
        ('a:\n\t- 1\n', ('line 2, column 1: ',)),
        ('a: *nowhere\n', ('line 1, column 4: ', 'found undefined alias')),
        ('a: 1\n---\nb: 2\n', ('but found another document',)),
        ('29: 0.5\n', ('line 1: ', '29')),
        ('a: 1\ntrue: 0.5\n', ('line 2: ', 'true')),
        ('[a, b]: 0.5\n', ('line 1: ', 'list')),
        ('a: !!python/object:os.system x\n', ('line 1: ', '!!python/object:os.system')),
        ('a: &a\n  b: *a\n', ('line 1: ', 'anchor')),
        ('a: {<<: 3}\n', ('line 1: ', '<<')),
        ('name: \x07\n', ('#x0007',)),
    ],
)
def test_an_invalid_file_is_refused_on_one_line(write, text, values):
    with refused(Code.YAML_INVALID, 'campaign.yaml', *values) as caught:
        read_yaml_file(write(text))
    assert '\n' not in str(caught.value)


def test_the_error_names_a_file_that_cannot_be_read(tmp_path, write):
    with refused(Code.FILE_MISSING, str(tmp_path / 'nowhere.yaml')):
        read_yaml_file(tmp_path / 'nowhere.yaml')
    with refused(Code.NOT_A_FILE, str(tmp_path)):
        read_yaml_file(tmp_path)
    with refused(Code.FILE_UNREADABLE, 'campaign.yaml', 'Not a directory'):
        read_yaml_file(write('a: 1\n') / 'file.yaml')
    with refused(Code.FILE_UNREADABLE, 'latin.yaml', 'UTF-8'):
        read_yaml_file(write(b'name: \xff\xfe\n', 'latin.yaml'))


@pytest.mark.parametrize('text', ['No', '1e5', '1e-3', '.5', '007', 'null', '${HOME}/x', 'a: b', '', 'é', 'x\ny'])
def test_written_strings_are_read_as_strings(write, text):
    written = write(yaml_text({'key': [text]}))
    assert read_yaml_file(written)['key'] == [text.replace('${', r'\${')]


LAUGHS = 'a0: &a0 [x, x]\n' + ''.join(f'a{n}: &a{n} [{", ".join([f"*a{n - 1}"] * 9)}]\n' for n in range(1, 9))


@pytest.mark.parametrize(
    ('text', 'values'),
    [
        (f'a: {"[" * 41}{"]" * 41}\n', ('line 1', '40')),
        (f'a: {"[" * 50_000}\n', ('40',)),
        (f'a: {"{b: " * 5000}1{"}" * 5000}\n', ('40',)),
        (LAUGHS, ('100000',)),
        (f'\na: {"9" * 31}\n', ('line 2', '31', '30')),
        (f'a: [{"x, " * 400_000}]\n', ('1 MB',)),
    ],
    ids=['deep', 'unclosed', 'deep mappings', 'aliases', 'digits', 'size'],
)
def test_a_file_beyond_a_limit_is_refused(write, text, values):
    with refused(Code.YAML_INVALID, *values):
        read_yaml_file(write(text))


def test_an_endless_file_is_refused():
    with refused(Code.YAML_INVALID, '/dev/zero'):
        read_yaml_file(Path('/dev/zero'))
