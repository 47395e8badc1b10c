"""The settings of a training run: the sections ``training`` and ``execution``, from a file or from options."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from aiida_mlip_autopipe.config.campaign import AnyTraining
from aiida_mlip_autopipe.config.compose import compose_config
from aiida_mlip_autopipe.config.execution import ExecutionSettings
from aiida_mlip_autopipe.config.faults import faults_of
from aiida_mlip_autopipe.config.presets import preset_folders
from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError, ConfigError
from aiida_mlip_autopipe.core.settings import Settings
from aiida_mlip_autopipe.core.yaml_file import read_yaml_file


class TrainingConfig(Settings):
    """How a model is trained on a dataset."""

    training: AnyTraining
    """The trainer, its model and its recipe."""
    execution: ExecutionSettings = ExecutionSettings()
    """Where and how the jobs run."""


def load_training(
    path: Path | None, options: Mapping[str, Any] | None = None, overrides: Sequence[str] = ()
) -> TrainingConfig:
    """Read and validate the settings of a training run.

    Parameters
    ----------
    path
        A YAML file with the section ``training`` and, if necessary, ``execution``; None to use only the options.
        Relative paths are relative to its folder.
    options
        Values of the section ``training`` that replace those of the file. Relative paths are relative to the working
        directory.
    overrides
        Changes, such as ``training.n_epochs=20``.

    Raises
    ------
    ConfigError
        With all faults of the settings.
    AutopipeError
        If the file cannot be read, is the config of a campaign, or an override cannot be applied.
    """
    folder = Path.cwd() if path is None else path.absolute().parent
    content = {'training': {}} if path is None else read_yaml_file(path)
    if 'generation' in content:
        raise AutopipeError(
            Code.KEY_UNKNOWN,
            f'{path}: this is the config of a campaign; copy only the section training and, if necessary, execution '
            'to a separate file',
        )
    given = dict(options or {})
    if 'model' in given and Path(given['model']).exists():
        given['model'] = str(Path(given['model']).absolute())
    # Anything but a mapping is reported by the validation.
    if given and isinstance(content.get('training') or {}, dict):
        content = {**content, 'training': {**(content.get('training') or {}), **given}}
    data = compose_config(content, overrides, preset_folders(folder))
    try:
        return TrainingConfig.model_validate(data, context={'folder': folder})
    except ValidationError as error:
        raise ConfigError(faults_of(error, data, TrainingConfig)) from None
