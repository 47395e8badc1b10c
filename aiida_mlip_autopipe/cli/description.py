"""The summary of a config that `config check` prints."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from aiida_mlip_autopipe.config.checks.labelling import labelling_calculators
from aiida_mlip_autopipe.core.wording import counted
from aiida_mlip_autopipe.exploration import AnyExploration
from aiida_mlip_autopipe.exploration.settings.dynamics import RangeSettings

if TYPE_CHECKING:
    from aiida_mlip_autopipe.calculators import CalculatorSettings
    from aiida_mlip_autopipe.config import CampaignConfig
    from aiida_mlip_autopipe.config.summary import ConfigSummary
    from aiida_mlip_autopipe.exploration.settings.dynamics import ExplorationSettings
    from aiida_mlip_autopipe.labelling.cost import Cost


def describe_config(config: CampaignConfig, summary: ConfigSummary) -> Table:
    """Return a config and its summary as a table."""
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_row('campaign', Text(summary.name, style='bold'))
    for number, entry in enumerate(summary.entries):
        example = f', such as {entry.example}' if entry.example else ''
        if entry.thickness_A is not None:
            example += f', {entry.thickness_A:.1f} Å thick'
        if config.generation[number].exploration:
            example += f'; exploration: {_describe_exploration(config.exploration_of(number), [entry.timestep_fs])}'
        table.add_row('' if number else 'seeds', Text(f'{_count(entry.n_seeds)} of kind {entry.kind}{example}'))
    for warning in summary.warnings:
        table.add_row('', Text(warning, style='yellow'))
    members = [' '.join(filter(None, (one.kind, getattr(one, 'model', None)))) for one in _members(config)]
    calculator = f'{summary.calculator} of {", ".join(members)}' if members else summary.calculator
    table.add_row('calculator', Text(', '.join(filter(None, (calculator, summary.model)))))
    pairs = zip(summary.entries, config.generation, strict=True)
    timesteps_fs = [entry.timestep_fs for entry, settings in pairs if not settings.exploration]
    table.add_row('exploration', Text(_describe_exploration(config.exploration, timesteps_fs)))
    frames = (
        'an unknown number of frames' if summary.n_frames is None else f'at most {counted(summary.n_frames, "frame")}'
    )
    selection = Text(f'{summary.n_structures} of {frames} by {summary.sampler}')
    if summary.coverage_score is not None:
        selection.append(f', or fewer if these reach a coverage score of {summary.coverage_score:g}')
    elif summary.has_too_few_frames:
        selection.append('; fewer frames than requested are available', style='yellow')
    if summary.n_always_selected:
        selection.append(f'; in addition, {counted(summary.n_always_selected, "frame")} of always_selected_kinds')
    table.add_row('selection', selection)
    if summary.labeller is not None:
        kinds = [summary.labeller, *(one.kind for one in labelling_calculators({'labelling': config.labelling}))]
        table.add_row('labels', Text(' '.join(dict.fromkeys(kinds))))
    if (rounds := config.rounds) is not None:
        budget = '' if rounds.label_budget is None else f' and {counted(rounds.label_budget, "label")}'
        limits = f'at most {counted(rounds.maximum, "round")}{budget}'
        table.add_row(
            'rounds', Text(f'until the force error is below {rounds.target_force_error_eV_A:g} eV/Å; {limits}')
        )
    table.add_row('dataset', Text(str(summary.database)))
    return table


def core_time(seconds: float) -> str:
    """Return a predicted processor time as text."""
    if seconds < 360:
        return f'about {counted(round(seconds), "core second")}'
    hours = seconds / 3600
    return f'about {hours:.1f} core hours' if hours < 10 else f'about {hours:,.0f} core hours'


def describe_cost(cost: Cost | None) -> str:
    """Return the predicted cost of labels as text."""
    if cost is None:
        return (
            'unknown: the cost of this labeller cannot be predicted before the first labels at this level on this '
            'computer'
        )
    n = cost.n_measured
    made = f'corrected using {counted(n, "label")}' if n else 'not corrected, since no label was'
    range_ = f'{core_time(3600 * cost.core_hours)} within a factor of {cost.uncertainty:.2g}'
    return f'{range_}, {made} made on this computer'


def _count(n_seeds: int | None) -> str:
    return 'an unknown number' if n_seeds is None else str(n_seeds)


def _describe_exploration(exploration: AnyExploration, timesteps_fs: Sequence[float | None]) -> str:
    """Return an exploration as text. Its time follows from the time steps of the first seeds."""
    if exploration.kind == 'single_point':
        return 'single points'
    if exploration.kind == 'normal_modes':
        return (
            f'{counted(exploration.n_steps, "structure")} displaced along normal modes at '
            f'{_values(exploration.temperature_K)} K'
        )
    interval = 'step' if exploration.frame_interval == 1 else f'{exploration.frame_interval} steps'
    if exploration.kind == 'deform':
        last = exploration.n_steps * exploration.strain_per_step
        failure = '' if exploration.failure_fraction is None else ' or to failure'
        return (
            f'{exploration.mode} deformation to a strain of {last:g}{failure}, in at most '
            f'{counted(exploration.n_steps, "step")}, a frame every {interval}'
        )
    if exploration.kind == 'relax':
        return f'relaxation in at most {counted(exploration.n_steps, "step")}, a frame every {interval}'
    time = _time(exploration.total_steps, timesteps_fs)
    phases = f' in {counted(len(exploration.phases), "phase")}' if exploration.phases else ''
    cell = '' if exploration.cell == 'isotropic' else f', cell {exploration.cell}'
    return (
        f'{counted(exploration.total_steps, "step")}{time}{phases} at {_values(exploration.temperature_K)} K, '
        f'ensemble {exploration.ensemble}{cell}{_load(exploration)}, a frame every {interval}'
    )


def _members(config: CampaignConfig) -> tuple[CalculatorSettings, ...]:
    members: tuple[CalculatorSettings, ...] = getattr(config.calculator, 'members', ())
    return members


def _load(exploration: ExplorationSettings) -> str:
    """Return the pressure and the tension as text; empty if both are zero."""
    pressure = '' if exploration.pressure_GPa == 0 else f', pressure {_values(exploration.pressure_GPa)} GPa'
    if exploration.tension_GPa is None:
        return pressure
    components = ', '.join(f'{name} {value:g}' for name, value in exploration.tension_GPa if value)
    return f'{pressure}, tension {components} GPa'


def _time(n_steps: int, timesteps_fs: Sequence[float | None]) -> str:
    times = [f'{n_steps * timestep / 1000:.3g}' for timestep in sorted(filter(None, timesteps_fs))]
    if not times:
        return ''
    return f' ({times[0]} ps)' if times[0] == times[-1] else f' ({times[0]} to {times[-1]} ps)'


def _values(value: float | tuple[float, ...] | RangeSettings) -> str:
    if isinstance(value, RangeSettings):
        return f'{value.min:g} to {value.max:g}'
    return ', '.join(f'{item:g}' for item in (value if isinstance(value, tuple) else (value,)))
