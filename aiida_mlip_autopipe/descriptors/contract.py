"""The input files of a descriptor job, and its output files except ``result.json``."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from aiida_mlip_autopipe.jobs.contract import AnyJob

STRUCTURES_FILE = 'structures.npz'
PCA_FILE = 'pca.npz'
DESCRIPTORS_FILE = 'descriptors.npy'


class DescriptorsJob(AnyJob):
    """``job.json`` of a descriptor job: the descriptor and the elements."""

    descriptors_version: str
    """The required version of the descriptor algorithms."""
    descriptor: dict[str, Any]
    """The settings of the descriptor."""
    species: tuple[int, ...] = Field(min_length=1)
    """Atomic numbers of all elements that the descriptor supports, including those that do not occur in this job."""
    structures: str = STRUCTURES_FILE
    """The name of the file with the structures."""
    pca: str | None = None
    """The name of the file with the PCA. If it is set, the job projects the SOAP vector of each atom onto the
    principal components."""
    calculator: dict[str, Any] | None = None
    """The settings of the calculator, if the descriptors are learned."""
