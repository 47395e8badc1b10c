"""The database queries of a config, which are sent before the campaign runs."""

from __future__ import annotations

from aiida_mlip_autopipe.config.campaign import CampaignConfig
from aiida_mlip_autopipe.config.checks.campaign import find_conflicts
from aiida_mlip_autopipe.core.errors import ConfigError
from aiida_mlip_autopipe.generation import answer_queries


def ask_databases(config: CampaignConfig) -> CampaignConfig:
    """Return a config in which files with the answers replace the queries. Without queries, the config is unchanged.

    Raises
    ------
    AutopipeError
        If a query fails.
    ConfigError
        If the calculator does not support an element of an answer.
    """
    generation = answer_queries(config.generation)
    if generation == config.generation:
        return config
    answered = config.model_copy(update={'generation': generation})
    conflicts = find_conflicts({**dict(config), 'generation': generation})
    if conflicts:
        raise ConfigError(conflicts)
    return answered
