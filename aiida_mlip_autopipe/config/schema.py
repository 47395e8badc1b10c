"""Help for writing a config file: a commented file to start from, and its JSON schema for editors."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

from aiida_mlip_autopipe.config.campaign import DEFAULT_KINDS, CampaignConfig


def starter_config() -> str:
    """Return a config file with comments: a small campaign that runs as it is."""
    return files('aiida_mlip_autopipe.config').joinpath('starter.yaml').read_text(encoding='utf-8')


def config_schema() -> dict[str, Any]:
    """Return the JSON schema of the config file, with which editors complete and check it."""
    schema: dict[str, Any] = CampaignConfig.model_json_schema()
    for section in DEFAULT_KINDS:
        # Without a `kind` the default is meant, and the values of several kinds may fit: no fault of the file.
        properties = schema['properties'][section]
        properties['anyOf'] = properties.pop('oneOf')
        properties.pop('discriminator')
    return {'$schema': 'https://json-schema.org/draft/2020-12/schema', **schema}
