"""Sections of a config that tests of sampling are made with, and selections by them."""

from pathlib import Path
from typing import Any

from aiida_mlip_autopipe.sampling import SamplingSettings, Selection, section_class, select_frames
from aiida_mlip_autopipe.sampling.pool.given import read_given
from aiida_mlip_autopipe.structures.trajectory import Trajectory


def sampling(kind: str, **fields: object) -> SamplingSettings:
    """Return a validated ``sampling`` section."""
    return section_class(kind)(**fields)


def select(trajectories: list[Trajectory], section: SamplingSettings, **fields: Any) -> Selection:
    """Select frames as a campaign does, with the file of given structures read."""
    given = read_given(section.given) if isinstance(section.given, Path) else []
    return select_frames(trajectories, section, random_seed=1, given=given, **fields)
