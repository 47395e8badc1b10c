"""Old names in a config, with the names that replaced them, and configs of earlier schema versions."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.errors import Fault
from aiida_mlip_autopipe.core.phrases import path_text, value_text
from aiida_mlip_autopipe.exploration.unused import without_effect

RENAMED_KEYS = {
    'generation': {'min_height_factor': 'min_width_factor'},
    'exploration': {
        'stages': 'phases',
        'rescue': 'recovery',
        'max_rescues': 'max_recoveries',
        'lowest': 'min',
        'highest': 'max',
    },
    'sampling': {
        'given': 'reference_dataset',
        'test_share': 'test_fraction',
        'valid_share': 'valid_fraction',
        'crash_share': 'crash_fraction',
        'near_equilibrium_share': 'near_equilibrium_fraction',
        'share': 'fraction',
        'n_kinds': 'n_clusters',
        'max_force_eV_A': 'max_force_eV_per_A',
    },
    'execution': {'min_success_share': 'min_success_fraction'},
}
"""Renamed keys by section, at any depth of the section."""
_ENTRIES = {'knowledge': 'formula'}
RENAMED_KINDS = {
    'generation': {'kind': _ENTRIES},
    'exploration': {'kind': {'quench': 'velocity_reset'}},
    'sampling': {'held_out_kinds': _ENTRIES},
}
"""Renamed kinds by section, then by the key whose value they are."""
# The kind `grain_boundary` was called `interface`, which is now another kind. Only `grain_boundary` has these fields.
OLD_INTERFACE = {'of', 'axes', 'characters', 'n_tilt_planes', 'max_sigma', 'sigmas', 'rigid_shift', 'merge_factor'}
# Keys under which users choose the names.
_FREE = {'parameters'}


def translate_old_names(data: Mapping[str, Any]) -> tuple[dict[str, Any], list[Fault]]:
    """Replace old names with new ones, so that the rest of the file can be validated.

    Parameters
    ----------
    data
        The content of a config file.

    Returns
    -------
    data
        The content with new names only.
    faults
        One for each old name.
    """
    faults: list[Fault] = []
    translated = {section: _translate(value, section, (section,), faults) for section, value in data.items()}
    return translated, faults


def _translate(value: Any, section: str, path: tuple[str | int, ...], faults: list[Fault]) -> Any:
    if isinstance(value, Mapping):
        return _translate_mapping(value, section, path, faults)
    if isinstance(value, list | tuple):
        return [_translate(one, section, (*path, number), faults) for number, one in enumerate(value)]
    key = next(name for name in reversed(path) if isinstance(name, str))
    kinds = RENAMED_KINDS.get(section, {}).get(key, {})
    if not isinstance(value, str) or value not in kinds:
        return value
    faults.append(_renamed_kind(path, value, kinds[value]))
    return kinds[value]


def _is_old_interface(values: Mapping[str, Any]) -> bool:
    is_new = values.keys() & {'film', 'substrate'}
    return values.get('kind') == 'interface' and not is_new and bool(values.keys() & OLD_INTERFACE)


def _renamed_kind(path: tuple[str | int, ...], old: str, new: str) -> Fault:
    return Fault(Code.KIND_RENAMED, path_text(path), repr(old), f'this kind is now called {new!r}')


def _translate_mapping(
    values: Mapping[str, Any], section: str, path: tuple[str | int, ...], faults: list[Fault]
) -> dict[str, Any]:
    names = RENAMED_KEYS.get(section, {})
    found: dict[str, Any] = {}
    if section == 'generation' and _is_old_interface(values):
        faults.append(_renamed_kind((*path, 'kind'), 'interface', 'grain_boundary'))
        values = {**values, 'kind': 'grain_boundary'}
    for key, value in values.items():
        name = names.get(key, key)
        if name != key:
            allowed = f'this key is now called {name!r}'
            faults.append(Fault(Code.KEY_RENAMED, path_text((*path, key)), value_text(value), allowed))
            if name in values:
                continue
        found[name] = value if key in _FREE else _translate(value, section, (*path, name), faults)
    return found


def upgrade_config(data: Mapping[str, Any], version: int) -> Mapping[str, Any]:
    """Return the content of a config in the current schema.

    Version 1 accepted exploration settings that had no effect, and wrote a minimum width of 0 for `cell: as_given`.

    Parameters
    ----------
    data
        The content of a config file. A file without `schema_version` has the current version.
    version
        The current version.
    """
    if data.get('schema_version') != 1:
        return data
    upgraded = {**deepcopy(dict(data)), 'schema_version': version}
    exploration = upgraded.get('exploration')
    if isinstance(exploration, dict):
        unused = without_effect(exploration) | ({'n_steps'} if exploration.get('phases') else set())
        for name in unused & exploration.keys():
            del exploration[name]
    for entry in upgraded.get('generation') or ():
        validation = entry.get('validation') if isinstance(entry, dict) else None
        if isinstance(validation, dict) and validation.get('min_width_factor') == 0:
            del validation['min_width_factor']
            validation['cell'] = 'as_given'
    return upgraded
