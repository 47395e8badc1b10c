"""What a description job gets and what it leaves, beside ``result.json``."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from aiida_mlip_autopipe.exploration.contract import CONTRACT_VERSION
from aiida_mlip_autopipe.settings import Settings

STRUCTURES_FILE = 'structures.npz'
DESCRIPTORS_FILE = 'descriptors.npy'


class DescriptionJob(Settings):
    """``job.json``: which descriptor, of which elements."""

    contract_version: int = CONTRACT_VERSION
    """Version of this contract on the side that wrote the file."""
    description_version: str
    """Version of the science of the description that is expected."""
    descriptor: dict[str, Any]
    """Settings of the descriptor."""
    species: tuple[int, ...] = Field(min_length=1)
    """Atomic numbers of all elements that the descriptor is built for, also where this job does not meet them."""
    structures: str = STRUCTURES_FILE
    """The file with the structures."""
    calculator: dict[str, Any] | None = None
    """Settings of the calculator, for its learned descriptors."""
    image_sha256: str | None = Field(default=None, pattern='^[0-9a-f]{64}$')
    """sha256 of the container image that is expected; None where there is no container."""
    max_wallclock_s: float | None = Field(default=None, gt=0)
    """Wall time that the scheduler grants, if it does, counted from the start of the job's process."""
