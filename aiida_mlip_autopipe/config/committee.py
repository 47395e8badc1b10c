"""The exploration as the config file has it: with a second calculator beside what a job is told."""

from __future__ import annotations

from aiida_mlip_autopipe.config.execution import AnyCalculator, JobResources
from aiida_mlip_autopipe.exploration import ExplorationSettings
from aiida_mlip_autopipe.settings import Settings


class CommitteeSettings(Settings):
    """A second calculator that looks at all stored frames, each trajectory in a job of its own."""

    calculator: AnyCalculator
    """The second calculator. Seeds are not made for its range: a periodic structure needs no size for its labels."""
    code: str | None = None
    """AiiDA code, as ``label@computer``; by default the one that ``mlip-autopipe setup`` made for the calculator."""
    resources: JobResources | None = None
    """What its jobs ask for, in place of what ``execution`` says for all codes."""


class ExplorationSection(ExplorationSettings):
    """How each seed is explored, and who else looks at the frames."""

    committee: CommitteeSettings | None = None
    """A second calculator evaluates the stored frames; how far the two disagree is kept with each of them. None by
    default. It changes no trajectory, and adding it later reruns none."""
