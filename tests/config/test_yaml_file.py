import re

import pytest

from aiida_mlip_autopipe.config.yaml_file import read_yaml_file, yaml_text
from aiida_mlip_autopipe.core.errors import AutopipeError


def test_words_that_yaml_1_1_takes_for_booleans_are_texts(write):
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
def test_plain_scalars_are_what_they_look_like(write, text, value):
    assert read_yaml_file(write(f'key: {text}\n')) == {'key': value}


def test_merged_mappings_give_way_to_own_keys(write):
    text = 'a: &a {x: 1, y: 2}\nb: &b {y: 3, z: 4}\nc:\n  x: 9\n  <<: [*a, *b]\n'
    assert read_yaml_file(write(text))['c'] == {'x': 9, 'y': 2, 'z': 4}


@pytest.mark.parametrize(
    ('text', 'sentence'),
    [
        ('', 'campaign.yaml is empty; `mlip-autopipe config init` writes a file to start from'),
        ('# only a comment\n', 'campaign.yaml is empty'),
        ('- a\n- b\n', 'campaign.yaml: the file must be a mapping of sections such as `name: …`, it is a list'),
        ('just words\n', 'it is a single value'),
        ('name: x\nname: y\n', "campaign.yaml, line 2: the key 'name' stands twice"),
        ('a:\n  - {b: 1, c: 2, b: 3}\n', "line 2: the key 'b' stands twice"),
        ('a: 1\nb: [1, 2\nc: 3\n', 'campaign.yaml, line 3, column 2: this is not valid YAML'),
        ('a:\n\t- 1\n', 'line 2, column 1: this is not valid YAML'),
        ('a: *nowhere\n', 'line 1, column 4: this is not valid YAML (found undefined alias'),
        ('a: 1\n---\nb: 2\n', 'this is not valid YAML (but found another document)'),
        ('29: 0.5\n', 'line 1: the key 29 is not a text; quote it'),
        ('a: 1\ntrue: 0.5\n', 'line 2: the key true is not a text; quote it'),
        ('[a, b]: 0.5\n', 'line 1: the key a list is not a text; quote it'),
        ('a: !!python/object:os.system x\n', 'line 1: the tag !!python/object:os.system is not supported'),
        ('a: &a\n  b: *a\n', 'line 1: this anchor contains itself'),
        ('a: {<<: 3}\n', 'line 1: << takes a mapping or a list of mappings'),
        (b'name: \xff\xfe\n', 'campaign.yaml is not a text file in UTF-8'),
        ('name: \x07\n', 'campaign.yaml: this is not valid YAML'),
    ],
)
def test_a_bad_file_is_refused_in_one_sentence(write, text, sentence):
    with pytest.raises(AutopipeError, match=re.escape(sentence)) as error:
        read_yaml_file(write(text))
    assert '\n' not in str(error.value)


def test_a_file_that_cannot_be_read_is_named(tmp_path, write, monkeypatch):
    with pytest.raises(AutopipeError, match=r'there is no file .*nowhere\.yaml'):
        read_yaml_file(tmp_path / 'nowhere.yaml')
    with pytest.raises(AutopipeError, match='is a folder, not a file'):
        read_yaml_file(tmp_path)
    with pytest.raises(AutopipeError, match='cannot be read: Not a directory'):
        read_yaml_file(write('a: 1\n') / 'file.yaml')


@pytest.mark.parametrize('text', ['No', '1e5', '1e-3', '.5', '007', 'null', '${HOME}/x', 'a: b', '', 'é', 'x\ny'])
def test_written_texts_stay_texts(write, text):
    written = write(yaml_text({'key': [text]}))
    assert read_yaml_file(written)['key'] == [text.replace('${', r'\${')]
