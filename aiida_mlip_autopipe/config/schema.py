"""Help for writing a config file: a commented example, and a JSON schema for editors."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

from aiida_mlip_autopipe.config.campaign import DEFAULT_KINDS, CampaignConfig


def starter_config() -> str:
    """Return a commented config file of a small campaign, which can be run unchanged."""
    return files('aiida_mlip_autopipe.config').joinpath('starter.yaml').read_text(encoding='utf-8')


def config_schema() -> dict[str, Any]:
    """Return the JSON schema of the config file, for completion and validation in editors."""
    schema: dict[str, Any] = CampaignConfig.model_json_schema()
    for section in DEFAULT_KINDS:
        # A section without a `kind` has the default kind, so it may match the schemas of several kinds.
        properties = schema['properties'][section]
        properties['anyOf'] = properties.pop('oneOf')
        properties.pop('discriminator')
    return {'$schema': 'https://json-schema.org/draft/2020-12/schema', **schema}
