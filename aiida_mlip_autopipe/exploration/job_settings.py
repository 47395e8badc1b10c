"""Settings of an exploration as inputs of a job: those that change when a run is extended are separate.

The number of steps is a separate input, and the last stage omits its steps unless it is a ramp, so other settings of
a run and of a longer one are equal. How often something is written does not affect the frames and is also separate.
"""

from __future__ import annotations

from typing import Any

from aiida_mlip_autopipe.exploration.settings import ExplorationSettings

WRITING = ('checkpoint_interval', 'walltime_margin_s')
"""Settings that only say how often something is written, or when a job ends itself."""


def split_settings(settings: ExplorationSettings) -> tuple[dict[str, Any], int, dict[str, Any]]:
    """Return the settings that determine the frames, the number of steps of the run, and the rest; JSON only.

    Parameters
    ----------
    settings
        The settings; fields that a subclass adds are left out.
    """
    fields = set(ExplorationSettings.model_fields)
    content = settings.model_dump(mode='json', include=fields - {'n_steps', *WRITING})
    if content['stages'] and content['stages'][-1]['kind'] != 'ramp':
        content['stages'][-1]['n_steps'] = None
    return content, settings.total_steps, settings.model_dump(mode='json', include=set(WRITING))


def join_settings(content: dict[str, Any], n_steps: int, writing: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return the settings from their parts; they are validated elsewhere.

    Raises
    ------
    ValueError
        If the stages do not have as many steps as the whole run.
    """
    joined = {**content, **(writing or {})}
    stages = [dict(stage) for stage in content.get('stages') or ()]
    if not stages:
        return {**joined, 'n_steps': n_steps}
    last = stages[-1]
    before = sum(stage['n_steps'] for stage in stages[:-1])
    if last.get('n_steps') is None:
        last['n_steps'] = n_steps - before
    if before + last['n_steps'] != n_steps:
        raise ValueError(f'the stages have {before + last["n_steps"]} steps, but n_steps is {n_steps}')
    return {**joined, 'stages': stages}
