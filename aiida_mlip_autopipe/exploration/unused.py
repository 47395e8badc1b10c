"""The names of the ensembles, and settings that have no effect in the ensemble of a run.

If the settings name the ensemble, those without effect are refused. If the ensemble depends on the seed, they are
reported.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.fields import fault

NPT = ('npt', 'npt_anisotropic', 'npt_flexible', 'npt_in_plane')
"""The constant-pressure ensembles. Their names contain the setting `cell`, except for ``isotropic``."""
CHANGING_SHAPE = NPT[1:]
"""Those in which the shape of the cell changes."""
SCALED_IN_ALL_DIRECTIONS = NPT[:3]
"""Those in which the cell may be scaled in all directions."""

UNUSED: Mapping[str, tuple[str, ...]] = {
    'nve': ('thermostat', 'thermostat_time_fs', 'barostat_time_fs', 'pressure_GPa', 'cell', 'tension_GPa'),
    'nvt': ('barostat_time_fs', 'pressure_GPa', 'cell', 'tension_GPa'),
    'npt': ('thermostat',),
    'npt_anisotropic': ('thermostat',),
    'npt_flexible': ('thermostat',),
    'npt_in_plane': ('thermostat',),
    'relax_positions': ('pressure_GPa', 'stress_GPa'),
    'relax_normal': ('pressure_GPa', 'stress_GPa'),
}
"""The settings without effect in each ensemble."""
RELAXATIONS: Mapping[str, str] = {
    'relax_cell': 'of the cell',
    'relax_positions': 'of positions',
    'relax_normal': 'along the normal',
}
"""The words that name each relaxation in a message."""


ISOTROPIC = 'isotropic'
SHAPE_GUARDS = ('width_factor', 'angle_change_deg')
"""The guards of a cell that changes its shape."""


def without_effect(settings: Mapping[str, Any]) -> set[str]:
    """Return the names of settings that have no effect in the ensemble that these unvalidated settings request."""
    ensemble = f'relax_{settings.get("degrees")}' if settings.get('kind') == 'relax' else settings.get('ensemble')
    names = set(_names(str(ensemble)))
    if 'cell' in names or settings.get('cell', ISOTROPIC) == ISOTROPIC:
        names |= {'tension_GPa', *(f'guards.{name}' for name in SHAPE_GUARDS)}
    elif settings['cell'] == 'anisotropic':
        names.add('guards.angle_change_deg')
    return names


def _names(ensemble: str) -> tuple[str, ...]:
    """Return the settings without effect in an ensemble that the user names. Only NPT is refused because of vacuum."""
    return (*UNUSED[ensemble], *(() if ensemble == 'npt' else ('vacuum_A',))) if ensemble in UNUSED else ()


def unused_settings(settings: Any, ensemble: str, chosen: bool = False) -> dict[str, Any]:
    """Return the settings without effect that differ from their defaults.

    Parameters
    ----------
    settings
        Settings of an exploration.
    ensemble
        The ensemble, or what is relaxed.
    chosen
        Whether the ensemble was chosen for a structure. If the settings name it, `vacuum_A` is used only to refuse NPT
        and the relaxation of a cell.
    """
    names = UNUSED.get(ensemble, ()) if chosen else _names(ensemble)
    if chosen and ensemble == 'npt':
        names = (*names, 'cell', 'tension_GPa')
    fields = type(settings).model_fields
    unused = {name: getattr(settings, name) for name in names if getattr(settings, name) != fields[name].default}
    if 'pressure_GPa' in names:
        unused |= _named(settings, 'pressure_GPa', [n for n, phase in enumerate(settings.phases) if phase.pressure_GPa])
    if ensemble == 'nve':
        unused |= _named(settings, 'temperature_K', _changing_temperature(settings))
    return unused | (_unused_guards(settings.guards, ensemble) if chosen else {})


def refuse_unused(settings: Any, ensemble: str) -> None:
    """Refuse settings without effect in the ensemble that the settings name, unless it is ``auto``."""
    if ensemble != 'auto' and (unused := unused_settings(settings, ensemble)):
        named = ', '.join(unused)
        raise fault(Code.VALUES_EXCLUDE, f'{named} would have no effect in {name_of(ensemble)}; leave out {named}')


def refuse_without_effect(settings: BaseModel, names: Iterable[str], why: str) -> None:
    """Refuse settings that differ from their defaults although another setting makes them irrelevant."""
    for name in names:
        value = getattr(settings, name)
        if value != type(settings).model_fields[name].default:
            raise fault(Code.VALUES_EXCLUDE, f'{name} would have no effect, because {why}; leave out {name}')


def name_of(ensemble: str) -> str:
    """Return the name of an ensemble, or of a relaxation, for a message."""
    if ensemble.startswith('relax'):
        return f'a relaxation {RELAXATIONS[ensemble]}'
    name, *cell = ensemble.split('_', 1)
    return f'{name.upper()} ({cell[0]})' if cell else name.upper()


def describe_unused(settings: Any, ensemble: str, reason: str) -> list[str]:
    """Return a sentence without a full stop for each setting without effect in an ensemble that was chosen.

    Parameters
    ----------
    settings
        Settings of an exploration.
    ensemble, reason
        The choice for a structure.
    """
    return [
        f'{name} has no effect in {name_of(ensemble)} ({reason})'
        for name in unused_settings(settings, ensemble, chosen=True)
    ]


def _unused_guards(guards: Any, ensemble: str) -> dict[str, Any]:
    """Return the guards that differ from their defaults and have no effect in an ensemble that was chosen."""
    names = () if ensemble in CHANGING_SHAPE else SHAPE_GUARDS
    if ensemble not in (*NPT, 'relax_cell'):
        names = (*names, 'volume_factor')
    fields = type(guards).model_fields
    changed = {name: getattr(guards, name) for name in names if name in fields}
    return {f'guards.{name}': value for name, value in changed.items() if value != fields[name].default}


def _named(settings: Any, name: str, numbers: list[int]) -> dict[str, Any]:
    return {f'phases[{number}].{name}': getattr(settings.phases[number], name) for number in numbers}


def _changing_temperature(settings: Any) -> list[int]:
    """Return the phases in which a thermostat would change the temperature."""
    temperature, changing = settings.temperature_K, []
    for number, phase in enumerate(settings.phases):
        if phase.temperature_K is None:
            continue
        if phase.kind != 'velocity_reset' and phase.temperature_K != temperature:
            changing.append(number)
        temperature = phase.temperature_K
    return changing
