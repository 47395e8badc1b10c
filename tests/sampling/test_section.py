import pytest
from pydantic import TypeAdapter
from support.errors import refused
from support.sampling import sampling

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.descriptors.soap.settings import SoapSettings
from aiida_mlip_autopipe.sampling import (
    SAMPLERS,
    SamplerSettings,
    SelectionSettings,
    sampling_union,
    section_class,
    split_section,
)
from aiida_mlip_autopipe.sampling.samplers.fps import FpsSettings

FIELDS = {'mix': {'parts': [{'fraction': 1, 'sampler': {'kind': 'random'}}]}}


@pytest.mark.parametrize('kind', SAMPLERS)
def test_a_section_contains_the_settings_of_the_selection_and_of_its_sampler(kind):
    section = sampling(kind, n_structures=7, test_fraction=0.2, **FIELDS.get(kind, {}))
    assert TypeAdapter(sampling_union()).validate_python(section.model_dump(mode='json')) == section
    selection, sampler = split_section(section)
    assert selection == SelectionSettings(n_structures=7, test_fraction=0.2)
    assert type(sampler) is SAMPLERS.load(kind).settings_class
    assert not set(type(sampler).model_fields) & set(SelectionSettings.model_fields)


def test_the_settings_of_a_sampler_do_not_change():
    _, sampler = split_section(sampling('fps', coverage_radius=0.1, descriptor={'n_max': 4}))
    assert sampler == FpsSettings(coverage_radius=0.1, descriptor=SoapSettings(n_max=4))


def test_a_sampler_cannot_have_a_setting_of_the_selection(monkeypatch):
    class GreedySettings(SamplerSettings):
        n_structures: int = 5

    monkeypatch.setattr(SAMPLERS.load('random'), 'settings_class', GreedySettings)
    with refused(Code.PLUGIN_BROKEN, 'GreedySettings', 'n_structures'):
        section_class('random')
