"""Reading and validation of config files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from aiida_mlip_autopipe.config.campaign import CONFIG_VERSION, CampaignConfig, complete_sections
from aiida_mlip_autopipe.config.checks.campaign import find_conflicts
from aiida_mlip_autopipe.config.compose import compose_config
from aiida_mlip_autopipe.config.faults import faults_of
from aiida_mlip_autopipe.config.presets import preset_folders
from aiida_mlip_autopipe.config.renamed import translate_old_names, upgrade_config
from aiida_mlip_autopipe.core.errors import ConfigError
from aiida_mlip_autopipe.core.yaml_file import read_yaml_file


def load_config(path: Path | str, overrides: Sequence[str] = ()) -> CampaignConfig:
    """Read, compose and validate a config file.

    Paths of structure and model files are relative to the folder of the config file. ``storage.database`` is an output,
    so it is relative to the current directory.

    Parameters
    ----------
    path
        The YAML file.
    overrides
        Changes, such as ``sampling.n_structures=500``, ``generation[0].n_seeds=3`` or ``+exploration=anneal``.
        Overrides take precedence over presets, and presets over the file.

    Raises
    ------
    ConfigError
        With all faults of the config.
    AutopipeError
        If the file cannot be read or an override cannot be applied.
    """
    path = Path(path)
    data = read_yaml_file(path)
    folder = path.absolute().parent
    return validate_config(compose_config(data, overrides, preset_folders(folder)), folder)


def validate_config(data: Mapping[str, Any], folder: Path) -> CampaignConfig:
    """Validate the content of a config file.

    Parameters
    ----------
    data
        The composed content.
    folder
        The folder for relative paths of input files.

    Raises
    ------
    ConfigError
        With all faults of the config; for a newer ``schema_version``, with this fault only.
    """
    data, renamed = translate_old_names(upgrade_config(data, CONFIG_VERSION))
    data = complete_sections(data)
    try:
        config = CampaignConfig.model_validate(data, context={'folder': folder})
    except ValidationError as error:
        faults = faults_of(error, data, CampaignConfig)
        faulty = {details['loc'][0] for details in error.errors() if details['loc']}
        if 'schema_version' in faulty:
            # The rules of a newer version are unknown.
            raise ConfigError([fault for fault in faults if fault.path == 'schema_version']) from None
        sections = _validate_sections(data, folder, faulty)
        raise ConfigError([*renamed, *faults, *find_conflicts(sections)]) from None
    conflicts = find_conflicts({name: getattr(config, name) for name in CampaignConfig.model_fields})
    if renamed or conflicts:
        raise ConfigError([*renamed, *conflicts])
    return config


def _validate_sections(data: Mapping[str, Any], folder: Path, faulty: set[int | str]) -> dict[str, Any]:
    """Return the valid sections, so that conflicts between them are reported together with the other faults."""
    sections = {}
    for name, field in CampaignConfig.model_fields.items():
        if name in faulty:
            continue
        if name in data:
            adapter: TypeAdapter[Any] = TypeAdapter(field.rebuild_annotation())
            sections[name] = adapter.validate_python(data[name], context={'folder': folder})
        else:
            sections[name] = field.get_default(call_default_factory=True)
    return sections
