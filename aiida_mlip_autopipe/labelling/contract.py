"""The input files of a labelling job, and its output files except ``result.json``."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from aiida_mlip_autopipe.core.settings import Settings
from aiida_mlip_autopipe.jobs.contract import AnyJob
from aiida_mlip_autopipe.labelling.base import Variation
from aiida_mlip_autopipe.labelling.label import EnergyKind

STRUCTURES_FILE = 'structures.npz'
LABELS_FILE = 'labels.jsonl'


class LabellingRequest(Settings):
    """How the results of a calculator become labels."""

    energy: EnergyKind = 'total'
    """The energy of the labels."""
    with_stress: bool = True
    """Whether the stress of periodic structures is computed."""
    time_limit_s: float | None = Field(default=None, gt=0)
    """Time limit for each structure in seconds; None for no limit."""
    isolated_atoms: tuple[str, ...] = ()
    """Symbols of the elements whose isolated atoms are computed."""
    variant: Variation = ''
    """What a repeated calculation changes; empty for unchanged settings."""


class LabellingJob(LabellingRequest, AnyJob):
    """``job.json`` of a labelling job: the calculator and how its results become labels."""

    labelling_version: str
    """The required version of the method."""
    calculator: dict[str, Any]
    """Settings of the calculator, with ``kind`` and, if it has a model file, ``model_sha256``."""
    structures: str = STRUCTURES_FILE
    """The name of the file with the structures."""
    level_hash: str = ''
    """The hash of the level of theory, which is part of the key of each label; empty if the keys are not used."""


def isolated_atom_message(symbol: str, reason: str) -> str:
    """Return the message of the event for an isolated atom that cannot be computed."""
    return f'an isolated atom of {symbol} cannot be computed: {reason}'
