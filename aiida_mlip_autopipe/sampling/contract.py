"""The input files of a selection job, and its output files besides ``result.json``."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from aiida_mlip_autopipe.core.settings import Settings
from aiida_mlip_autopipe.jobs.contract import AnyJob

TRAJECTORIES_FILE = 'trajectories.npz'
FEATURES_FILE = 'features.npz'
REFERENCE_FOLDER = 'reference'
SELECTION_FILE = 'selection.npz'
REPORT_FILE = 'report.json'


class DescribedBy(Settings):
    """A description without its vectors."""

    species: tuple[int, ...]
    """Atomic numbers that the descriptor was built for."""
    report: dict[str, Any]
    """Compression and length of the descriptor."""


class SelectionJob(AnyJob):
    """``job.json`` of a selection: everything that determines which frames are chosen."""

    sampling_version: str
    """Version of the science of the sampling that is expected."""
    sampling: dict[str, Any]
    """The ``sampling`` section of the config."""
    random_seed: int
    """The campaign's number."""
    lineages: dict[str, str]
    """The ancestor of each seed, by its id."""
    kinds: dict[str, str]
    """The kind of each seed, by its id."""
    seed_ids: tuple[str, ...]
    """The seed of each trajectory in the file."""
    trajectories: str = TRAJECTORIES_FILE
    """The file with the trajectories."""
    described: dict[str, DescribedBy] = Field(default_factory=dict)
    """What jobs have found about the trajectories, by the key of the descriptor."""
    features: str = FEATURES_FILE
    """The file with the vectors of these."""
    reference: str | None = None
    """The file of the reference dataset, in a format that ASE reads."""
