"""Settings that determine where and how the jobs run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator, Field, field_validator

from aiida_mlip_autopipe.core.codes import Code
from aiida_mlip_autopipe.core.fields import OneLine, fault
from aiida_mlip_autopipe.core.settings import Settings
from aiida_mlip_autopipe.exploration import CALCULATORS, CalculatorSettings
from aiida_mlip_autopipe.jobs.resources import JobResources

# A daemon worker has 200 slots. Each seed occupies two, for its work chain and its job, and the campaign occupies one.
MAX_CONCURRENT_JOBS = 90

if TYPE_CHECKING:
    # The members of the union are known only at run time.
    AnyCalculator = CalculatorSettings
else:
    AnyCalculator = CALCULATORS.settings_union()


def _absolute(folder: str) -> str:
    if not PurePosixPath(folder).is_absolute():
        raise fault(
            Code.WRONG_PATTERN, 'must be an absolute path on the computer where the jobs run, such as /archive/me'
        )
    return folder


class StashSettings(Settings):
    """How full trajectories are copied. Separate jobs copy them after the exploration has been retrieved.

    The sha256 of a copy must match the one that the exploration reported. A failed copy is reported but is not fatal,
    because the original remains in the folder of its job.
    """

    folder: Annotated[OneLine, AfterValidator(_absolute)]
    """Folder on the computer where the jobs run, such as ``/archive/me``. It is created if it does not exist. It
    contains a folder ``seed_…/`` for each seed, with a folder for each job of the exploration."""
    resources: JobResources | None = None
    """Resources of the copy jobs; by default, one core, with the queue and the account of the exploration."""


class CodeSettings(Settings):
    """One of several codes of a campaign."""

    code: OneLine
    """AiiDA code, written as ``label@computer``."""
    calculator: AnyCalculator | None = None
    """The calculator of this code; by default, the ``calculator`` of the campaign."""
    resources: JobResources | None = None
    """Resources of the jobs; by default, those of ``execution``."""
    stash: StashSettings | None = None
    """How its full trajectories are copied; by default, as in ``execution.stash``."""


class DescriptorJobSettings(Settings):
    """Settings of the jobs that compute descriptors, each for many trajectories, and of the job that selects frames."""

    min_frames: int = Field(default=2000, ge=0)
    """Minimum number of frames for which jobs compute the SOAP descriptors of structures and environments, and a job
    selects the frames. With fewer frames, AiiDA's daemon does both. Learned descriptors always require jobs."""
    code: OneLine | None = None
    """AiiDA code, written as ``label@computer``; by default, the first code of the explorations. SOAP requires no
    calculator."""
    resources: JobResources | None = None
    """Resources of the jobs; by default, those of ``execution``."""


class ExecutionSettings(JobResources):
    """Settings of the exploration jobs."""

    code: OneLine | None = None
    """AiiDA code, written as ``label@computer``; by default, the code that ``mlip-autopipe setup`` created for the
    calculator."""
    codes: tuple[CodeSettings, ...] = ()
    """Several codes instead of one. Each seed is always explored by the same code. If the calculators of the codes
    differ, the ``label_source`` of each row names the calculator that computed its labels."""
    descriptors: DescriptorJobSettings = DescriptorJobSettings()
    """Settings of the jobs that compute descriptors. The descriptors are stored, so a new selection takes seconds."""
    stash: StashSettings | None = None
    """How full trajectories (``exploration.full_trajectory_interval``) are copied to another folder; by default, they
    remain only in the folders of their jobs."""
    max_concurrent_jobs: int | None = Field(default=None, ge=1, le=MAX_CONCURRENT_JOBS)
    """Maximum number of concurrent jobs; by default, as many as the cores of this machine allow, or 50 with a
    scheduler."""
    max_legs: int = Field(default=20, ge=1)
    """Maximum number of jobs for each seed. An exploration that needs more jobs fails."""
    retry_memory_factor: float = Field(default=2.0, ge=1)
    """Factor by which ``memory_MB`` is multiplied for a job that ran out of memory. The job is submitted once more,
    unless this factor is 1 or ``memory_MB`` is not set."""
    min_success_fraction: float = Field(default=0.5, ge=0, le=1)
    """Minimum fraction of successful explorations. Below it, the campaign fails."""
    reuse_finished: bool = True
    """Reuse results for identical inputs from AiiDA's cache, so that finished jobs are not repeated."""

    @field_validator('codes')
    @classmethod
    def _refuse_equal_codes(cls, codes: Sequence[CodeSettings]) -> Sequence[CodeSettings]:
        seen = [(one.code, one.calculator) for one in codes]
        for number, one in enumerate(seen):
            if one in seen[:number]:
                raise fault(
                    Code.VALUES_EXCLUDE, f'must differ in code or calculator; {codes[number].code!r} is listed twice'
                )
        return codes

    def resources(self) -> JobResources:
        """Return the resources for codes without ``resources``."""
        return JobResources(**{name: getattr(self, name) for name in JobResources.model_fields})
