"""The settings of an exploration, divided into the inputs of a job.

Settings that change when a run is extended are separate: the number of steps is an input, and the last phase omits its
steps unless it is a ramp. The other settings of a run and of its extension are therefore equal. Settings that determine
how often files are written do not affect the frames, so they are separate, too.
"""

from __future__ import annotations

from typing import Any

from aiida_mlip_autopipe.exploration.settings.kinds import DEFAULT_KIND, KINDS, AnyExploration, unset
from aiida_mlip_autopipe.exploration.settings.novelty import reference_of
from aiida_mlip_autopipe.jobs.contract import REFERENCE_FILE

WRITING = ('checkpoint_interval', 'walltime_margin_s')
"""Settings that determine only how often files are written, and how long before its wall-time limit a job ends."""

# Settings of the dynamics that were added later, with their defaults; see `omit_added`.
ADDED: dict[str, Any] = {'cell': 'isotropic', 'tension_GPa': None}
ADDED_NOVELTY: dict[str, Any] = {'threshold': None, 'threshold_quantile': None, 'reference_dataset': None}
ADDED_GUARDS: dict[str, Any] = {'width_factor': 0.7, 'angle_change_deg': 20.0}


def split_settings(settings: AnyExploration) -> tuple[dict[str, Any], int, dict[str, Any]]:
    """Return the settings that determine the frames, the number of steps, and the other settings, as JSON.

    Parameters
    ----------
    settings
        The settings. Fields that a subclass adds are omitted.
    """
    fields = set(KINDS[settings.kind].model_fields) - {'n_steps', *WRITING}
    if settings.kind == DEFAULT_KIND:
        fields -= {'kind'}  # so that runs match those stored before the other kinds existed
    content = omit_added(settings.model_dump(mode='json', include=fields - unset(settings)))
    if reference_of(settings.novelty) is not None:
        # The environments are a separate input, which is identified by its content.
        content['novelty']['reference_dataset'] = REFERENCE_FILE
    if content.get('phases') and content['phases'][-1]['kind'] != 'ramp':
        content['phases'][-1]['n_steps'] = None
    return content, settings.total_steps, settings.model_dump(mode='json', include=set(WRITING))


def omit_added(content: dict[str, Any]) -> dict[str, Any]:
    """Return settings as JSON without those that were added later, if they have their defaults.

    A run with the defaults therefore equals one whose settings were written before the additions.
    """
    kept = {name: value for name, value in content.items() if name not in ADDED or value != ADDED[name]}
    for section, added in (('guards', ADDED_GUARDS), ('novelty', ADDED_NOVELTY)):
        if isinstance(kept.get(section), dict):
            kept[section] = {
                name: value for name, value in kept[section].items() if name not in added or value != added[name]
            }
    return kept


def join_settings(content: dict[str, Any], n_steps: int, writing: dict[str, Any] | None = None) -> dict[str, Any]:
    """Combine the parts of the settings, without validating them.

    Raises
    ------
    ValueError
        If the steps of the phases do not add up to the steps of the run.
    """
    joined = {**content, **(writing or {})}
    phases = [dict(phase) for phase in content.get('phases') or ()]
    if not phases:
        return {**joined, 'n_steps': n_steps} if n_steps else joined
    last = phases[-1]
    before = sum(phase['n_steps'] for phase in phases[:-1])
    if last.get('n_steps') is None:
        last['n_steps'] = n_steps - before
    if before + last['n_steps'] != n_steps:
        raise ValueError(f'the steps of the phases add up to {before + last["n_steps"]} instead of n_steps, {n_steps}')
    return {**joined, 'phases': phases}
