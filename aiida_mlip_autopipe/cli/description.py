"""What a config describes, in a few lines."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from aiida_mlip_autopipe.config.checks import check_seeds
from aiida_mlip_autopipe.exploration.settings import ExplorationSettings, RangeSettings
from aiida_mlip_autopipe.generation import count_seeds

if TYPE_CHECKING:
    from aiida_mlip_autopipe.config import CampaignConfig


def describe_config(config: CampaignConfig) -> Table:
    """Return what a config describes; the first seed of each entry is made, so an impossible entry is found.

    Raises
    ------
    AutopipeError
        If a seed cannot be made.
    """
    exploration, sampling = config.exploration, config.sampling
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_row('campaign', Text(config.name, style='bold'))
    seeds = check_seeds(config)
    for number, (entry, seed) in enumerate(zip(config.generation, seeds, strict=True)):
        example = f', {seed.atoms.get_chemical_formula()} for example' if seed else ''
        table.add_row('' if number else 'seeds', Text(f'{count_seeds([entry])} of kind {entry.kind}{example}'))
    model = getattr(config.calculator, 'model', None)
    table.add_row('calculator', Text(f'{config.calculator.kind}{f", {model}" if model else ""}'))
    table.add_row('exploration', Text(_describe_exploration(exploration)))
    n_frames = config.n_frames
    selection = Text(f'{sampling.n_structures} of at most {n_frames} frames by {sampling.kind}')
    if sampling.coverage_target is not None:
        selection.append(f', or as few as reach a coverage score of {sampling.coverage_target.score:g}')
    elif sampling.n_structures > n_frames:
        selection.append('; there are fewer frames than structures asked for', style='yellow')
    table.add_row('selection', selection)
    table.add_row('dataset', Text(str(config.database)))
    return table


def _describe_exploration(exploration: ExplorationSettings) -> str:
    stages = f' in {len(exploration.stages)} stages' if exploration.stages else ''
    return (
        f'{exploration.total_steps} steps{stages} at {_values(exploration.temperature_K)} K, '
        f'ensemble {exploration.ensemble}, a frame every {exploration.frame_interval} steps'
    )


def _values(value: float | tuple[float, ...] | RangeSettings) -> str:
    if isinstance(value, RangeSettings):
        return f'{value.lowest:g} to {value.highest:g}'
    return ', '.join(f'{item:g}' for item in (value if isinstance(value, tuple) else (value,)))
