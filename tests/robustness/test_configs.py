"""Arbitrary and mutated configs and overrides: each is refused with an `AutopipeError`, or is a valid config."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
import yaml
from support.properties import changed, damaged, examples, given, little_memory, st, thoroughly, values, words

from aiida_mlip_autopipe.config import config_text, load_config
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.core.yaml_file import read_yaml_text, yaml_text

CONFIGS = Path(__file__).parents[2] / 'workchains' / 'configs'
TEXTS = {
    name: (CONFIGS / f'{name}.yaml').read_text()
    for name in ('alloy_full', 'surface_full', 'normal_modes_full', 'labelling', 'novelty', 'committee')
}
KEYS = ['name', 'generation[0].n_seeds', 'exploration.temperature_K', 'execution.code', 'sampling', 'storage.database']


@pytest.fixture(autouse=True)
def no_presets(tmp_path, monkeypatch):
    monkeypatch.setenv('XDG_CONFIG_HOME', str(tmp_path))


def load(path, overrides=()):
    """Load a config. If it is valid, its text is valid too."""
    with little_memory(), contextlib.suppress(AutopipeError):
        config_text(load_config(path, overrides))


@thoroughly
def test_arbitrary_text_is_refused_or_is_a_mapping(profile):
    lines = st.sampled_from(
        ['a: 1', '- b', '? [', '&a [*a]', '<<: 3', '!!python/object/apply:os.system [x]', '{a: &x 1}']
    )
    texts = st.one_of(st.text(max_size=80), st.lists(lines, max_size=6).map('\n'.join))

    @examples(profile)
    @given(texts)
    def run(text):
        with contextlib.suppress(AutopipeError):
            assert isinstance(read_yaml_text(text, 'x'), dict)

    run()


@thoroughly
def test_a_config_with_damaged_text_is_refused_or_is_valid(profile, tmp_path):
    path = tmp_path / 'x.yaml'

    @examples(profile, 0.5)
    @given(st.sampled_from(sorted(TEXTS)).flatmap(lambda name: damaged(TEXTS[name].encode())))
    def run(content):
        path.write_bytes(content)
        load(path)

    run()


@thoroughly
def test_a_config_with_arbitrary_values_is_refused_or_is_valid(profile, tmp_path):
    path = tmp_path / 'x.yaml'
    configs = {name: yaml.safe_load(text) for name, text in TEXTS.items()}

    @examples(profile)
    @given(st.sampled_from(sorted(configs)).flatmap(lambda name: changed(configs[name])))
    def run(content):
        path.write_text(yaml_text(content) if isinstance(content, dict) else str(content), errors='replace')
        load(path)

    run()


@thoroughly
def test_arbitrary_overrides_are_refused_or_give_a_valid_config(profile, tmp_path):
    path = tmp_path / 'x.yaml'
    path.write_text(TEXTS['alloy_full'])
    signs = st.sampled_from(['', '+', '++', '~'])
    plain = st.tuples(signs, st.sampled_from(KEYS), words | values.map(str)).map(
        lambda one: f'{one[0]}{one[1]}={one[2]}'
    )

    @examples(profile, 0.5)
    @given(st.lists(st.one_of(st.text(max_size=40), plain), min_size=1, max_size=2))
    def run(overrides):
        load(path, overrides)

    run()
