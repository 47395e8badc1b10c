"""Change a validated config, such as that of an earlier campaign, with the overrides of a config file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel

from aiida_mlip_autopipe.config.campaign import CampaignConfig
from aiida_mlip_autopipe.config.compose import compose_config
from aiida_mlip_autopipe.config.load import validate_config
from aiida_mlip_autopipe.config.overrides import Override, parse_override
from aiida_mlip_autopipe.config.presets import preset_folders
from aiida_mlip_autopipe.core.errors import AutopipeError
from aiida_mlip_autopipe.generation import GeneratorSettings
from aiida_mlip_autopipe.sampling.selection_settings import SelectionSettings

# The settings that all kinds of a section have. The others are dropped if an override changes the kind.
COMMON: dict[str, type[BaseModel]] = {'generation': GeneratorSettings, 'sampling': SelectionSettings}


def change_config(config: CampaignConfig, overrides: Sequence[str], folder: Path) -> CampaignConfig:
    """Apply presets and overrides to a config.

    If an override changes the kind of a section, only the settings that all kinds of this section have are kept.

    Parameters
    ----------
    config
        The config.
    overrides
        Changes, as in `load_config`.
    folder
        The folder for relative paths of input files in the overrides, and for presets.

    Raises
    ------
    ConfigError
        With all faults of the changed config.
    AutopipeError
        If an override cannot be applied.
    """
    content = given_settings(config)
    for text in overrides:
        try:
            override = parse_override(text)
        except AutopipeError:  # reported when the override is applied
            continue
        _drop_other_kind(content, override)
    return validate_config(compose_config(content, overrides, preset_folders(folder)), folder)


def given_settings(config: CampaignConfig) -> dict[str, Any]:
    """Return the settings that differ from their defaults, as the content of a config file.

    A default is not a choice of the user: it may have no effect for another kind or ensemble, and is then refused.
    """
    complete = config.model_dump(mode='json')
    return dict(_as_written(config.model_dump(mode='json', exclude_defaults=True), complete))


def _as_written(content: Any, complete: Any) -> Any:
    """Return settings without defaults as they are written in a file.

    The kind of each section is added, because it is also the default of its model. Text that looks like an
    interpolation was escaped in the file.
    """
    if isinstance(content, Mapping):
        kind = {'kind': complete['kind']} if 'kind' in complete else {}
        return kind | {key: _as_written(value, complete[key]) for key, value in content.items()}
    if isinstance(content, list):
        return [_as_written(*pair) for pair in zip(content, complete, strict=True)]
    return content.replace('${', r'\${') if isinstance(content, str) else content


def _drop_other_kind(content: dict[str, Any], override: Override) -> None:
    """Remove the settings of a section that belong to a kind other than the one that an override sets."""
    path, kind = override.keys, None
    if path[-1] == 'kind':
        path, kind = path[:-1], override.value
    elif override.value is not None and override.value.startswith('{'):
        kind = _kind_of(override.value)
    section: Any = content
    for key in path:
        if isinstance(section, list):
            section = section[int(key)] if key.isdigit() and int(key) < len(section) else None
        else:
            section = section.get(key) if isinstance(section, dict) else None
    if kind is None or not isinstance(section, dict) or section.get('kind', kind) == kind:
        return
    common = COMMON[path[0]].model_fields if path[0] in COMMON else {}
    for key in section.keys() - common.keys():
        del section[key]


def _kind_of(text: str) -> str | None:
    """Return the kind in a mapping that an override sets."""
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:  # reported when the override is applied
        return None
    kind = value.get('kind') if isinstance(value, dict) else None
    return None if kind is None else str(kind)
