"""What jobs of description and selection get and what they leave, beside ``result.json``."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from aiida_mlip_autopipe.core.settings import Settings
from aiida_mlip_autopipe.jobs.contract import AnyJob

STRUCTURES_FILE = 'structures.npz'
PROJECTION_FILE = 'projection.npz'
DESCRIPTORS_FILE = 'descriptors.npy'
TRAJECTORIES_FILE = 'trajectories.npz'
FEATURES_FILE = 'features.npz'
REFERENCE_FOLDER = 'reference'
SELECTION_FILE = 'selection.npz'
REPORT_FILE = 'report.json'


class DescriptionJob(AnyJob):
    """``job.json``: which descriptor, of which elements."""

    description_version: str
    """Version of the science of the description that is expected."""
    descriptor: dict[str, Any]
    """Settings of the descriptor."""
    species: tuple[int, ...] = Field(min_length=1)
    """Atomic numbers of all elements that the descriptor is built for, also where this job does not meet them."""
    structures: str = STRUCTURES_FILE
    """The file with the structures."""
    projection: str | None = None
    """The file with principal components: each atom is then described by SOAP, in these components."""
    calculator: dict[str, Any] | None = None
    """Settings of the calculator, for its learned descriptors."""


class DescribedBy(Settings):
    """What a description is beside its vectors."""

    species: tuple[int, ...]
    """Atomic numbers that the descriptor was built for."""
    report: dict[str, Any]
    """Compression and length of the descriptor."""


class SelectionJob(AnyJob):
    """``job.json`` of a selection: everything that decides which frames are chosen."""

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
