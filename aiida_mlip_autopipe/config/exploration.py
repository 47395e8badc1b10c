"""The exploration as the config file has it: with what changes no frame beside the settings that do."""

from __future__ import annotations

from pydantic import Field, model_validator

from aiida_mlip_autopipe.config.execution import AnyCalculator, JobResources
from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.fields import fault
from aiida_mlip_autopipe.core.settings import Settings
from aiida_mlip_autopipe.exploration import ExplorationSettings


class CommitteeSettings(Settings):
    """A second calculator that looks at all stored frames, each trajectory in a job of its own."""

    calculator: AnyCalculator
    """The second calculator. Seeds are not made for its range: a periodic structure needs no size for its labels."""
    code: str | None = None
    """AiiDA code, as ``label@computer``; by default the one that ``mlip-autopipe setup`` made for the calculator."""
    resources: JobResources | None = None
    """What its jobs ask for, in place of what ``execution`` says for all codes."""


class ExplorationSection(ExplorationSettings):
    """How each seed is explored, who else looks at the frames, and whether all steps are kept."""

    committee: CommitteeSettings | None = None
    """A second calculator evaluates the stored frames; how far the two disagree is kept with each of them. None by
    default. It changes no trajectory, and adding it later reruns none."""
    full_trajectory_interval: int | None = Field(default=None, ge=1)
    """Each job also writes every step that is a multiple of this to a file that stays in its folder on the computer,
    also in the equilibration and in stages that are not sampled: 1 keeps all steps. None are kept by default.
    ``execution.stash`` copies the files to where they are safe."""

    @model_validator(mode='after')
    def _keeps_a_step(self) -> ExplorationSection:
        if self.full_trajectory_interval is not None and self.full_trajectory_interval > self.total_steps:
            raise fault(
                Code.OUT_OF_RANGE,
                f'full_trajectory_interval is {self.full_trajectory_interval}, more than all {self.total_steps} steps: '
                'the full trajectory would be empty',
            )
        return self
