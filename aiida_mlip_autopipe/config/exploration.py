"""The section ``exploration`` of the config file, with settings that do not affect the frames."""

from __future__ import annotations

from pydantic import Field, model_validator

from aiida_mlip_autopipe.config.execution import AnyCalculator, JobResources
from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.fields import fault
from aiida_mlip_autopipe.core.settings import Settings
from aiida_mlip_autopipe.exploration import ExplorationSettings


class CommitteeSettings(Settings):
    """A second calculator evaluates all stored frames. Each trajectory has a separate job."""

    calculator: AnyCalculator
    """The second calculator. Its cutoff does not affect the size of the seeds."""
    code: str | None = None
    """AiiDA code, written as ``label@computer``; by default, the code that ``mlip-autopipe setup`` created for the
    calculator."""
    resources: JobResources | None = None
    """Resources of the jobs; by default, those of ``execution``."""


class ExplorationSection(ExplorationSettings):
    """Settings of the explorations, of the committee and of full trajectories."""

    committee: CommitteeSettings | None = None
    """A second calculator that evaluates the stored frames; by default, none. The disagreement between the
    calculators is stored with each frame. A committee does not affect the trajectories, and it can be added later
    without repeating them."""
    full_trajectory_interval: int | None = Field(default=None, ge=1)
    """Interval in steps between the frames of the full trajectory, which each job writes to a file in its folder on the
    computer. With 1, it contains all steps. It includes the equilibration and phases that are not sampled. By default,
    it is not written. ``execution.stash`` copies the files to another folder."""

    @model_validator(mode='after')
    def _check_interval(self) -> ExplorationSection:
        if self.full_trajectory_interval is not None and self.full_trajectory_interval > self.total_steps:
            raise fault(
                Code.OUT_OF_RANGE,
                f'full_trajectory_interval {self.full_trajectory_interval} exceeds the {self.total_steps} steps, '
                'so the full trajectory would be empty',
            )
        return self
