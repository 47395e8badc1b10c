"""The settings file of a labelling run without a campaign: the sections ``labelling`` and ``execution`` of a config."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from aiida_mlip_autopipe.config.campaign import AnyLabelling
from aiida_mlip_autopipe.config.checks.labelling import labelling_faults
from aiida_mlip_autopipe.config.compose import compose_config
from aiida_mlip_autopipe.config.execution import ExecutionSettings
from aiida_mlip_autopipe.config.faults import faults_of
from aiida_mlip_autopipe.config.presets import preset_folders
from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError, ConfigError
from aiida_mlip_autopipe.core.settings import Settings
from aiida_mlip_autopipe.core.yaml_file import read_yaml_file


class LabellingConfig(Settings):
    """How the structures of a dataset are labelled."""

    labelling: AnyLabelling
    """The reference method."""
    execution: ExecutionSettings = ExecutionSettings()
    """Where and how the jobs run."""


def load_labelling(path: Path, overrides: Sequence[str] = ()) -> LabellingConfig:
    """Read and validate the settings of a labelling run.

    Parameters
    ----------
    path
        A YAML file with the section ``labelling`` and, if necessary, ``execution``. Relative paths are relative to its
        folder.
    overrides
        Changes, such as ``labelling.time_limit_s=600``.

    Raises
    ------
    ConfigError
        With all faults of the file.
    AutopipeError
        If the file cannot be read, is the config of a campaign, or an override cannot be applied.
    """
    folder = path.absolute().parent
    content = read_yaml_file(path)
    if 'generation' in content:
        raise AutopipeError(
            Code.KEY_UNKNOWN,
            f'{path}: this is the config of a campaign; copy only the section labelling and, if necessary, execution '
            'to a separate file',
        )
    data = compose_config(content, overrides, preset_folders(folder))
    try:
        config = LabellingConfig.model_validate(data, context={'folder': folder})
    except ValidationError as error:
        raise ConfigError(faults_of(error, data, LabellingConfig)) from None
    if faults := list(labelling_faults({'labelling': config.labelling})):
        raise ConfigError(faults)
    return config
