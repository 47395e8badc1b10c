"""The schema of the config file, and the steps from YAML, presets and overrides to a validated config."""

from aiida_mlip_autopipe.config.campaign import CampaignConfig, config_hash, config_text
from aiida_mlip_autopipe.config.load import load_config, validate_config
from aiida_mlip_autopipe.config.queries import ask_databases
from aiida_mlip_autopipe.config.schema import config_schema, starter_config

__all__ = [
    'CampaignConfig',
    'ask_databases',
    'config_hash',
    'config_schema',
    'config_text',
    'load_config',
    'starter_config',
    'validate_config',
]
