"""How calculators find their models: files and shipped models."""

import pytest
from support.errors import refused

from aiida_mlip_autopipe.calculators.base import ModelSettings, existing_file
from aiida_mlip_autopipe.config import load_config
from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.exploration import CALCULATORS, resolve_model

KINDS = [kind for kind in CALCULATORS if issubclass(CALCULATORS.load(kind).settings_class, ModelSettings)]


def test_the_calculators_that_have_models_are_known():
    assert {'sevennet', 'mace', 'chgnet'} <= set(KINDS)


@pytest.mark.parametrize('kind', KINDS)
def test_a_relative_path_is_relative_to_the_config_file(kind, tmp_path, monkeypatch):
    (tmp_path / 'my.model').write_bytes(b'weights')
    (tmp_path / 'campaign.yaml').write_text(
        'name: x\ngeneration: [{kind: alloy, composition: {Cu: 1}}]\n'
        f'calculator: {{kind: {kind}, model: my.model, cutoff_A: 6.0}}\n'
    )
    monkeypatch.chdir('/')
    settings = load_config(tmp_path / 'campaign.yaml').calculator
    assert resolve_model(settings) == tmp_path / 'my.model'
    assert not CALCULATORS.make(settings).uses_shipped_model


@pytest.mark.parametrize('kind', KINDS)
def test_an_unknown_model_name_is_refused(kind):
    loader = CALCULATORS.load(kind)
    with refused(Code.MODEL_NOT_LOADED, 'no-such-model', *loader.shipped_models):
        loader(loader.settings_class(model='no-such-model')).resolve_model()


def test_a_link_to_a_missing_model_is_refused_with_its_sha256_and_path(tmp_path):
    link = tmp_path / 'link.pth'
    link.symlink_to('/models/gone.pth')
    with refused(Code.MODEL_MISSING, 'a' * 64, '/models/gone.pth'):
        existing_file(str(link), 'a' * 64)
