"""The input and output files of an assessment job, except ``result.json`` and the files of labels."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from aiida_mlip_autopipe.core.reading.json_text import parse_json
from aiida_mlip_autopipe.core.settings import Settings
from aiida_mlip_autopipe.jobs.contract import AnyJob, JobSeed, Outcome
from aiida_mlip_autopipe.labelling.contract import LABELS_FILE, STRUCTURES_FILE
from aiida_mlip_autopipe.rounds.dimers import DimerCurve

PROGRESS_FILE = 'assessment.json'
HOT_RUN_CHECKPOINT = 'hot_run.npz'
"""The checkpoint of the hot run in progress."""
UNFINISHED = (LABELS_FILE, PROGRESS_FILE, HOT_RUN_CHECKPOINT)
"""The files from which another job continues."""


def hot_run_folder(number: int) -> str:
    """Return the name of the folder of a hot run. The first one has the number 0."""
    return f'hot_run_{number}'


class AssessmentJob(AnyJob):
    """``job.json`` of an assessment: the calculator and what is computed with it."""

    assessment_version: str
    """The required version of the method."""
    calculator: dict[str, Any]
    """Settings of the calculator, with ``kind`` and, if it has a model file, ``model_sha256``."""
    structures: str = STRUCTURES_FILE
    """The name of the file with the structures to evaluate."""
    elements: tuple[str, ...] = ()
    """Elements of the dimers. The energy curve of each pair of these elements is computed."""
    seeds: tuple[JobSeed, ...] = ()
    """Seeds of the hot runs. The structure of each is in the folder of its run."""
    hot_runs: dict[str, Any] = Field(default_factory=dict)
    """Settings of the exploration of these seeds."""


class Dimer(Settings):
    """The energy of two atoms as a function of their distance."""

    distances_A: tuple[float, ...]
    """Distances in Å, in increasing order."""
    energies_eV: tuple[float | None, ...]
    """Energies in eV; None where the calculator gave no finite energy."""

    @property
    def curve(self) -> DimerCurve:
        """The distances and energies as arrays, with NaN for unknown energies."""
        return DimerCurve(np.array(self.distances_A), np.array(self.energies_eV, dtype=float))


class HotRun(Settings):
    """How a hot run ended."""

    seed_id: str
    """Identity of the seed."""
    outcome: Outcome
    """``completed``; otherwise, a guard stopped the run."""
    n_steps: int = Field(ge=0)
    """Number of completed steps."""
    message: str = ''
    """The reason why the run was stopped."""

    @property
    def survived(self) -> bool:
        """Whether all steps were completed."""
        return self.outcome == 'completed'


class Progress(Settings):
    """``assessment.json``: the dimers and hot runs that the job has finished."""

    dimers: dict[str, Dimer] = Field(default_factory=dict)
    """The curve of each pair of elements, such as ``Au-Cu``."""
    hot_runs: tuple[HotRun, ...] = ()
    """The hot runs in the order of the seeds of the job."""

    @classmethod
    def read(cls, path: Path) -> Progress:
        """Read the file, if it exists.

        Raises
        ------
        ValueError
            If the file is damaged.
        """
        if not path.exists():
            return cls()
        data = path.read_bytes()
        parse_json(data)
        return cls.model_validate_json(data)

    def write(self, path: Path) -> None:
        """Write the file atomically."""
        temporary = path.with_name(path.name + '.new')
        temporary.write_text(self.model_dump_json())
        os.replace(temporary, path)
