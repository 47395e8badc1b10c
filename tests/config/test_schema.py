import json

from aiida_mlip_autopipe.config import CampaignConfig, config_schema
from aiida_mlip_autopipe.exploration import CALCULATORS
from aiida_mlip_autopipe.generation import GENERATORS
from aiida_mlip_autopipe.sampling import SAMPLERS


def kinds(schema, union):
    models = [schema['$defs'][member['$ref'].rpartition('/')[2]] for member in union]
    return {model['properties']['kind']['const'] for model in models}


def test_the_schema_is_json_and_contains_every_kind():
    schema = json.loads(json.dumps(config_schema()))
    properties = schema['properties']
    assert set(properties) == set(CampaignConfig.model_fields)
    assert schema['required'] == ['name', 'generation']
    assert schema['additionalProperties'] is False
    assert kinds(schema, properties['generation']['items']['oneOf']) == set(GENERATORS)
    assert kinds(schema, properties['calculator']['anyOf']) == set(CALCULATORS)
    assert kinds(schema, properties['sampling']['anyOf']) == set(SAMPLERS)


def test_every_section_has_a_description():
    schema = config_schema()
    assert all(field.get('description') for field in schema['properties'].values())
