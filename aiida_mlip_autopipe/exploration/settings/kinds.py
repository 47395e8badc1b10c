"""The kinds of exploration, and how their settings are read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field, TypeAdapter

from aiida_mlip_autopipe.exploration.settings.deform import DeformSettings
from aiida_mlip_autopipe.exploration.settings.dynamics import ExplorationSettings
from aiida_mlip_autopipe.exploration.settings.normal_modes import NormalModesSettings
from aiida_mlip_autopipe.exploration.settings.static import RelaxSettings, SinglePointSettings

AnyExploration = DeformSettings | ExplorationSettings | NormalModesSettings | RelaxSettings | SinglePointSettings

DEFAULT_KIND = 'dynamics'
KINDS: dict[str, type[AnyExploration]] = {
    DEFAULT_KIND: ExplorationSettings,
    'deform': DeformSettings,
    'normal_modes': NormalModesSettings,
    'relax': RelaxSettings,
    'single_point': SinglePointSettings,
}
"""The settings model of each kind."""

OPTIONAL = ('novelty', 'bias')
"""Settings that are omitted from the identity of a run unless they are set, so that runs from before these settings
existed keep their identity."""

_ADAPTER: TypeAdapter[AnyExploration] = TypeAdapter(Annotated[AnyExploration, Field(discriminator='kind')])


def unset(settings: AnyExploration) -> set[str]:
    """Return the optional settings that are not set."""
    return {name for name in OPTIONAL if getattr(settings, name) is None}


def read_exploration(content: Mapping[str, Any]) -> AnyExploration:
    """Return the settings of an exploration of any kind; the default kind is molecular dynamics.

    Raises
    ------
    pydantic.ValidationError
        If the settings are invalid.
    """
    return _ADAPTER.validate_python({'kind': DEFAULT_KIND, **content})
