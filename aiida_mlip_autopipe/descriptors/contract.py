"""What a description job gets and what it leaves, beside ``result.json``."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from aiida_mlip_autopipe.jobs.contract import AnyJob

STRUCTURES_FILE = 'structures.npz'
PROJECTION_FILE = 'projection.npz'
DESCRIPTORS_FILE = 'descriptors.npy'


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
