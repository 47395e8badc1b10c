"""Composition of a config from its file, presets and overrides, with the compose API of Hydra."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import yaml

from aiida_mlip_autopipe.config.overrides import Override, explain_failure, parse_override
from aiida_mlip_autopipe.config.presets import find_preset
from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import AutopipeError, CombinedError, first_line
from aiida_mlip_autopipe.core.yaml_file import read_yaml_file

# Hydra reserves these keys. They are not sections, so validation refuses them.
_HYDRA_KEYS = ('defaults', 'hydra')


def compose_config(data: Mapping[str, Any], overrides: Sequence[str], folders: Sequence[Path]) -> dict[str, Any]:
    """Apply presets and overrides to a config.

    Overrides take precedence over presets, presets over the file, and later presets over earlier ones.

    Parameters
    ----------
    data
        The content of the config file.
    overrides
        Changes, such as ``sampling.n_structures=500``, ``generation[0].n_seeds=3``, ``+exploration=anneal`` or
        ``~storage.database``.
    folders
        The folders that contain presets. Earlier folders take precedence.

    Raises
    ------
    AutopipeError
        One message for each override that cannot be applied.
    """
    parsed: list[Override] = []
    errors: list[AutopipeError] = []
    for text in overrides:
        try:
            parsed.append(parse_override(text))
        except AutopipeError as error:
            errors.append(error)
    presets = {}
    for override in parsed:
        for name in override.presets:
            try:
                presets[override.keys[0], name] = _read_preset(override.keys[0], name, folders)
            except AutopipeError as error:
                errors.append(error)
    if errors:
        raise CombinedError(errors)

    kept = _with_new_entries(_without_replaced(data, presets), parsed)
    # Hydra reads copies in a temporary folder, so the files of the user may have any name and are read strictly. In the
    # copies, all strings are quoted, so that Hydra does not change their types.
    with tempfile.TemporaryDirectory() as folder:
        _write(Path(folder) / 'config.yaml', kept)
        for (section, name), content in presets.items():
            _write(Path(folder) / section / f'{name}.yaml', content)
        composed = _compose(Path(folder), kept, parsed)
    return composed | {key: data[key] for key in _HYDRA_KEYS if key in data}


def _without_replaced(data: Mapping[str, Any], presets: Mapping[tuple[str, str], Any]) -> dict[str, Any]:
    """Return the sections of the file without the settings that a preset replaces: phases replace `n_steps`."""
    kept = {key: value for key, value in data.items() if key not in _HYDRA_KEYS}
    exploration = kept.get('exploration')
    has_phases = any(section == 'exploration' and 'phases' in content for (section, _), content in presets.items())
    if has_phases and isinstance(exploration, Mapping):
        kept['exploration'] = {key: value for key, value in exploration.items() if key != 'n_steps'}
    return kept


def _with_new_entries(data: dict[str, Any], overrides: Sequence[Override]) -> dict[str, Any]:
    """Return the data with an empty entry at the end of each list to which an override adds one.

    Hydra can change only entries that exist.
    """
    extended = deepcopy(data)
    for override in overrides:
        value: Any = extended
        for number, key in enumerate(override.keys):
            if isinstance(value, list):
                if override.value is not None and key.isdigit() and int(key) == len(value):
                    value.append({} if number + 1 < len(override.keys) or override.value.startswith('{') else None)
                value = value[int(key)] if key.isdigit() and int(key) < len(value) else None
            else:
                value = value.get(key) if isinstance(value, Mapping) else None
    return extended


def _read_preset(section: str, name: str, folders: Sequence[Path]) -> dict[str, Any]:
    path = find_preset(section, name, folders)
    content = read_yaml_file(path)
    if 'defaults' in content:
        raise AutopipeError(Code.KEY_UNKNOWN, f'{path}: a preset must not contain the key `defaults`')
    return content


def _write(path: Path, content: Mapping[str, Any]) -> None:
    path.parent.mkdir(exist_ok=True)
    text = yaml.safe_dump(dict(content), default_style='"', sort_keys=False, allow_unicode=True)
    path.write_text(text, encoding='utf-8')


def _compose(folder: Path, data: Mapping[str, Any], overrides: Sequence[Override]) -> dict[str, Any]:
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    # Hydra does not wrap the errors of an invalid list index, a number with thousands of digits and deep nesting.
    failures = (HydraException, OmegaConfBaseException, ValueError, TypeError, RecursionError)
    joined = _join_presets(overrides)
    try:
        return _call_hydra(folder, joined)
    except failures as error:
        errors: list[AutopipeError] = []
        for override in joined:
            try:
                _call_hydra(folder, [override])
            except failures as own_error:
                errors.append(_explain(override, data, own_error))
        raise CombinedError(errors or [_explain(None, data, error)]) from error


def _explain(override: Override | None, data: Mapping[str, Any], error: Exception) -> AutopipeError:
    from hydra.errors import OverrideParseException
    from omegaconf.errors import InterpolationResolutionError, OmegaConfBaseException

    reason = first_line(error).rstrip('.')
    if isinstance(error, InterpolationResolutionError):
        reason = re.sub(r'^Interpolation', 'interpolation', reason)
        message = f'{error.full_key}: {reason}; write \\${{ for a literal ${{'
        return AutopipeError(Code.INTERPOLATION_FAILED, message)
    if override is not None:
        message = explain_failure(override, data, reason, unreadable=isinstance(error, OverrideParseException))
        return AutopipeError(Code.OVERRIDE_INVALID, message)
    where = f'{error.full_key}: ' if isinstance(error, OmegaConfBaseException) and error.full_key else ''
    return AutopipeError(Code.CONFIG_INVALID, f'the config cannot be composed: {where}{reason}')


def _join_presets(overrides: Sequence[Override]) -> list[Override]:
    """Join the presets of each section into one override, because Hydra accepts only one for each group."""
    joined: dict[str, Override] = {}
    for override in overrides:
        if override.presets:
            section = override.keys[0]
            earlier = joined.get(section, Override('', override.keys, None))
            text = f'{earlier.text} {override.text}'.strip()
            joined[section] = Override(text, override.keys, None, (*earlier.presets, *override.presets))
    return [*joined.values(), *(override for override in overrides if not override.presets)]


def _call_hydra(folder: Path, overrides: Sequence[Override]) -> dict[str, Any]:
    from hydra import compose, initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra
    from omegaconf import OmegaConf

    # The state of Hydra is global, and the calling program may use it too.
    previous = GlobalHydra.instance().hydra
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(version_base='1.3', config_dir=str(folder)):
            config = compose('config', overrides=[override.hydra_text for override in overrides])
    finally:
        GlobalHydra.instance().clear()
        if previous is not None:
            GlobalHydra.instance().initialize(previous)
    composed = OmegaConf.to_container(config, resolve=True)
    assert isinstance(composed, dict)
    return {str(key): value for key, value in composed.items()}
