"""The section ``exploration`` of the config file, including settings that do not affect the frames."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from pydantic import Discriminator, Field, Tag, model_validator

from aiida_mlip_autopipe.config.execution import AnyCalculator
from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.fields import OneLine, fault
from aiida_mlip_autopipe.core.settings import Settings
from aiida_mlip_autopipe.exploration import DEFAULT_KIND, KINDS, AnyExploration, ExplorationSettings
from aiida_mlip_autopipe.exploration.settings.deform import DeformSettings
from aiida_mlip_autopipe.exploration.settings.job_settings import WRITING
from aiida_mlip_autopipe.exploration.settings.normal_modes import NormalModesSettings
from aiida_mlip_autopipe.exploration.settings.static import RelaxSettings, SinglePointSettings
from aiida_mlip_autopipe.exploration.unused import without_effect
from aiida_mlip_autopipe.jobs.resources import JobResources


class CommitteeSettings(Settings):
    """A second calculator evaluates all stored frames. Each trajectory has a separate job."""

    calculator: AnyCalculator
    """The second calculator. Its cutoff does not affect the size of the seeds."""
    code: OneLine | None = None
    """AiiDA code, written as ``label@computer``; by default, the code that ``mlip-autopipe setup`` created for the
    calculator."""
    resources: JobResources | None = None
    """Resources of the jobs; by default, those of ``execution``."""


class _WithCommittee(Settings):
    committee: CommitteeSettings | None = None
    """A second calculator that evaluates the stored frames; by default, none. The disagreement between the
    calculators is stored with each frame. A committee does not affect the trajectories, and it can be added later
    without repeating them."""


class ExplorationSection(_WithCommittee, ExplorationSettings):
    """Each seed is explored by molecular dynamics, with Monte Carlo moves if requested."""

    full_trajectory_interval: int | None = Field(default=None, ge=1)
    """Interval in steps between the frames of the full trajectory, which each job writes to a file in its folder on the
    computer. With 1, it contains all steps. It includes the equilibration and phases that are not sampled. By default,
    it is not written. ``execution.stash`` copies the files to another folder."""

    @model_validator(mode='after')
    def _check_interval(self) -> ExplorationSection:
        if self.full_trajectory_interval is not None and self.full_trajectory_interval > self.total_steps:
            raise fault(
                Code.OUT_OF_RANGE,
                f'full_trajectory_interval {self.full_trajectory_interval} exceeds the number of steps, '
                f'{self.total_steps}, so the full trajectory would be empty',
            )
        return self


class DeformSection(_WithCommittee, DeformSettings):
    """Each seed is deformed in steps, up to a maximum strain or to failure. The atoms are relaxed after each step."""

    full_trajectory_interval: ClassVar[None] = None


class NormalModesSection(_WithCommittee, NormalModesSettings):
    """Each seed is relaxed and displaced along its normal modes, with the distribution of a harmonic solid."""

    full_trajectory_interval: ClassVar[None] = None


class RelaxSection(_WithCommittee, RelaxSettings):
    """The energy of each seed is minimised. The seed, intermediate structures and the relaxed structure are stored."""

    full_trajectory_interval: ClassVar[None] = None


class SinglePointSection(_WithCommittee, SinglePointSettings):
    """The calculator evaluates each seed without moving its atoms. The trajectory contains only this frame."""

    full_trajectory_interval: ClassVar[None] = None


def _kind(section: Any) -> Any:
    """Return the kind of a section. A section without a kind has the default kind."""
    return section.get('kind', DEFAULT_KIND) if isinstance(section, Mapping) else getattr(section, 'kind', DEFAULT_KIND)


AnySection = Annotated[
    Annotated[ExplorationSection, Tag(DEFAULT_KIND)]
    | Annotated[DeformSection, Tag('deform')]
    | Annotated[NormalModesSection, Tag('normal_modes')]
    | Annotated[RelaxSection, Tag('relax')]
    | Annotated[SinglePointSection, Tag('single_point')],
    Discriminator(_kind),
]


def merge_override(section: AnyExploration, override: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of the seeds of one entry, before they are validated.

    Parameters
    ----------
    section
        The exploration of the campaign. Its settings are kept if the entry has the same kind of exploration.
    override
        The settings that the entry changes.
    """
    if override.get('kind', section.kind) != section.kind:
        return dict(override)
    kept = section.model_dump(mode='json', include=set(KINDS[section.kind].model_fields))
    # An entry that sets one of these replaces both, and settings of the campaign may have no effect for the entry.
    replaced = {'phases'} if 'n_steps' in override else {'n_steps'} if 'phases' in override else set()
    for name in replaced | without_effect({**kept, **override}):
        group, _, inner = name.rpartition('.')
        (kept.get(group, {}) if group else kept).pop(inner, None)
    return {**kept, **override}


def settings_of_all_seeds(override: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of an entry that must be the same for all seeds, by their place in the exploration."""
    found = {name: override[name] for name in sorted(override.keys() & set(WRITING))}
    novelty = override.get('novelty')
    if isinstance(novelty, Mapping) and 'reference_dataset' in novelty:
        found['novelty.reference_dataset'] = novelty['reference_dataset']
    return found
