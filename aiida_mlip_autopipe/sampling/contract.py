"""The input files of a selection job, and its output files except ``result.json``."""

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
    """Information on descriptors that a job has computed."""

    species: tuple[int, ...]
    """Atomic numbers of the elements that the descriptor supports."""
    report: dict[str, Any]
    """Compression and length of the descriptor vectors."""


class SelectionJob(AnyJob):
    """``job.json`` of a selection. It contains everything that determines the chosen frames."""

    sampling_version: str
    """The required version of the sampling algorithms."""
    sampling: dict[str, Any]
    """The ``sampling`` section of the config."""
    random_seed: int
    """The random seed of the campaign."""
    groups: dict[str, str]
    """The group of each seed, by its id."""
    kinds: dict[str, str]
    """The kind of each seed, by its id."""
    labels: dict[str, str]
    """The label of the entry of each seed, by its id."""
    seed_ids: tuple[str, ...]
    """The seed id of each trajectory in the file."""
    trajectories: str = TRAJECTORIES_FILE
    """The name of the file with the trajectories."""
    described: dict[str, DescribedBy] = Field(default_factory=dict)
    """Information on the descriptors that jobs have computed for the trajectories, by the key of the descriptor."""
    features: str = FEATURES_FILE
    """The name of the file with the vectors of these descriptors."""
    reference: str | None = None
    """The name of the file with the reference dataset, in a format that ASE reads."""
