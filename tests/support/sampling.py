"""Make ``sampling`` sections of a config, select frames with them, and find the numbers in warnings."""

import re
from pathlib import Path
from typing import Any

from aiida_mlip_autopipe.sampling import SamplingSettings, Selection, section_class, select_frames
from aiida_mlip_autopipe.sampling.pool.reference_dataset import read_reference_dataset
from aiida_mlip_autopipe.structures.trajectory import Trajectory


def sampling(kind: str, **fields: object) -> SamplingSettings:
    """Return a validated ``sampling`` section."""
    return section_class(kind)(**fields)


def numbers_in(sentence: str) -> list[float]:
    """Return the numbers in a warning in ascending order, so that tests do not depend on its words."""
    return sorted(map(float, re.findall(r'\d+(?:\.\d+)?', sentence)))


def select(trajectories: list[Trajectory], section: SamplingSettings, **fields: Any) -> Selection:
    """Select frames as a campaign does, with the structures of the reference dataset."""
    reference = read_reference_dataset(section.reference_dataset) if isinstance(section.reference_dataset, Path) else []
    return select_frames(trajectories, section, random_seed=1, reference=reference, **fields)
