"""A summary of a config, for a check before the campaign runs."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count
from pathlib import Path

from aiida_mlip_autopipe.config.campaign import CampaignConfig
from aiida_mlip_autopipe.config.checks.seeds import check_seeds
from aiida_mlip_autopipe.config.checks.warnings import campaign_warnings
from aiida_mlip_autopipe.exploration import ExplorationSettings
from aiida_mlip_autopipe.exploration.dynamics.timestep import automatic_timestep
from aiida_mlip_autopipe.structures.cells import perpendicular_widths
from aiida_mlip_autopipe.structures.seed import Seed
from aiida_mlip_autopipe.structures.vacuum import empty_layers

# Time in s for the seeds of the check. Including startup, the command takes less than 5 s.
CHECK_TIME_S = 2.5


@dataclass(frozen=True)
class EntrySummary:
    """An entry of ``generation``.

    Attributes
    ----------
    kind
        The kind of the entry.
    n_seeds
        The number of seeds; None if it takes too long to count them.
    example
        The chemical formula of the first seed; None if the check generates no seed.
    timestep_fs
        The time step in fs of the dynamics of the first seed; None if it has no dynamics.
    thickness_A
        The distance in Å between the outermost atoms of the first seed along the normal; None if it is not a slab.
    """

    kind: str
    n_seeds: int | None
    example: str | None
    timestep_fs: float | None = None
    thickness_A: float | None = None


@dataclass(frozen=True)
class ConfigSummary:
    """A summary of a campaign.

    Attributes
    ----------
    name
        The name of the campaign.
    entries
        The entries of ``generation``.
    calculator, model
        The kind of the calculator, and its model; None for a calculator without a model.
    n_frames
        The maximum number of frames that the sampler can choose from; None if it takes too long to count the seeds.
    n_always_selected
        The maximum number of additional frames that are always selected, such as those of dimers and isolated atoms;
        None if it takes too long to count the seeds.
    sampler, n_structures
        The sampler, and the maximum number of frames that it selects.
    coverage_score
        The coverage score at which the selection stops; None without a coverage target.
    has_too_few_frames
        Whether ``n_structures`` exceeds ``n_frames``.
    labeller
        The kind of the labeller; None if the frames keep the labels of the calculator.
    database
        The file of the dataset.
    warnings
        Which seeds the check discarded, what the entries leave out, which entries were not checked completely,
        which requested sets the seeds do not allow, and what reference labels lack.
    is_complete
        Whether all entries were checked completely.
    """

    name: str
    entries: tuple[EntrySummary, ...]
    calculator: str
    model: str | None
    n_frames: int | None
    n_always_selected: int | None
    sampler: str
    n_structures: int
    coverage_score: float | None
    has_too_few_frames: bool
    labeller: str | None
    database: Path
    warnings: tuple[str, ...]
    is_complete: bool


def summarise_config(config: CampaignConfig) -> ConfigSummary:
    """Return a summary of a config. It generates the first seed of each entry to find impossible entries.

    Entries that take longer than `CHECK_TIME_S` are not checked completely.

    Raises
    ------
    AutopipeError
        If a seed cannot be generated.
    """
    checked = check_seeds(config, time_s=CHECK_TIME_S)
    sampling, model = config.sampling, getattr(config.calculator, 'model', None)
    n_seeds = [number for number in checked.n_seeds if number is not None]
    n_frames = n_always_selected = None
    if len(n_seeds) == len(config.generation):
        n_always_selected = config.count_always_selected(n_seeds)
        n_frames = config.count_frames(n_seeds) - n_always_selected
    return ConfigSummary(
        name=config.name,
        entries=tuple(_summarise_entry(config, *found) for found in zip(count(), checked.n_seeds, checked.seeds)),
        calculator=config.calculator.kind,
        model=str(model) if model else None,
        n_frames=n_frames,
        n_always_selected=n_always_selected,
        sampler=sampling.kind,
        n_structures=sampling.n_structures,
        coverage_score=None if sampling.coverage_target is None else sampling.coverage_target.score,
        has_too_few_frames=n_frames is not None
        and sampling.coverage_target is None
        and sampling.n_structures > n_frames,
        labeller=None if config.labelling is None else config.labelling.kind,
        database=config.database,
        warnings=campaign_warnings(config, checked),
        is_complete=not checked.unchecked,
    )


def _summarise_entry(config: CampaignConfig, number: int, n_seeds: int | None, seed: Seed | None) -> EntrySummary:
    kind, exploration = config.generation[number].kind, config.exploration_of(number)
    if seed is None:
        return EntrySummary(kind, n_seeds, None)
    timestep_fs = None
    if isinstance(exploration, ExplorationSettings):
        timestep_fs = exploration.timestep_fs or automatic_timestep(seed.atoms)
    thickness_A = None
    if seed.record.get('form') == 'slab':
        gaps = empty_layers(seed.atoms)
        axis = int(gaps.argmax())
        thickness_A = float(perpendicular_widths(seed.atoms)[axis] - gaps[axis])
    return EntrySummary(kind, n_seeds, seed.atoms.get_chemical_formula(), timestep_fs, thickness_A)
