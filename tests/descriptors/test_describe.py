"""The descriptors that the settings of a sampler require are found at any depth."""

from support.sampling import sampling

from aiida_mlip_autopipe.descriptors.describe import required_descriptors
from aiida_mlip_autopipe.descriptors.soap.settings import SoapSettings
from aiida_mlip_autopipe.sampling.samplers.fps import FpsSettings


def test_descriptors_are_found_in_inner_samplers():
    nested = {
        'kind': 'mix',
        'parts': [
            {'fraction': 0.5, 'sampler': {'kind': 'environment', 'descriptor': {'kind': 'soap'}}},
            {'fraction': 0.5, 'sampler': {'kind': 'fps', 'descriptor': {'kind': 'learned'}}},
            {'fraction': 0.5, 'sampler': {'kind': 'of a third party', 'descriptor': 7}},
        ],
    }
    assert list(required_descriptors(nested)) == [
        ('.parts[0].sampler.descriptor', 'environments', {'kind': 'soap'}),
        ('.parts[1].sampler.descriptor', 'structures', {'kind': 'learned'}),
    ]


def test_the_descriptor_of_a_coverage_target_is_found():
    settings = sampling('random', coverage_target={'score': 0.9, 'descriptor': {'kind': 'learned'}})
    expected = ('.coverage_target.descriptor', 'structures', {'kind': 'learned'})
    assert list(required_descriptors(settings.model_dump())) == [expected]


def test_soap_is_the_default_descriptor():
    assert FpsSettings.model_validate({'descriptor': {'n_max': 3}}).descriptor == SoapSettings(n_max=3)
